"""How fast `handlegrid import` is, beside one bare binary COPY of the same rows, in turn, on the same Postgres.

    python -m benchmarks.import_rate --rows 1000000 --rounds 2

Every round imports a generated CSV file into an empty database with the real command, from process start to exit, and
then copies the same rows, already encoded and in memory, in one statement into an empty database of the same
definition: partitions, keys and indexes. The import also parses, checks, looks for existing handles and writes the
transaction log. Postgres is embedded, durable, and as `handlegrid up` runs it. With --kill each round also kills an
import in the middle with SIGKILL, runs it again, and compares the rows of the database with those of the file.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import asyncpg

from deploy.local.postgres import EmbeddedPostgres
from deploy.local.supervisor import POSTGRES_SETTINGS
from registry.migrate import migrate

PREFIX: Final = "88.100.1"
QUICKER_THAN_ANY_ROWS_PER_S: Final = (
    200_000  # faster than any import here: so that a kill always comes before the end
)
COLUMNS: Final = (
    "key", "name", "prefix", "public_values", "public_count", "restricted_values", "restricted_count", "state",
    "version", "changed_ms",
)  # fmt: skip
ROWS: Final = """
    SELECT key, name, prefix, public_values, public_count, restricted_values, restricted_count, state, version,
        changed_ms
    FROM handles"""
STORED: Final = """
    SELECT count(*), count(*) FILTER (WHERE version <> 1) FROM handles WHERE prefix = $1 AND key <> $2"""
UNLOGGED: Final = """
    SELECT count(*)
    FROM handles AS h
    FULL JOIN (SELECT key, count(*) AS times FROM transaction_log WHERE action = 1 GROUP BY key) AS l USING (key)
    WHERE h.key IS NULL OR l.times IS DISTINCT FROM 1"""
POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One import by the command."""

    exit_code: int
    elapsed_s: float
    """From process start to exit."""
    memory_max_kib: int
    """Largest resident memory of the process (VmHWM)."""
    cpu_s: float
    """CPU time of the process."""
    report: dict[str, Any]


class Laboratory:
    """A directory, a Postgres and databases in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.server = EmbeddedPostgres(directory / "postgres", settings=POSTGRES_SETTINGS)

    async def empty_database(self, name: str) -> str:
        """Make a database with the tables of a node. Returns its DSN."""
        await self._execute(f'DROP DATABASE IF EXISTS "{name}"', f'CREATE DATABASE "{name}"', "CHECKPOINT")
        connection = await asyncpg.connect(self.server.dsn(name))
        await migrate(connection)
        await connection.close()
        return self.server.dsn(name)

    async def drop(self, name: str) -> None:
        """Drop a database."""
        await self._execute(f'DROP DATABASE IF EXISTS "{name}"')

    def settings_file(self, name: str, dsn: str) -> Path:
        """Write the settings of a node of this name."""
        path = self.directory / f"{name}.toml"
        data_dir = json.dumps(str(self.directory / name))
        path.write_text(
            f'[registry]\nname = "{name}"\ndata_dir = {data_dir}\nhomes = ["{PREFIX}"]\n'
            f"database = {json.dumps(dsn)}\n"
        )
        return path

    async def _execute(self, *statements: str) -> None:
        connection = await asyncpg.connect(self.server.dsn())
        for statement in statements:
            await connection.execute(statement)
        await connection.close()


@contextmanager
def laboratory() -> Iterator[Laboratory]:
    """A laboratory in a temporary directory, gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="handlegrid-benchmark-", dir="/tmp"))
    directory.chmod(0o755)  # as root, Postgres runs as another user, who must be able to enter
    made = Laboratory(directory)
    try:
        made.server.start()
        yield made
    finally:
        made.server.stop()
        shutil.rmtree(directory, ignore_errors=True)


