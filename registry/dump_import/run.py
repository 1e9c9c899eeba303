"""An import from a running server: survey where prefixes are to be homed, write, compare, report.

It may end anywhere and be run again: what is committed is remembered with its place in the dump, and a server that
cannot begin in the middle sends everything anew, of which what is stored alike is passed over.
"""

import time
from collections.abc import Callable, Sequence

from protocol.errors import HandleError, StoreUnavailable, Unreachable
from protocol.handle import Prefix
from registry.bulk.importer import Creating, rare_collections
from registry.bulk.progress import SilentProgress
from registry.bulk.rejects import RejectsFile
from registry.bulk.report import Progress
from registry.dump_import.comparing import Comparing
from registry.dump_import.following import GLOBAL_PREFIXES, Follower
from registry.dump_import.report import DumpOptions, DumpReport, DumpStatus
from registry.dump_import.restart import RestartMemory
from registry.dump_import.rows import shown
from registry.dump_import.server import SourceRefused
from registry.dump_import.source import DumpSource, Position, RestartPoint
from registry.dump_import.writing import BATCH_ROWS, DumpWriter, survey
from registry.homing import home
from registry.operations import Operations
from registry.outcomes import IMPORT, OPERATOR, Creation, Result

ENDS_UNSIGNED = (
    "the dump came in signed blocks and not over TLS: no block was forged, but whoever stands between could have left "
    "some out"
)

Tell = Callable[[str], None]


class DumpImport:
    """One import."""

    def __init__(
        self,
        source: DumpSource,
        *,
        operations: Operations,
        creating: Creating,
        options: DumpOptions,
        progress: Progress | None = None,
        tell: Tell = lambda _: None,
        batch_rows: int = BATCH_ROWS,
    ) -> None:
        """creating: the creation of operations, counted or not. tell: hears in words which part begins."""
        self._source = source
        self._operations = operations
        self._creating = creating
        self._options = options
        self._progress = progress or SilentProgress()
        self._tell = tell
        self._batch_rows = batch_rows
        self._memory = RestartMemory(operations.context.store, source.server)
        self._rejects = RejectsFile(options.rejects)
        self._to_home: Sequence[Prefix] = ()
        server = source.server
        self._report = DumpReport(source=str(server), fingerprint=server.fingerprint, dry_run=options.dry_run)

    async def run(self) -> DumpReport:
        """Import, and say how it went. Never raises for what the source or the database does: the report tells it."""
        report, started_s = self._report, time.monotonic()
        try:
            with rare_collections():
                await (self._catch_up() if self._options.catch_up else self._run())
            clean = report.comparison is None or report.comparison.is_clean
            complete = clean and not report.counts.rejected
            report.status = DumpStatus.COMPLETE if complete else DumpStatus.INCOMPLETE
        except (Unreachable, StoreUnavailable) as error:
            report.status = DumpStatus.INTERRUPTED
            report.failure = f"{error}; run the same command again, it goes on where it ended"
        except HandleError as error:
            report.failure = str(error)
        except OSError as error:
            report.failure = f"cannot write {self._options.rejects}: {error.strerror}"
        finally:
            self._progress.ended()
            report.rejects = self._rejects.close()
        report.over_tls = self._source.over_tls
        report.elapsed_s = time.monotonic() - started_s
        return report

    async def _run(self) -> None:
        after = None if self._options.dry_run else await self._memory.recall()
        if after is not None and self._source.resumes:
            self._report.resumed_after = shown(after[0])
        elif self._options.home_prefixes:
            await self._home()
        self._begin("trying" if self._options.dry_run else "writing")
        writer = DumpWriter(
            self._source,
            create=self._try if self._options.dry_run else self._create,
            remember=_pass_over if self._options.dry_run else self._memory.remember,
            remember_state=_pass_over if self._options.dry_run else self._memory.remember_position,
            report=self._report,
            rejects=self._rejects,
            progress=self._progress,
            batch_rows=self._batch_rows,
        )
        await writer.run(after)
        if not self._source.over_tls:
            self._report.notes.append(ENDS_UNSIGNED)
        if self._options.dry_run:
            return
        await self._memory.forget()
        if self._options.compare:
            self._begin("comparing what is stored with the source")
            self._report.comparison = await Comparing(self._source, self._operations, self._progress).run()

    def _begin(self, part: str) -> None:
        self._progress.ended()
        self._tell(part)

    async def _catch_up(self) -> None:
        """Bring in what changed at the source since its dump, or since this was done last."""
        position = await self._memory.position()
        if position is None or await self._memory.recall() is not None:
            raise SourceRefused("its dump was not imported to the end yet: do that first, without --catch-up")
        self._begin(f"bringing in what changed after transaction {position.transaction}")
        follower = Follower(
            self._source,
            self._operations,
            self._creating,
            report=self._report,
            rejects=self._rejects,
            progress=self._progress,
            home_prefixes=self._options.home_prefixes,
        )
        reached = await follower.run(position)
        await self._memory.remember_position(reached)

    async def _home(self) -> None:
        """Home the prefixes of the source, which stand behind the handles that need them."""
        self._begin("looking which prefixes the source homes")
        prefixes = await survey(self._source, self._progress)
        left = [str(prefix) for prefix in prefixes if prefix.key in GLOBAL_PREFIXES]
        if left:
            self._report.notes.append(f"not homed, since that would make this node a root: {', '.join(left)}")
        self._to_home = [prefix for prefix in prefixes if prefix.key not in GLOBAL_PREFIXES]
        if self._options.dry_run:
            return
        for prefix in self._to_home:
            refused = await self._operations.home(prefix, by=OPERATOR, origin=IMPORT)
            if refused is not None:
                self._report.notes.append(refused.message)

    async def _create(self, batch: Sequence[Creation]) -> list[Result]:
        return await self._creating.create(batch, by=OPERATOR, replace=self._options.replace, origin=IMPORT)

    async def _try(self, batch: Sequence[Creation]) -> list[Result]:
        """What creating would do; undone, homing included."""
        async with self._operations.transaction(IMPORT, commit=False) as transaction:
            for prefix in self._to_home:
                await home(transaction, prefix, OPERATOR)
            return await transaction.create(batch, by=OPERATOR, replace=self._options.replace)


async def _pass_over(place: RestartPoint | Position) -> None:
    """Remember nothing."""
