"""What changed at a source since its dump: its transactions, applied in their order.

A transaction carries the record as it is now. So one that comes twice changes nothing the second time, and what was
interrupted begins again where the last one that was completed had ended.
"""

import time
from contextlib import aclosing
from typing import Final

from protocol.codes import ResponseCode
from protocol.errors import InvalidHandle, Malformed
from protocol.handle import Handle
from protocol.replication import (
    DumpedHandle,
    EndOfStream,
    StreamHead,
    StreamStatus,
    Transaction,
    TransactionAction,
)
from registry.bulk.importer import Creating
from registry.bulk.rejects import RejectsFile
from registry.bulk.report import Progress
from registry.bulk.rows import RejectedRow, Row
from registry.dump_import.report import NAMES_MAX, DumpReport
from registry.dump_import.rows import named, prefix_of, row_of, shown, source_of
from registry.dump_import.server import SourceRefused
from registry.dump_import.source import DumpSource, Position
from registry.operations import Operations
from registry.outcomes import IMPORT, OPERATOR, Created, Deleted, Rejected, Replaced, Unchanged

GLOBAL_PREFIXES: Final = frozenset({b"0.NA", b"0.0"})
"""Of the root service: no server that is left hands them on, and homing them makes a node a root."""


class Follower:
    """Applies transactions one by one: a migration has few of them left."""

    def __init__(
        self,
        source: DumpSource,
        operations: Operations,
        creating: Creating,
        *,
        report: DumpReport,
        rejects: RejectsFile,
        progress: Progress,
        home_prefixes: bool,
    ) -> None:
        self._source = source
        self._operations = operations
        self._creating = creating
        self._report = report
        self._rejects = rejects
        self._progress = progress
        self._home_prefixes = home_prefixes
        self._started_s = time.monotonic()

    async def run(self, since: Position) -> Position:
        """Bring in what came behind a position; gives the next one. Raises as DumpSource.transactions()."""
        reached, date_ms = since.transaction, since.date_ms
        async with aclosing(self._source.transactions(since)) as records:
            async for record in records:
                match record:
                    case StreamHead(status=StreamStatus.NEEDS_DUMP):
                        message = f"its log no longer reaches back to transaction {since.transaction}: import the dump"
                        raise SourceRefused(f"{message} again, with --replace")
                    case Transaction():
                        await self._apply(record)
                        reached = max(reached, record.number)
                    case EndOfStream(date_ms=ended_ms) if ended_ms is not None:
                        date_ms = ended_ms
                    case _:
                        pass
        self._report.transaction = reached
        return Position(transaction=reached, date_ms=date_ms)

    async def _apply(self, change: Transaction) -> None:
        match change.action:
            case TransactionAction.CREATE | TransactionAction.UPDATE:
                await self._write(change)
            case TransactionAction.DELETE:
                await self._delete(change)
            case TransactionAction.HOME | TransactionAction.UNHOME:
                await self._home(change)
            case TransactionAction.DELETE_ALL:
                raise Malformed("the source has deleted everything; that is for a person to repeat")
            case TransactionAction.PLACEHOLDER:
                return
        self._progress.advanced(self._report.counts, time.monotonic() - self._started_s)

    async def _write(self, change: Transaction) -> None:
        row = row_of(DumpedHandle(name=change.name, values=change.values), change.number)
        if isinstance(row, RejectedRow):
            self._reject(row)
            return
        (result,) = await self._creating.create([row.creation], by=OPERATOR, replace=True, origin=IMPORT)
        match result:
            case Created():
                self._report.counts.created += 1
            case Replaced():
                self._report.counts.replaced += 1
            case Unchanged():
                self._report.counts.unchanged += 1
            case Rejected():
                self._reject(_refused(row, result))
            case Deleted():
                raise AssertionError("a creation deletes nothing")

    async def _delete(self, change: Transaction) -> None:
        try:
            handle = Handle.parse(change.name)
        except InvalidHandle as error:
            self._reject(RejectedRow(change.number, str(error), named(change.name)))
            return
        (result,) = await self._operations.delete([handle], by=OPERATOR, origin=IMPORT)
        match result:
            case Rejected(code=ResponseCode.HANDLE_NOT_FOUND):
                self._report.counts.unchanged += 1
            case Rejected():
                self._reject(RejectedRow(change.number, result.message, named(change.name)))
            case _:
                self._report.deleted += 1

    async def _home(self, change: Transaction) -> None:
        """Home what the source homes now, when asked for; what it homes no more is for a person."""
        name = shown(change.name)
        wanted = self._home_prefixes and change.action is TransactionAction.HOME
        prefix = prefix_of(change.name)
        if wanted and prefix.key not in GLOBAL_PREFIXES:
            refused = await self._operations.home(prefix, by=OPERATOR, origin=IMPORT)
            if refused is None:
                return
        if len(self._report.notes) < NAMES_MAX:
            self._report.notes.append(f"left as it is here: {change.action.name.lower()} {name}")

    def _reject(self, row: RejectedRow) -> None:
        self._report.counts.rejected += 1
        self._rejects.write(row, None)


def _refused(row: Row, result: Rejected) -> RejectedRow:
    return RejectedRow(row.line, result.message, source_of(row.creation))
