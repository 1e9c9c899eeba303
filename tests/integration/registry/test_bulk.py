"""Imports into a real database: what is stored, what is skipped, and what a kill leaves behind."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from protocol.value import HandleValue
from registry.bulk import ImportOptions, ImportReport, import_file
from registry.bulk.progress import SilentProgress
from tests.integration.registry.bench import Bench, admin, secret
from tests.support.postgres import TestPostgres

ROWS = 100_000


async def run(bench: Bench, path: Path, *, replace: bool = False) -> ImportReport:
    """Import a file."""
    return await import_file(
        path, operations=bench.operations, options=ImportOptions(replace=replace), progress=SilentProgress()
    )


def generated(directory: Path, rows: int) -> Path:
    """Write a CSV file of products."""
    path = directory / "products.csv"
    with path.open("w") as stream:
        stream.write("handle,URL\n")
        stream.writelines(f"88.100/p-{number},https://plant.example/{number}\n" for number in range(rows))
    return path


async def count(bench: Bench, table: str) -> int:
    """Rows of a table."""
    connection = await bench.connect()
    try:
        queries = {"handles": "SELECT count(*) FROM handles", "log": "SELECT count(*) FROM transaction_log"}
        return int(await connection.fetchval(queries[table]))
    finally:
        await connection.close()


async def reached(bench: Bench, rows: int) -> None:
    """Wait until so many handles are stored."""
    async with asyncio.timeout(60):
        while await count(bench, "handles") < rows:  # noqa: ASYNC110 - only the database can tell
            await asyncio.sleep(0.01)


async def test_a_record_without_administrator_gets_that_of_its_prefix(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("handle,URL,HS_SECKEY\n88.100/Pump,u,\n88.100/own,u,geheim\n")

    report = await run(bench, path)

    assert report.exit_code == 0
    pump = [(value.index, value.type, value.data) for value in await bench.values("88.100/pump")]
    assert pump == [(1, "URL", b"u"), (100, "HS_ADMIN", admin().data)]
    assert [value.index for value in await bench.values("88.100/own")] == [1, 100]


async def test_an_import_is_in_the_audit_as_one(bench: Bench, tmp_path: Path) -> None:
    await run(bench, generated(tmp_path, 5))
    connection = await bench.connect()
    try:
        query = "SELECT actor, via, action, items FROM audit_log ORDER BY id DESC LIMIT 1"
        entries = [tuple(record) for record in await connection.fetch(query)]
        assert entries == [("operator", "import", "identifier.create", 5)]
    finally:
        await connection.close()


async def test_an_administrator_of_its_own_is_kept(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("handle,HS_ADMIN\n88.100/x,301:88.100/PLANT\n")
    await run(bench, path)
    (value,) = await bench.values("88.100/x")
    assert (value.index, b"88.100/PLANT" in value.data) == (100, True)


async def test_json_lines_bring_every_kind_of_value(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    structured = {
        "format": "admin",
        "value": {"handle": "88.100/A", "index": 5, "permissions": "111111111111"},
    }
    values = [
        {"index": 3, "type": "URL", "data": {"format": "string", "value": "u"}, "ttl": 60},
        {"index": 100, "type": "HS_ADMIN", "data": structured},
    ]
    path.write_text(json.dumps({"handle": "88.100/j", "values": values}) + "\n")

    assert (await run(bench, path)).exit_code == 0
    found = await bench.values("88.100/j")
    assert [(value.index, value.type, value.ttl) for value in found] == [
        (3, "URL", 60),
        (100, "HS_ADMIN", 86_400),
    ]


async def test_a_repeated_import_writes_nothing(bench: Bench, tmp_path: Path) -> None:
    path = generated(tmp_path, 5_000)
    await run(bench, path)
    logged = await count(bench, "log")
    bench.now_s += 100

    report = await run(bench, path)

    assert (report.counts.unchanged, report.counts.rows) == (5_000, 5_000)
    assert await count(bench, "log") == logged


async def test_restricted_values_are_compared_too(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("handle,HS_SECKEY\n88.100/s,one\n")
    assert (await run(bench, path)).counts.created == 1
    assert (await run(bench, path)).counts.unchanged == 1
    path.write_text("handle,HS_SECKEY\n88.100/s,two\n")
    assert (await run(bench, path)).counts.rejected == 1


async def test_every_reason_for_a_rejection_reaches_the_file_of_rejects(bench: Bench, tmp_path: Path) -> None:
    await bench.create("88.100/taken", HandleValue(index=1, type="URL", data=b"other"), secret("s"))
    path = tmp_path / "rows.csv"
    path.write_bytes(
        b"handle,URL\n88.100/good,u\n88.100/taken,u\n77/foreign,u\n88.100/none,\n88.100/\xff,u\n88.100/g2,u\n"
    )

    report = await run(bench, path)

    assert (report.exit_code, report.counts.created, report.counts.rejected) == (1, 2, 4)
    assert report.rejects is not None
    lines = report.rejects.read_bytes().splitlines()[1:]
    assert sorted(int(line.split(b",")[0]) for line in lines) == [3, 4, 5, 6]
    assert all(len(line.split(b",")[1]) > 10 for line in lines)


async def test_replace_makes_the_records_those_of_the_file(bench: Bench, tmp_path: Path) -> None:
    path = generated(tmp_path, 300)
    await run(bench, path)
    path.write_text(path.read_text().replace("https://", "http://"))

    report = await run(bench, path, replace=True)

    assert (report.exit_code, report.counts.replaced) == (0, 300)
    assert (await bench.values("88.100/p-7"))[0].data == b"http://plant.example/7"


async def test_a_handle_twice_in_a_file_is_judged_in_its_order(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("handle,URL\n88.100/a,u\n88.100/A,u\n88.100/a,v\n")
    report = await run(bench, path)
    assert (report.counts.created, report.counts.unchanged, report.counts.rejected) == (1, 1, 1)


async def test_two_imports_at_once_bring_every_row_once(bench: Bench, tmp_path: Path) -> None:
    path = generated(tmp_path, 20_000)
    reports = await asyncio.gather(run(bench, path), run(bench, path))
    assert sum(report.counts.created for report in reports) == 20_000
    assert sum(report.counts.unchanged for report in reports) == 20_000
    assert await count(bench, "log") == await count(bench, "handles") == 20_000


IMPORTING = """
import asyncio, sys
from pathlib import Path
from registry.bulk import ImportOptions, import_file
from registry.bulk.progress import SilentProgress
from tests.integration.registry.bench import Bench

