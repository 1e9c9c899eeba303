"""Our daemons, each alone with settings of its own, and the database of a registry filled by COPY."""

import asyncio
import json
import sys
import urllib.error
import urllib.request
from array import array
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg

from benchmarks.import_rate import COLUMNS, Laboratory
from benchmarks.load.run import Address
from benchmarks.record import DIGITS, PREFIX, prefix_records, record, some_names, udp_site
from benchmarks.targets.process import LOOPBACK, Server, free_port, started
from protocol.client.bootstrap import write_bundle
from protocol.client.delegation import GLOBAL_SERVICE
from protocol.handle import Handle
from registry.node import open_node
from registry.settings import load_registry_settings

PURE_ENVIRONMENT: Final = {"HANDLEGRID_PURE": "1"}
"""Chooses the data path in Python in a server whose compiled module is built."""
MIB: Final = 1_048_576
CACHE_OCTETS: Final = 256 * MIB
PLENTY: Final = 1_000_000_000
"""Requests a second of one source: the source check does all its work and refuses nothing."""
HEALTH_S: Final = 5.0
CHUNK_ROWS: Final = 20_000


def write_settings(path: Path, table: str, **fields: Any) -> dict[str, int]:
    """Write a settings file with fresh ports on loopback. Returns the ports."""
    ports = {key: free_port() for key in ("handle_port", "http_port", "admin_port")}
    everything = {
        "name": path.stem,
        "listen_addresses": [LOOPBACK],
        "source_rate_per_s": PLENTY,
        "source_burst": PLENTY,
        "tcp_connections_per_source_max": 4_096,
        "log_level": "warning",
        **ports,
        **fields,
    }
    lines = [f"{key} = {_toml(value)}" for key, value in everything.items()]
    path.write_text(f"[{table}]\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return ports


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(str(value) if isinstance(value, Path) else value)


@contextmanager
def registry(
    made: Laboratory,
    name: str,
    dsn: str,
    *,
    pure: bool = False,
    workers: int = 0,
    **fields: Any,
) -> Iterator[Server]:
    """A registry that homes PREFIX, on a database of the laboratory."""
    path = made.directory / f"{name.replace(' ', '-')}.toml"
    fields = {"database": dsn, "data_dir": made.directory / "data", "homes": [PREFIX], **fields}
    ports = write_settings(path, "registry", **fields)
    command = _command("registry", "node", path, workers)
    assert made.server.process is not None
    with _daemon(command, path, ports["admin_port"], pure=pure) as pid:
        yield Server(
            name=name,
            address=(LOOPBACK, ports["handle_port"]),
            parts={"daemon": pid, "postgres": made.server.process.pid},
            http_port=ports["http_port"],
            admin_port=ports["admin_port"],
        )


@contextmanager
def recursive(
    directory: Path,
    name: str,
    authority: Address,
    *,
    pure: bool = False,
    workers: int = 0,
    **fields: Any,
) -> Iterator[Server]:
    """A recursive node whose whole hierarchy is one server."""
    path = directory / f"{name.replace(' ', '-')}.toml"
    bundle = path.with_suffix(".bundle.json")
    values = prefix_records(udp_site(*authority))
    write_bundle(bundle, {GLOBAL_SERVICE: next(iter(values.values()))})
    opened = {"network": "127.0.0.0/8", "prefixes": ["*"]}
    fields = {"root_site_file": bundle, "open_networks": [opened], **fields}
    ports = write_settings(path, "resolver", **fields)
    command = _command("resolver", "resolver", path, workers)
    with _daemon(command, path, ports["admin_port"], pure=pure) as pid:
        yield Server(
            name=name,
            address=(LOOPBACK, ports["handle_port"]),
            parts={"daemon": pid},
            http_port=ports["http_port"],
            admin_port=ports["admin_port"],
        )


def _command(module: str, word: str, path: Path, workers: int) -> list[str]:
    if workers:
        return [sys.executable, "-m", "deploy.cli", word, str(path), "--workers", str(workers)]
    return [sys.executable, "-m", module, str(path)]


@contextmanager
def _daemon(command: list[str], path: Path, admin_port: int, *, pure: bool) -> Iterator[int]:
    environment = PURE_ENVIRONMENT if pure else {"HANDLEGRID_PURE": ""}
    log = path.with_suffix(".log")
    with started(command, log, is_ready=lambda: is_ready(admin_port), environment=environment) as pid:
        yield pid


def is_ready(admin_port: int) -> bool:
    """Whether a daemon says that it can do its work."""
    try:
        return bool(admin_page(admin_port, "/health/ready"))
    except (OSError, urllib.error.URLError):
        return False


def admin_page(admin_port: int, path: str) -> str:
    """A page of a daemon's admin listener. Raises OSError when there is none."""
    with urllib.request.urlopen(f"http://{LOOPBACK}:{admin_port}{path}", timeout=HEALTH_S) as answer:
        return str(answer.read().decode())


def metric(admin_port: int, name: str, **labels: str) -> float:
    """The sum of a metric's samples with these labels; 0 of none."""
    total = 0.0
    for line in admin_page(admin_port, "/metrics").splitlines():
        head, _, value = line.rpartition(" ")
        if head.partition("{")[0] == name and all(f'{key}="{one}"' in head for key, one in labels.items()):
            total += float(value)
    return total


def filled_database(made: Laboratory, name: str, rows: int) -> str:
    """A registry's database with so many records. Returns its DSN."""
    dsn = asyncio.run(made.empty_database(name))
    path = made.directory / f"{name}.fill.toml"
    write_settings(path, "registry", database=dsn, data_dir=made.directory / "data", homes=[PREFIX])
    asyncio.run(_fill(path, dsn, rows))
    return dsn


async def _fill(settings_file: Path, dsn: str, rows: int) -> None:
    async with open_node(load_registry_settings(settings_file, {})):
        pass  # homes the prefix and writes the node's own records
    connection = await asyncpg.connect(dsn)
    await connection.execute("SET synchronous_commit = off")
    await connection.copy_to_table("handles", source=_lines(rows), columns=COLUMNS)
    await connection.execute("VACUUM ANALYZE")
    await connection.execute("CHECKPOINT")
    await connection.close()


async def _lines(rows: int) -> AsyncIterator[bytes]:
    """Rows in COPY's text form."""
    names = some_names(array("I"))
    key = Handle.parse(names.name(0)).key[:-DIGITS].hex()
    name = names.name(0).encode()[:-DIGITS].hex()
    values = record()
    rest = "\t".join(
        [
            f"\\\\x{Handle.parse(names.name(0)).prefix.key.hex()}",
            f"\\\\x{values.octets.hex()}",
            f"{values.count}\t\\N\t0\t0\t1\t1780000000000\n",
        ]
    )
    for first in range(0, rows, CHUNK_ROWS):
        lines = []
        for number in range(first, min(first + CHUNK_ROWS, rows)):
            digits = b"%0*d" % (DIGITS, number)
            lines.append(f"\\\\x{key}{digits.hex()}\t\\\\x{name}{digits.hex()}\t{rest}")
        yield "".join(lines).encode()


def fast_path(server: Server) -> str:
    """Which data path a daemon says that it runs."""
    for line in admin_page(server.admin_port, "/metrics").splitlines():
        if line.startswith("handlegrid_build_info") and 'fast_path="' in line:
            return f"data path: {line.partition('fast_path=')[2].split(chr(34))[1]}"
    return "data path: the daemon does not say"
