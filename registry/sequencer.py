"""The sequencer: one task per database that numbers what is committed, chains it and announces it.

Every process of a node runs one, on a connection of its own. Whoever holds the lock of the session numbers on that very
session, so that a lock that is lost cannot be worked under; the others look every second whether it is free. A
database that is gone is waited for.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final, Self

import asyncpg
import structlog

from protocol.errors import StoreUnavailable
from registry.audit.checkpoints import Checkpoints
from registry.audit.head import Head, format_time
from registry.audit.numbering import BATCH_ENTRIES_MAX, SESSION_SETTINGS, Connection, Numbering
from registry.metrics import RegistryMetrics
from registry.settings import RegistrySettings
from registry.store import ACQUIRE_WAIT_S, STATEMENT_WAIT_S, outages

LOCK_KEY: Final = 0x68_67_61_75_64_69_74  # "hgaudit"; any number that nobody else takes in this database
BUSY_PERIOD_S: Final = 0.1
"""Between two batches while there are any: what numbering adds to the time until others hear of a change."""
IDLE_PERIOD_S: Final = 1.0
"""Between two looks while nothing happens, and between two tries to get the lock or the database."""
MEASURE_PERIOD_S: Final = 5.0
LAG_ENTRIES_MAX: Final = 100_000
"""How far waiting entries are counted."""
LAG_WARNING_S: Final = 60.0
"""From here on the log tells that numbering waits; transactions of ours take a second."""
STOP_WAIT_S: Final = 3.0
"""What numbering the last entries of a stopping process may take; another process numbers them otherwise."""
_SESSION: Final = {
    "application_name": "handlegrid sequencer",
    "idle_session_timeout": "30s",  # a process that hangs, or a host that is gone, loses the lock
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    **SESSION_SETTINGS,
}

log = structlog.get_logger(__name__)


class Sequencer:
    """Numbers the entries of one database, or stands by while another process does."""

    def __init__(
        self,
        dsn: str,
        *,
        checkpoints: Checkpoints,
        metrics: RegistryMetrics,
        checkpoint_interval_s: float = 60.0,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._dsn = dsn
        self._checkpoints = checkpoints
        self._metrics = metrics
        self._checkpoint_interval_s = checkpoint_interval_s
        self._wall_clock = wall_clock
        self._is_down = False

    @classmethod
    def of(cls, settings: RegistrySettings, metrics: RegistryMetrics) -> Self:
        """Return the sequencer that a node's settings describe."""
        return cls(
            settings.dsn(),
            checkpoints=Checkpoints(settings.checkpoints_file()),
            metrics=metrics,
            checkpoint_interval_s=settings.audit_checkpoint_interval_s,
        )

    async def run(self, stopping: asyncio.Event) -> None:
        """Number until stopping is set; then what is complete by then. Outages and failures are waited out."""
        work = asyncio.create_task(self._keep_working(stopping))
        await stopping.wait()
        await asyncio.wait([work], timeout=STOP_WAIT_S)
        work.cancel()
        await asyncio.wait([work])

    async def _keep_working(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            try:
                with outages():
                    await self._work(stopping)
            except StoreUnavailable as error:
                if not self._is_down:
                    self._is_down = True
                    log.warning("audit_sequencer_waits", reason=str(error))
            except Exception:
                log.exception("audit_sequencer_failed")
            self._metrics.audit_sequencing.set(0)
            await _pause(stopping, IDLE_PERIOD_S)

    async def _work(self, stopping: asyncio.Event) -> None:
        """One session, from its connection to its end."""
        connection = await asyncpg.connect(
            self._dsn, timeout=ACQUIRE_WAIT_S, command_timeout=STATEMENT_WAIT_S, server_settings=_SESSION
        )
        try:
            self._is_down = False
            turn = _Turn(connection, self._metrics, self._wall_clock)
            if await self._wait_for_lock(connection, turn, stopping):
                await self._number(turn, stopping)
        finally:
            connection.terminate()  # gives the lock back at once, also when the server hangs

    async def _wait_for_lock(self, connection: Connection, turn: "_Turn", stopping: asyncio.Event) -> bool:
        while not stopping.is_set():
            if await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY):
                return True
            await turn.measure(standing_by=True)
            await _pause(stopping, IDLE_PERIOD_S)
        return False

    async def _number(self, turn: "_Turn", stopping: asyncio.Event) -> None:
        numbering = turn.numbering
        await numbering.start()
        self._metrics.audit_sequencing.set(1)
        log.info("audit_sequencing", number=numbering.head.number)
        await self._compare(numbering.head)
        noted_s = time.monotonic()
        pause_s = BUSY_PERIOD_S
        while not stopping.is_set():
            entries = await numbering.step()
            await turn.measure()
            if time.monotonic() >= noted_s + self._checkpoint_interval_s:
                noted_s = time.monotonic()
                await self._note(numbering.head)
            if entries < BATCH_ENTRIES_MAX:
                pause_s = BUSY_PERIOD_S if entries else min(2 * pause_s, IDLE_PERIOD_S)
                await _pause(stopping, pause_s)
        while await numbering.step():
            pass
        await self._note(numbering.head)

    async def _compare(self, head: Head) -> None:
        """Tell when the chain ends before what was noted of it: its end was cut off, or an old backup restored."""
        try:
            last = await asyncio.to_thread(self._checkpoints.open)
        except OSError as error:
            log.error("audit_checkpoints_unusable", reason=str(error))
            return
        if last is not None and last.number > head.number:
            log.error("audit_ends_early", number=head.number, noted=last.number, at=last.time)

    async def _note(self, head: Head) -> None:
        try:
            await asyncio.to_thread(self._checkpoints.note, head)
        except OSError as error:
            log.error("audit_checkpoints_unusable", reason=str(error))


class _Turn:
    """One session's numbering, with what is measured of it."""

    def __init__(
        self, connection: Connection, metrics: RegistryMetrics, wall_clock: Callable[[], float]
    ) -> None:
        self.numbering = Numbering(connection, wall_clock=wall_clock)
        self._metrics = metrics
        self._wall_clock = wall_clock
        self._due_s = 0.0
        self._warned = False

    async def measure(self, *, standing_by: bool = False) -> None:
        """Measure how far numbering is behind, if it is time."""
        now_s = time.monotonic()
        if now_s < self._due_s:
            return
        self._due_s = now_s + MEASURE_PERIOD_S
        if standing_by:
            await self.numbering.read_position()
        entries, oldest_ms = await self.numbering.waiting(LAG_ENTRIES_MAX)
        lag_s = 0.0 if oldest_ms is None else max(0.0, self._wall_clock() - oldest_ms / 1_000)
        self._metrics.audit_lag_entries.set(entries)
        self._metrics.audit_lag.set(lag_s)
        if lag_s >= LAG_WARNING_S and not self._warned:
            assert oldest_ms is not None
            hint = (
                "a transaction of this database server that began before is still open; see pg_stat_activity"
            )
            log.warning("audit_numbering_waits", entries=entries, since=format_time(oldest_ms), reason=hint)
        self._warned = lag_s >= LAG_WARNING_S


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        pass
