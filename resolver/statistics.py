"""Day counters in Postgres: what reports need of each day, and what nobody can count again later.

The database is optional and never in the way: counts wait in memory while it is away, within their bounds.
"""

import asyncio
import datetime as dt
from collections.abc import Sequence
from typing import Final

import asyncpg
import structlog

from protocol.runtime.day_counters import DayCounters, DayDelta, bound_sources
from resolver.metrics import ResolverMetrics

TIMEOUT_S: Final = 5.0  # for connecting and for one write; counts are given back when it takes longer
SCHEMA_LOCK: Final = 7_365_201_844  # several nodes may share the database and create the tables at once
DAYS_KNOWN_MAX: Final = 3  # days whose networks are remembered: yesterday's rest, today, a clock that jumps

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS resolver_daily_statistics (
    day           date    NOT NULL,
    node          text    NOT NULL,
    resolutions   bigint  NOT NULL,
    successes     bigint  NOT NULL,
    denials       bigint  NOT NULL,
    failures      bigint  NOT NULL,
    peak_per_s    integer NOT NULL,
    peak_at       timestamptz,
    latency_min_s double precision,
    latency_max_s double precision,
    latency_sum_s double precision NOT NULL,
    PRIMARY KEY (day, node)
);
CREATE TABLE IF NOT EXISTS resolver_daily_sources (
    day         date   NOT NULL,
    node        text   NOT NULL,
    source      text   NOT NULL,
    resolutions bigint NOT NULL,
    PRIMARY KEY (day, node, source)
);
"""

_ADD_DAY: Final = """
INSERT INTO resolver_daily_statistics AS known (day, node, resolutions, successes, denials, failures,
    peak_per_s, peak_at, latency_min_s, latency_max_s, latency_sum_s)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (day, node) DO UPDATE SET
    resolutions = known.resolutions + excluded.resolutions,
    successes = known.successes + excluded.successes,
    denials = known.denials + excluded.denials,
    failures = known.failures + excluded.failures,
    peak_at = CASE WHEN excluded.peak_per_s > known.peak_per_s THEN excluded.peak_at ELSE known.peak_at END,
    peak_per_s = greatest(known.peak_per_s, excluded.peak_per_s),
    latency_min_s = least(known.latency_min_s, excluded.latency_min_s),
    latency_max_s = greatest(known.latency_max_s, excluded.latency_max_s),
    latency_sum_s = known.latency_sum_s + excluded.latency_sum_s
"""

_ADD_SOURCE: Final = """
INSERT INTO resolver_daily_sources AS known (day, node, source, resolutions) VALUES ($1, $2, $3, $4)
ON CONFLICT (day, node, source) DO UPDATE SET resolutions = known.resolutions + excluded.resolutions
"""

_SOURCES_OF_DAY: Final = "SELECT source FROM resolver_daily_sources WHERE day = $1 AND node = $2 LIMIT $3"

log = structlog.get_logger(__name__)


class StatisticsStore:
    """Adds what was counted to the tables; one connection, made when it is needed."""

    def __init__(
        self, dsn: str, *, node: str, counters: DayCounters, metrics: ResolverMetrics, sources_max: int
    ) -> None:
        """node tells the rows of several nodes apart; sources_max bounds the rows of a day."""
        self._dsn = dsn
        self._node = node
        self._counters = counters
        self._metrics = metrics
        self._sources_max = sources_max
        self._connection: asyncpg.Connection | None = None
        self._known: dict[dt.date, set[str]] = {}
        self._complained = False

    async def flush(self) -> None:
        """Store what was counted since the last time; when that fails it is counted again. Never raises."""
        deltas = self._counters.take_delta()
        if not deltas:
            return
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._add(deltas)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            self._counters.give_back(deltas)
            await self._failed(error)
        else:
            self._metrics.database_is(up=True)
            self._complained = False

    async def close(self) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _add(self, deltas: Sequence[DayDelta]) -> None:
        connection = self._connection or await self._connect()
        named = [await self._names(connection, delta.day) for delta in deltas]
        bounded = [
            bound_sources(delta.sources, names, self._sources_max)
            for delta, names in zip(deltas, named, strict=True)
        ]
        async with connection.transaction():
            for delta, sources in zip(deltas, bounded, strict=True):
                await connection.execute(_ADD_DAY, *self._row(delta))
                rows = [(delta.day, self._node, name, count) for name, count in sorted(sources.items())]
                await connection.executemany(_ADD_SOURCE, rows)
        for names, sources in zip(named, bounded, strict=True):
            names.update(sources)

    async def _connect(self) -> asyncpg.Connection:
        connection = await asyncpg.connect(self._dsn, timeout=TIMEOUT_S)
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", SCHEMA_LOCK)
            await connection.execute(_SCHEMA)
        self._connection = connection
        return connection

    async def _names(self, connection: asyncpg.Connection, day: dt.date) -> set[str]:
        """The source networks that the day's rows of this node name already, read once per day and process."""
        if day not in self._known:
            found = await connection.fetch(_SOURCES_OF_DAY, day, self._node, self._sources_max + 1)
            while len(self._known) >= DAYS_KNOWN_MAX:
                del self._known[min(self._known)]
            self._known[day] = {row["source"] for row in found}
        return self._known[day]

    def _row(self, delta: DayDelta) -> tuple[object, ...]:
        return (
            delta.day,
            self._node,
            delta.resolutions,
            delta.successes,
            delta.denials,
            delta.failures,
            delta.peak_per_s,
            delta.peak_at,
            delta.latency_min_s,
            delta.latency_max_s,
            delta.latency_sum_s,
        )

    async def _failed(self, error: Exception) -> None:
        await self.close()
        self._metrics.database_is(up=False)
        if not self._complained:
            log.warning("statistics_not_stored", cause=f"{type(error).__name__}: {error}")
        self._complained = True
