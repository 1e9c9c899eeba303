"""The recorded streams of a live server, replayed over real sockets into Postgres."""

from itertools import cycle
from pathlib import Path
from typing import Any, Final

from protocol.bodies import SiteInfoResponse
from protocol.message import ANSWER_LIFE_S, decode_message
from protocol.value import HandleValue
from protocol.valuetypes import PublicKey
from registry.dump_import import (
    DumpReport,
    DumpStatus,
    HandleServer,
)
from registry.dump_import.restart import RestartMemory
from registry.dump_import.server import Clocks
from registry.dump_import.source import Position
from registry.outcomes import Found
from tests.integration.registry.bench import Bench, url
from tests.integration.registry.taking_over import PREFIX, stored_sum, sum_of, take_over
from tests.support.dump_server import HOST
from tests.support.replay_server import ReplayServer, replaying
from tests.support.vectors import keys, recorded

DUMP: Final = "repl_dump_handles_v27"
TRANSACTIONS: Final = "repl_retrieve_txn_v27"


def recorded_records() -> dict[bytes, tuple[bytes, ...]]:
    """What the recording says that the dump holds, encoded from its description."""
    (stream,) = [entry for entry in recorded() if entry.recording == DUMP and entry.part == "stream"]
    return {
        told["handle"].encode(): tuple(_value(value).encode() for value in told["values"])
        for told in stream.decoded["stream"]
        if "values" in told
    }


def _value(told: dict[str, Any]) -> HandleValue:
    data = told["data"]
    return HandleValue(
        data=bytes.fromhex(data["hex"]) if isinstance(data, dict) else data.encode(),
        **{name: told[name] for name in ("index", "timestamp", "ttl", "ttl_type", "permissions", "type")},
    )


def recorded_server(port: int) -> HandleServer:
    """The recorded server, at this port, spoken to in version 2.7."""
    (site,) = [entry for entry in recorded() if entry.name == "tcp_get_site_info#1"]
    return HandleServer(
        host=HOST,
        port=port,
        site=SiteInfoResponse.decode(decode_message(site.octets).body).site,
        key=PublicKey.decode(bytes.fromhex(keys()["server_rsa_public_key_hex"])),
        version=(2, 7),
    )


async def replay(bench: Bench, server: ReplayServer, directory: Path, **options: Any) -> DumpReport:
    """Import from the recorded server, with the clock and the numbers of the recorded client."""
    sent = [decode_message(entry.octets) for entry in server.sent_by_client]
    ids = cycle([message.envelope.request_id for message in sent])
    clocks = Clocks(wall=lambda: sent[0].header.expiration - ANSWER_LIFE_S, request_id=lambda: next(ids))
    salt = bytes.fromhex(
        next(entry for entry in server.sent_by_client if "user_index" in entry.decoded["body"]).decoded[
            "body"
        ]["signed_response"]["salt"]
    )
    server.restart()
    return await take_over(
        bench,
        recorded_server(server.port),
        directory,
        key=keys()["secret_key"]["value"].encode(),
        clocks=clocks,
        salt=salt,
        **{"compare": False, **options},
    )


async def test_the_recorded_dump_is_imported_with_every_record_right(bench: Bench, tmp_path: Path) -> None:
    async with replaying(DUMP) as server:
        report = await replay(bench, server, tmp_path, home_prefixes=True)

        assert (report.status, report.failure) == (DumpStatus.COMPLETE, "")
        assert (report.counts.created, report.transaction, report.prefixes) == (2, 4, [f"0.NA/{PREFIX}"])
        records = recorded_records()
        assert await stored_sum(bench, list(records)) == sum_of(records)
        assert server.heard == 2 * [entry.octets for entry in server.sent_by_client]
    stored = await bench.values(f"{PREFIX}/R1")
    assert [value.encode() for value in stored] == list(records[b"20.500.12345/R1"])  # timestamps too


async def test_the_recorded_dump_survives_a_cut_anywhere(bench: Bench, tmp_path: Path) -> None:
    await bench.home(PREFIX)
    async with replaying(DUMP) as server:
        for cut in (0, 3, 4, 11, 300, 600, 1_000, 1_500, 1_973):
            server.cut_after = cut
            report = await replay(bench, server, tmp_path, batch_rows=1)
            assert report.status is DumpStatus.INTERRUPTED, cut
            assert "run the same command again" in report.failure

        server.cut_after = None
        report = await replay(bench, server, tmp_path)

    assert (report.status, report.counts.unchanged) == (DumpStatus.COMPLETE, 2)
    records = recorded_records()
    assert await stored_sum(bench, list(records)) == sum_of(records)


async def test_the_recorded_transactions_are_applied_each_as_it_says(bench: Bench, tmp_path: Path) -> None:
    await bench.home(PREFIX)
    await bench.create(f"{PREFIX}/r0", url("to be deleted"))
    async with replaying(TRANSACTIONS) as server:
        memory = RestartMemory(bench.store, recorded_server(server.port))
        await memory.remember_position(Position(transaction=0, date_ms=0))

        report = await replay(bench, server, tmp_path, catch_up=True)

        assert server.heard == [entry.octets for entry in server.sent_by_client]
        assert await memory.position() == Position(transaction=4, date_ms=1_795_195_640_063)
    assert (report.status, report.failure) == (DumpStatus.COMPLETE, "")
    assert (report.counts.created, report.counts.unchanged, report.deleted) == (1, 1, 1)
    (expected,) = recorded_records()[b"20.500.12345/R1"]  # the dump was taken behind these transactions
    assert [value.encode() for value in await bench.values(f"{PREFIX}/r1")] == [expected]
    assert not isinstance(await bench.ask(f"{PREFIX}/r0"), Found)
