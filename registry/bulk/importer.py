"""The import itself: file -> rows -> batches -> operation -> report.

While the database writes two batches, the next one is parsed on the same event loop, a slice at a time. Memory
holds three batches, a chunk and an unfinished row, whatever the size of the file. No state is kept beside the
database: an import that ended anywhere is run again, and what is in is recognised as alike.
"""

import asyncio
import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from protocol.errors import StoreUnavailable
from protocol.wire import MAX_MESSAGE_OCTETS
from registry.bulk.columns import HeaderUnusable
from registry.bulk.lines import LineSplitter
from registry.bulk.rejects import RejectsFile
from registry.bulk.report import ImportCounts, ImportOptions, ImportReport, ImportStatus, Progress
from registry.bulk.rows import RejectedRow, Row, parser_for
from registry.bulk.source import ImportPlan, ImportUnusable, Source, plan_import
from registry.bulk.writers import Writers
from registry.outcomes import (
    IMPORT,
    OPERATOR,
    Actor,
    Created,
    Creation,
    Deleted,
    Origin,
    Rejected,
    Replaced,
    Result,
    Unchanged,
)

BATCH_ROWS: Final = 2_000  # measured: benchmarks/import_rate.py; more rows per transaction gain nothing
BATCH_OCTETS: Final = 16 * MAX_MESSAGE_OCTETS  # 4 MiB: bounds the memory for files of large records
SLICE_ROWS: Final = 128  # parsed in one go, about a millisecond; then the database connection has its turn
COLLECT_AFTER_OBJECTS: Final = 1_000_000  # a few batches: what cycles there are stay a few megabytes


class Creating(Protocol):
    """What an import needs of registry.operations.Operations."""

    async def create(
        self,
        batch: Sequence[Creation],
        *,
        by: Actor,
        replace: bool = False,
        inherit_admin: bool = False,
        origin: Origin = IMPORT,
    ) -> list[Result]:
        """Create records. Raises StoreUnavailable."""


async def import_file(
    path: Path, *, operations: Creating, options: ImportOptions, progress: Progress
) -> ImportReport:
    """Import a file of records into the node's database.

    path: a CSV or JSON Lines file, or STANDARD_INPUT, whose format must be given.
    Never raises for a bad option, a bad file or a lost database: the report says so. Safe to run again after an
    end at any point: rows that are stored alike are skipped.
    """
    started_s = time.monotonic()
    counts = ImportCounts()
    status, failure, rejects = ImportStatus.UNUSABLE, "", None
    try:
        plan = plan_import(path, options)
        rejects = RejectsFile(plan.rejects)
        job = _Import(
            plan,
            operations=operations,
            options=options,
            progress=progress,
            counts=counts,
            rejects=rejects,
        )
        with rare_collections():
            await job.run()
        status = ImportStatus.SOME_REJECTED if counts.rejected else ImportStatus.COMPLETE
    except (ImportUnusable, HeaderUnusable) as error:
        failure = f"{error}{_stored_note(counts)}" if counts.rows else str(error)
    except StoreUnavailable as error:
        status = ImportStatus.DATABASE_GONE
        failure = f"{error}{_stored_note(counts)}"
    finally:
        written, fault = _close(rejects)
    if fault and not failure:
        status, failure = ImportStatus.UNUSABLE, fault
    report = ImportReport(
        status=status,
        counts=counts,
        elapsed_s=time.monotonic() - started_s,
        rejects=written,
        failure=failure,
    )
    progress.ended()
    return report


def _stored_note(counts: ImportCounts) -> str:
    stored = f"at least {counts.stored} rows are in"
    return f"\n{stored}; run the same command again when that is mended, it skips what is in"


def _close(rejects: RejectsFile | None) -> tuple[Path | None, str]:
    """Close the file of rejects. Returns its path, if it was needed, and what went wrong."""
    if rejects is None:
        return None, ""
    try:
        return rejects.close(), ""
    except OSError as error:
        return rejects.path, f"cannot write {rejects.path}: {error.strerror}"


@contextmanager
def rare_collections() -> Iterator[None]:
    """Let Python look for reference cycles rarely: rows make none, and looking costs an eighth of the rate."""
    before = gc.get_threshold()
    gc.set_threshold(COLLECT_AFTER_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _Import:
    """One import: reads and parses while batches are being written."""

    def __init__(
        self,
        plan: ImportPlan,
        *,
        operations: Creating,
        options: ImportOptions,
        progress: Progress,
        counts: ImportCounts,
        rejects: RejectsFile,
    ) -> None:
        self._plan = plan
        self._operations = operations
        self._options = options
        self._progress = progress
        self._counts = counts
        self._rejects = rejects
        self._started_s = time.monotonic()
        self._parser = parser_for(plan.format, options)
        self._batch: list[Row] = []
        self._batch_octets = 0
        self._writers = Writers(self._write)
        self._read_octets = 0
        self._parsed = 0

    async def run(self) -> None:
        """Raises ImportUnusable, HeaderUnusable or StoreUnavailable; no task is left behind."""
        source = Source(self._plan.path)
        self._counts.file_octets = source.octets
        try:
            await self._read(source)
        except ImportUnusable:
            await self._writers.drain()  # the file failed, not the database: what is under way is let end
            raise
        finally:
            source.close()
            await self._writers.abandon()

    async def _read(self, source: Source) -> None:
        splitter = LineSplitter()
        while chunk := await source.read():
            self._read_octets += len(chunk)
            await self._take(splitter.feed(chunk))
        await self._take(splitter.finish(), last=True)
        if not self._parser.is_begun:
            raise HeaderUnusable(f"{self._plan.path} is empty: the first line of a CSV file is its header")
        await self._submit()
        await self._writers.drain()

    async def _take(self, lines: Sequence[bytes], *, last: bool = False) -> None:
        for row in self._parser.feed(lines, last=last):
            self._parsed += 1
            if isinstance(row, RejectedRow):
                self._reject(row)
            else:
                self._batch.append(row)
                self._batch_octets += len(row.creation.values.octets)
            if self._parsed % SLICE_ROWS == 0:
                await asyncio.sleep(0)
            if len(self._batch) >= BATCH_ROWS or self._batch_octets >= BATCH_OCTETS:
                await self._submit()

    async def _submit(self) -> None:
        """Hand the batch over."""
        batch, self._batch, self._batch_octets = self._batch, [], 0
        await self._writers.submit(batch, self._read_octets)

    async def _write(self, batch: Sequence[Row], read_octets: int) -> None:
        if batch:
            results = await self._operations.create(
                [row.creation for row in batch],
                by=OPERATOR,
                replace=self._options.replace,
                inherit_admin=True,
                origin=IMPORT,
            )
            for row, result in zip(batch, results, strict=True):
                self._count(row, result)
        self._counts.read_octets = max(read_octets, self._counts.read_octets)
        self._progress.advanced(self._counts, time.monotonic() - self._started_s)

    def _count(self, row: Row, result: Result) -> None:
        match result:
            case Created():
                self._counts.created += 1
            case Replaced():
                self._counts.replaced += 1
            case Unchanged():
                self._counts.unchanged += 1
            case Rejected():
                self._reject(RejectedRow(row.line, result.message, row.source))
            case Deleted():
                raise AssertionError("a creation deletes nothing")

    def _reject(self, row: RejectedRow) -> None:
        self._counts.rejected += 1
        try:
            self._rejects.write(row, self._parser.columns)
        except OSError as error:
            raise ImportUnusable(f"cannot write {self._rejects.path}: {error.strerror}") from None