def generate(path: Path, rows: int) -> None:
    """Write a catalogue of products."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write("handle,URL,DESC\n")
        for number in range(rows):
            stream.write(
                f"{PREFIX}/PUMP-{number:09},https://plant.example/products/{number:09},"
                f"Centrifugal pump {number % 977} of series {number % 31}\n"
            )


def import_by_command(path: Path, settings: Path, *, kill_after_s: float | None = None) -> Run:
    """Run `handlegrid import`, watch its memory, and kill it if told to."""
    command = [sys.executable, "-m", "deploy.cli", "import", str(path), "--config", str(settings), "--json"]
    started_s = time.monotonic()
    cpu_before_s = _cpu_of_children_s()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    memory_max_kib = 0
    while process.poll() is None:
        memory_max_kib = max(memory_max_kib, _memory_max_kib(process.pid))
        if kill_after_s is not None and time.monotonic() - started_s > kill_after_s:
            process.send_signal(signal.SIGKILL)
        time.sleep(POLL_S)
    elapsed_s = time.monotonic() - started_s
    output = process.communicate()[0]
    report = json.loads(output) if output else {}
    return Run(
        exit_code=process.returncode,
        elapsed_s=elapsed_s,
        memory_max_kib=memory_max_kib,
        cpu_s=_cpu_of_children_s() - cpu_before_s,
        report=report,
    )


def _cpu_of_children_s() -> float:
    """CPU seconds of the children that have ended and were waited for."""
    times = os.times()
    return times.children_user + times.children_system


def _memory_max_kib(process_id: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1])
    return 0


async def copy_bare(source_dsn: str, target_dsn: str) -> float:
    """Copy the rows of one database into an empty one in one statement. Returns the seconds of the COPY alone."""
    source = await asyncpg.connect(source_dsn)
    rows = [tuple(row) for row in await source.fetch(ROWS)]
    await source.close()
    target = await asyncpg.connect(target_dsn)
    started_s = time.monotonic()
    await target.copy_records_to_table("handles", records=rows, columns=COLUMNS)
    elapsed_s = time.monotonic() - started_s
    await target.close()
    return elapsed_s


async def check_rows(dsn: str, rows: int) -> None:
    """Raise AssertionError unless the handles are exactly those of the generated file, each logged once."""
    connection = await asyncpg.connect(dsn)
    mine = (PREFIX.encode(), f"{PREFIX}/ADMIN".encode())
    stored = await connection.fetchrow(STORED, *mine)
    unlogged = await connection.fetchval(UNLOGGED)
    await connection.close()
    assert stored is not None
    assert (*stored, unlogged) == (rows, 0, 0), (stored, unlogged)


async def measure_round(made: Laboratory, path: Path, rows: int) -> float:
    """Import, then copy. Returns the ratio of their rates."""
    import_dsn = await made.empty_database("imported")
    run = import_by_command(path, made.settings_file("imported", import_dsn))
    assert run.exit_code == 0, run
    await check_rows(import_dsn, rows)
    copy_dsn = await made.empty_database("copied")
    copy_s = await copy_bare(import_dsn, copy_dsn)
    import_s = float(run.report["elapsed_s"])
    print(
        f"import {import_s:6.1f} s {rows / import_s:8.0f} rows/s, {run.cpu_s / rows * 1e6:4.1f} us CPU/row, "
        f"whole command {run.elapsed_s:.1f} s, VmHWM {run.memory_max_kib / 1024:.0f} MiB;  "
        f"bare COPY {copy_s:5.1f} s {rows / copy_s:8.0f} rows/s;  ratio {copy_s / import_s:.3f}",
        flush=True,
    )
    await made.drop("copied")
    shutil.rmtree(made.directory / "imported")
    return copy_s / import_s


async def measure_kill(made: Laboratory, path: Path, rows: int) -> None:
    """Kill an import somewhere in the middle, run it again, and check the rows."""
    dsn = await made.empty_database("killed")
    settings = made.settings_file("killed", dsn)
    killed = import_by_command(
        path, settings, kill_after_s=random.uniform(2.0, 2.0 + rows / QUICKER_THAN_ANY_ROWS_PER_S)
    )
    if not killed.exit_code:
        raise SystemExit("the import ended before it was killed: give it more --rows")
    connection = await asyncpg.connect(dsn)
    before = await connection.fetchval("SELECT count(*) FROM handles")
    await connection.close()
    again = import_by_command(path, settings)
    await check_rows(dsn, rows)
    counts = {name: again.report[name] for name in ("created", "unchanged", "rejected")}
    print(
        f"killed (exit {killed.exit_code}) with {before} handles stored; again: {counts}; rows are the file's"
    )
    shutil.rmtree(made.directory / "killed")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--kill", action="store_true", help="also kill an import and run it again")
    arguments = parser.parse_args()
    print(f"{arguments.rows} rows, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with laboratory() as made:
        path = made.directory / "products.csv"
        generate(path, arguments.rows)
        ratios = []
        for _ in range(arguments.rounds):
            ratios.append(asyncio.run(measure_round(made, path, arguments.rows)))
            if arguments.kill:
                asyncio.run(measure_kill(made, path, arguments.rows))
        print(f"median ratio {median(ratios):.3f}")


if __name__ == "__main__":
    main()
