"""An import from file to report, with an operation that keeps records in memory."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from protocol.codes import ResponseCode
from protocol.errors import StoreUnavailable
from protocol.handle import Prefix
from protocol.value import ValueList
from registry.bulk import FileFormat, ImportOptions, ImportReport, import_file
from registry.bulk.importer import BATCH_OCTETS, BATCH_ROWS
from registry.bulk.progress import SilentProgress
from registry.outcomes import (
    IMPORT,
    OPERATOR,
    Actor,
    Created,
    Creation,
    Origin,
    Rejected,
    Replaced,
    Result,
    Unchanged,
)


class Records:
    """Stands for the operations: prefix 88 lives here, and batches can be made to fail."""

    def __init__(self, *, fail_at: int | None = None) -> None:
        self.records: dict[bytes, ValueList] = {}
        self.batches: list[int] = []
        self._fail_at = fail_at

    async def create(
        self,
        batch: Sequence[Creation],
        *,
        by: Actor,
        replace: bool = False,
        inherit_admin: bool = False,
        origin: Origin = IMPORT,
    ) -> list[Result]:
        assert by == OPERATOR
        assert inherit_admin
        if len(self.batches) == self._fail_at:
            raise StoreUnavailable("connection refused")
        self.batches.append(len(batch))
        await asyncio.sleep(0)
        return [self._create(item, replace) for item in batch]

    def _create(self, item: Creation, replace: bool) -> Result:
        handle = item.handle
        if handle.prefix.octets != b"88":
            return Rejected(handle, ResponseCode.SERVER_NOT_RESPONSIBLE, "not homed here")
        stored = self.records.get(handle.key)
        if stored == item.values:
            return Unchanged(handle, 1)
        if stored is not None and not replace:
            return Rejected(handle, ResponseCode.HANDLE_ALREADY_EXISTS, "exists and differs")
        self.records[handle.key] = item.values
        return Replaced(handle, 2) if stored is not None else Created(handle, 1)


async def run(
    path: Path, records: Records | None = None, options: ImportOptions | None = None
) -> ImportReport:
    """Import a file."""
    return await import_file(
        path, operations=records or Records(), options=options or ImportOptions(), progress=SilentProgress()
    )


def csv_file(directory: Path, rows: int, *, begin: int = 0) -> Path:
    """Write a file of good rows."""
    path = directory / "rows.csv"
    lines = [f"88/{number},https://plant.example/{number}" for number in range(begin, begin + rows)]
    path.write_text("handle,URL\n" + "\n".join(lines) + "\n")
    return path


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def test_every_row_of_a_file_is_created_in_batches(tmp_path: Path) -> None:
    records = Records()
    path = csv_file(tmp_path, 2 * BATCH_ROWS + 1)

    report = await run(path, records)

    assert (report.exit_code, report.counts.created, report.rejects) == (0, 2 * BATCH_ROWS + 1, None)
    assert records.batches == [BATCH_ROWS, BATCH_ROWS, 1]
    assert report.counts.read_octets == report.counts.file_octets == path.stat().st_size
    assert _names(tmp_path) == ["rows.csv"]


async def test_a_batch_is_bounded_by_its_octets(tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    path.write_text("handle,DESC\n" + "".join(f"88/{number},{'x' * 200_000}\n" for number in range(60)))
    records = Records()
    assert (await run(path, records)).counts.created == 60
    assert max(records.batches) <= BATCH_OCTETS // 200_000 + 1


async def test_a_repeated_import_changes_nothing(tmp_path: Path) -> None:
    records = Records()
    path = csv_file(tmp_path, 10)
    await run(path, records)
    before = dict(records.records)

    report = await run(path, records)

    assert (report.exit_code, report.counts.unchanged, report.counts.created) == (0, 10, 0)
    assert records.records == before


async def test_a_record_that_differs_is_rejected_unless_it_shall_be_replaced(tmp_path: Path) -> None:
    records = Records()
    path = csv_file(tmp_path, 3)
    await run(path, records)
    path.write_text(path.read_text().replace("/1,", "/1,new-"))

    rejected = await run(path, records)
    replaced = await run(path, records, ImportOptions(replace=True))

    assert (rejected.exit_code, rejected.counts.rejected, rejected.counts.unchanged) == (1, 1, 2)
    assert rejected.rejects == tmp_path / "rows.rejected.csv"
    assert "3,exists and differs,,88/1,new-" in rejected.rejects.read_text()
    assert (replaced.exit_code, replaced.counts.replaced, replaced.counts.unchanged) == (0, 1, 2)


async def test_a_corrected_file_of_rejects_brings_in_the_rest(tmp_path: Path) -> None:
    records = Records()
    path = tmp_path / "rows.csv"
    path.write_text('handle,URL\n88/1,u\n99/2,u\n88/3,"u\n88/4,u\n')
    first = await run(path, records)
    assert (first.exit_code, first.counts.created, first.counts.rejected) == (1, 2, 2)
    assert first.rejects is not None
    corrected = first.rejects.read_text().replace("99/2", "88/2").replace('"88/3,""u",,', ",88/3,u")
    first.rejects.write_text(corrected)

    second = await run(first.rejects, records)

    assert (second.exit_code, second.counts.created) == (0, 2)
    assert sorted(records.records) == [b"88/1", b"88/2", b"88/3", b"88/4"]


async def test_a_lost_database_is_told_with_what_is_in(tmp_path: Path) -> None:
    records = Records(fail_at=1)
    path = csv_file(tmp_path, 3 * BATCH_ROWS)

    report = await run(path, records)

    assert (report.exit_code, report.counts.created) == (3, BATCH_ROWS)
    assert f"{BATCH_ROWS} rows are in" in report.failure
    assert "connection refused" in report.failure
    again = Records()
    again.records = records.records
    assert (await run(path, again)).counts.unchanged == BATCH_ROWS


async def test_json_lines_are_known_by_their_extension(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"handle":"88/1","values":[{"index":1,"type":"URL","data":"u"}]}\nnonsense\n')
    report = await run(path)
    assert (report.exit_code, report.counts.created, report.counts.rejected) == (1, 1, 1)
    assert report.rejects == tmp_path / "rows.rejected.jsonl"


def _write_all(descriptor: int, octets: bytes) -> None:
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(octets)


async def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    options = ImportOptions(format=FileFormat.CSV, rejects=tmp_path / "r.csv")
    content = csv_file(tmp_path, 5_000).read_bytes()
    reading, writing = os.pipe()
    feeding = asyncio.create_task(asyncio.to_thread(_write_all, writing, content))

    try:
        report = await run(Path(f"/dev/fd/{reading}"), options=options)
    finally:
        os.close(reading)

    await feeding
    assert (report.exit_code, report.counts.created, report.counts.file_octets) == (0, 5_000, None)


@pytest.mark.parametrize(
    ("name", "content", "options", "said"),
    [
        ("rows.txt", "", ImportOptions(), "--format"),
        ("rows.xlsx", "", ImportOptions(), "save it as CSV"),
        ("rows.csv", "", ImportOptions(), "empty"),
        ("rows.csv", "name,URL\n88/1,u\n", ImportOptions(), "`handle`"),
        ("rows.jsonl", "", ImportOptions(prefix=Prefix.parse("88")), "--prefix"),
        ("rows.csv", "handle,URL\n", ImportOptions(rejects=Path("/nowhere/r.csv")), "--rejects"),
        ("missing.csv", None, ImportOptions(), "No such file"),
    ],
)
async def test_what_cannot_be_used_is_told_with_a_remedy_and_exit_code_2(
    tmp_path: Path, name: str, content: str | None, options: ImportOptions, said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    report = await run(tmp_path / name, options=options)
    assert report.exit_code == 2
    assert said in report.failure
    assert "rows are in" not in report.failure


async def test_a_directory_is_no_file(tmp_path: Path) -> None:
    report = await run(tmp_path, options=ImportOptions(format=FileFormat.CSV))
    assert (report.exit_code, "directory" in report.failure) == (2, True)


async def test_rejects_never_overwrite_the_imported_file(tmp_path: Path) -> None:
    path = csv_file(tmp_path, 1)
    report = await run(path, options=ImportOptions(rejects=path))
    assert report.exit_code == 2
    assert path.read_text().startswith("handle,URL")


async def test_standard_input_needs_a_format() -> None:
    assert "--format" in (await run(Path("-"))).failure


async def test_a_cancelled_import_leaves_no_task_and_closes_its_rejects(tmp_path: Path) -> None:
    class Stuck(Records):
        async def create(
            self,
            batch: Sequence[Creation],
            *,
            by: Actor,
            replace: bool = False,
            inherit_admin: bool = False,
            origin: Origin = IMPORT,
        ) -> list[Result]:
            await asyncio.Event().wait()
            return []

    path = tmp_path / "rows.csv"
    path.write_text("handle,URL\nbad\n" + "".join(f"88/{number},u\n" for number in range(3 * BATCH_ROWS)))
    importing = asyncio.create_task(run(path, Stuck()))
    await asyncio.sleep(0.2)

    importing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await importing

    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert "bad" in (tmp_path / "rows.rejected.csv").read_text()
