"""Imports from another server, in short words."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from protocol.handle import Handle
from protocol.signature import PrivateKey
from protocol.value import ValueReference
from registry.dump_import import (
    DumpImport,
    DumpOptions,
    DumpReport,
    DumpSource,
    HandleServer,
    Proof,
)
from registry.dump_import.rows import RecordSum, digest_of
from registry.dump_import.server import Clocks
from tests.integration.registry.bench import Bench

PREFIX: Final = "20.500.12345"
IDENTITY: Final = ValueReference(b"20.500.12345/ADMIN", 300)


async def take_over(
    bench: Bench,
    server: HandleServer,
    directory: Path,
    *,
    key: PrivateKey | bytes = b"geheim",
    clocks: Clocks | None = None,
    salt: bytes = bytes(16),
    pauses_s: Sequence[float] = (),
    records_max: int = 1_000,
    batch_rows: int = 2,
    **options: Any,
) -> DumpReport:
    """Import everything that a server holds."""
    proof = Proof(identity=IDENTITY, key=key, entropy=lambda _: salt)
    source = DumpSource(
        server, proof, clocks=clocks or Clocks(), pauses_s=pauses_s, records_max=records_max, idle_s=5.0
    )
    return await DumpImport(
        source,
        operations=bench.operations,
        creating=bench.operations,
        options=DumpOptions(rejects=directory / "rejected.jsonl", **options),
        batch_rows=batch_rows,
    ).run()


async def stored_sum(bench: Bench, names: Sequence[bytes]) -> str:
    """The checksum over what is stored under these names."""
    made = RecordSum()
    for name in names:
        values = await bench.operations.context.read_record(Handle(name))
        if values is not None:
            made.add(digest_of(Handle(name).key, values.values()))
    return str(made)


def sum_of(records: dict[bytes, tuple[bytes, ...]]) -> str:
    """The checksum over records."""
    made = RecordSum()
    for name, values in records.items():
        made.add(digest_of(Handle(name).key, values))
    return str(made)
