"""A dump on its way into the database: one batch is written while the next one is read."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Final

from protocol.errors import TooLarge
from protocol.handle import Prefix
from protocol.replication import DumpedHandle, DumpedPrefix, SourceState
from protocol.wire import MAX_MESSAGE_OCTETS
from registry.bulk.rejects import RejectsFile
from registry.bulk.report import ImportCounts, Progress
from registry.bulk.rows import RejectedRow, Row
from registry.dump_import.report import DumpReport
from registry.dump_import.rows import prefix_of, row_of, shown, source_of
from registry.dump_import.source import DumpSource, Position, RestartPoint, point_of
from registry.outcomes import Created, Creation, Deleted, Rejected, Replaced, Result, Unchanged

BATCH_ROWS: Final = 2_000  # as an import of files
BATCH_OCTETS: Final = 16 * MAX_MESSAGE_OCTETS
PREFIXES_MAX: Final = 100_000  # that a source homes; more than the Handle System has

Create = Callable[[Sequence[Creation]], Awaitable[list[Result]]]
Remember = Callable[[RestartPoint], Awaitable[None]]
RememberState = Callable[[Position], Awaitable[None]]


async def survey(source: DumpSource, progress: Progress) -> list[Prefix]:
    """Read a dump and write nothing: the prefixes that the source homes. Raises as DumpSource.records()."""
    counts, started_s = ImportCounts(), time.monotonic()
    found: list[Prefix] = []
    async with aclosing(source.records()) as records:
        async for record in records:
            if isinstance(record, DumpedPrefix):
                found.append(prefix_of(record.name))
                if len(found) > PREFIXES_MAX:
                    raise TooLarge(f"the source homes more than {PREFIXES_MAX} prefixes")
            elif isinstance(record, DumpedHandle):
                counts.unchanged += 1
                progress.advanced(counts, time.monotonic() - started_s)
    return found


class DumpWriter:
    """Writes the records of a dump; nothing is remembered as written before it is committed."""

    def __init__(
        self,
        source: DumpSource,
        *,
        create: Create,
        remember: Remember,
        remember_state: RememberState,
        report: DumpReport,
        rejects: RejectsFile,
        progress: Progress,
        batch_rows: int = BATCH_ROWS,
    ) -> None:
        self._source = source
        self._create = create
        self._remember = remember
        self._remember_state = remember_state
        self._report = report
        self._counts = report.counts
        self._rejects = rejects
        self._progress = progress
        self._batch_rows = batch_rows
        self._batch: list[Row] = []
        self._batch_octets = 0
        self._read = 0
        self._under_way: asyncio.Task[None] | None = None
        self._started_s = time.monotonic()

    async def run(self, after: RestartPoint | None) -> None:
        """Write everything behind a point. Raises as DumpSource.records() and Operations.create()."""
        try:
            async with aclosing(self._source.records(after)) as records:
                async for record in records:
                    if isinstance(record, DumpedHandle):
                        await self._take(record)
                    elif isinstance(record, DumpedPrefix):
                        self._note_prefix(record)
                    elif isinstance(record, SourceState) and self._report.transaction is None:
                        self._report.transaction = record.transaction
                        if after is None:  # what was dumped first is as old as the first state
                            await self._remember_state(
                                Position(transaction=record.transaction, date_ms=record.date_ms)
                            )
            await self._submit(None)
        finally:
            await self._settle()

    def _note_prefix(self, record: DumpedPrefix) -> None:
        if len(self._report.prefixes) < PREFIXES_MAX:
            self._report.prefixes.append(shown(record.name))

    async def _take(self, record: DumpedHandle) -> None:
        self._read += 1
        row = row_of(record, self._read)
        if isinstance(row, RejectedRow):
            self._reject(row)
        else:
            self._batch.append(row)
            self._batch_octets += len(row.creation.values.octets)
        if len(self._batch) >= self._batch_rows or self._batch_octets >= BATCH_OCTETS:
            await self._submit(point_of(record))

    async def _submit(self, point: RestartPoint | None) -> None:
        batch, self._batch, self._batch_octets = self._batch, [], 0
        if self._under_way is not None:
            await self._under_way
        self._under_way = asyncio.create_task(self._write(batch, point), name="dump batch")

    async def _write(self, batch: list[Row], point: RestartPoint | None) -> None:
        if batch:
            for row, result in zip(batch, await self._create([row.creation for row in batch]), strict=True):
                self._count(row, result)
        if point is not None:
            await self._remember(point)
        self._progress.advanced(self._counts, time.monotonic() - self._started_s)

    async def _settle(self) -> None:
        """Let the batch under way end: the source has failed, not the database. Raises what that batch raises."""
        if self._under_way is not None:
            under_way, self._under_way = self._under_way, None
            await under_way

    def _count(self, row: Row, result: Result) -> None:
        match result:
            case Created():
                self._counts.created += 1
            case Replaced():
                self._counts.replaced += 1
            case Unchanged():
                self._counts.unchanged += 1
            case Rejected():
                self._reject(RejectedRow(row.line, result.message, source_of(row.creation)))
            case Deleted():
                raise AssertionError("a creation deletes nothing")

    def _reject(self, row: RejectedRow) -> None:
        self._counts.rejected += 1
        self._rejects.write(row, None)