async def main() -> int:
    bench = await Bench.open(sys.argv[1], homes=("88.100",))
    report = await import_file(
        Path(sys.argv[2]), operations=bench.operations, options=ImportOptions(), progress=SilentProgress()
    )
    await bench.close()
    return report.exit_code

sys.exit(asyncio.run(main()))
"""


@pytest.mark.slow
async def test_an_import_that_is_killed_and_repeated_ends_with_the_rows_of_the_file(
    bench: Bench, tmp_path: Path
) -> None:
    path = generated(tmp_path, ROWS)
    command = [sys.executable, "-c", IMPORTING, bench.dsn, str(path)]
    seen = 0
    for part in (0.1, 0.4, 0.7):
        process = await asyncio.create_subprocess_exec(*command)
        await reached(bench, int(part * ROWS))
        process.send_signal(signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
        stored = await count(bench, "handles")
        assert seen <= stored < ROWS
        seen = stored

    report = await run(bench, path)

    assert (report.exit_code, report.counts.rejected) == (0, 0)
    assert report.counts.unchanged >= seen
    assert report.counts.created + report.counts.unchanged == ROWS
    assert await count(bench, "log") == await count(bench, "handles") == ROWS


async def test_a_database_that_goes_away_ends_the_import_and_is_told(
    own_postgres: TestPostgres, tmp_path: Path
) -> None:
    dsn = own_postgres.database()
    bench = await Bench.open(dsn, homes=("88.100",))
    path = generated(tmp_path, ROWS)
    importing = asyncio.create_task(run(bench, path))
    await reached(bench, 4_000)

    await asyncio.to_thread(own_postgres.crash)
    report = await importing
    await bench.close()

    assert report.exit_code == 3
    assert 4_000 <= report.counts.stored < ROWS
    assert f"{report.counts.stored} rows are in; run the same command again" in report.failure

    own_postgres.start()
    bench = await Bench.open(dsn, homes=("88.100",))
    again = await run(bench, path)
    await bench.close()
    assert (again.exit_code, again.counts.rows) == (0, ROWS)
    assert again.counts.unchanged >= report.counts.stored
