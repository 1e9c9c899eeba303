"""Counters of each day, kept in the database from the first day on since they cannot be rebuilt later.

Answers are counted in memory; every few seconds, and at the end, what came since is added to the day's row. The
statements stand here and not in store.py because nothing else asks these questions.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Final, Self

from protocol.errors import StoreUnavailable
from protocol.runtime.day_counters import DayCounters, DayDelta, bound_sources
from protocol.runtime.node_seconds import NodeSeconds
from protocol.runtime.sampling import QuerySampler
from protocol.runtime.traffic import TrafficObserver
from registry.metrics import RegistryMetrics
from registry.operations import Operations
from registry.outcomes import COMMAND, Actor, Created, Creation, Origin, Result
from registry.settings import RegistrySettings
from registry.store import Connection, Store
from registry.writing import Action

COUNTED_BY_COMMIT: Final = frozenset({"api", "node", "system"})
"""Where writes come from that are counted when they are committed; the record API counts its answers."""
RESULTS: Final = {Action.CREATE: "created", Action.UPDATE: "replaced", Action.DELETE: "deleted"}
"""How the metric names what was done."""
DAYS_REMEMBERED: Final = 2  # around midnight two days are counted at once

_ADD_DAY: Final = """
    INSERT INTO daily_statistics AS kept (day, resolutions, successes, denials, failures, registrations,
        peak_per_s, peak_at, latency_min_s, latency_max_s, latency_sum_s)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    ON CONFLICT (day) DO UPDATE SET
        resolutions = kept.resolutions + excluded.resolutions,
        successes = kept.successes + excluded.successes,
        denials = kept.denials + excluded.denials,
        failures = kept.failures + excluded.failures,
        registrations = kept.registrations + excluded.registrations,
        peak_at = CASE WHEN excluded.peak_per_s > kept.peak_per_s THEN excluded.peak_at ELSE kept.peak_at END,
        peak_per_s = greatest(kept.peak_per_s, excluded.peak_per_s),
        latency_min_s = least(kept.latency_min_s, excluded.latency_min_s),
        latency_max_s = greatest(kept.latency_max_s, excluded.latency_max_s),
        latency_sum_s = kept.latency_sum_s + excluded.latency_sum_s"""
_ADD_SOURCES: Final = """
    INSERT INTO daily_sources AS kept (day, source, resolutions)
    SELECT $1, source, resolutions FROM unnest($2::text[], $3::bigint[]) AS given (source, resolutions)
    ORDER BY source
    ON CONFLICT (day, source) DO UPDATE SET resolutions = kept.resolutions + excluded.resolutions"""
_SOURCES: Final = "SELECT source FROM daily_sources WHERE day = $1"


class DailyStatistics:
    """Counts in memory and adds to the database; at most sources_max source networks are named per day."""

    def __init__(
        self,
        store: Store,
        *,
        wall_clock: Callable[[], float] = time.time,
        sources_max: int,
        utc_offset_s: int = 0,
        seconds: NodeSeconds | None = None,
    ) -> None:
        self._store = store
        self._wall_clock = wall_clock
        self._sources_max = sources_max
        self._counters = DayCounters(utc_offset_s=utc_offset_s, sources_max=sources_max, seconds=seconds)
        self._named: dict[date, set[str]] = {}

    @classmethod
    def of(cls, store: Store, settings: RegistrySettings, *, seconds: NodeSeconds | None = None) -> Self:
        """Return the counters that a node's settings describe. seconds: see DayCounters."""
        return cls(
            store,
            sources_max=settings.statistics_sources_max,
            utc_offset_s=settings.statistics_utc_offset_s,
            seconds=seconds,
        )

    @property
    def counters(self) -> DayCounters:
        """Where resolutions are counted until they are written."""
        return self._counters

    def registered(self, count: int = 1) -> None:
        """Count identifiers that were created."""
        self._counters.record_registrations(self._wall_clock(), count)

    async def write(self) -> None:
        """Add what was counted since the last call; what cannot be written is kept for the next one."""
        deltas = self._counters.take_delta()
        for position, delta in enumerate(deltas):
            try:
                await self._add(delta)
            except BaseException as error:
                self._counters.give_back(deltas[position:])
                if isinstance(error, StoreUnavailable):
                    return
                raise

    async def _add(self, delta: DayDelta) -> None:
        async with self._store.connection() as connection, connection.transaction():
            named = await self._names(connection, delta.day)
            sources = bound_sources(delta.sources, named, self._sources_max)
            await connection.execute(_ADD_DAY, *_row(delta))
            if sources:
                await connection.execute(_ADD_SOURCES, delta.day, list(sources), list(sources.values()))
        named.update(sources)

    async def _names(self, connection: Connection, day: date) -> set[str]:
        """Return the source networks that the day's rows name already, read once per day and process."""
        if day not in self._named:
            while len(self._named) >= DAYS_REMEMBERED:
                del self._named[min(self._named)]
            self._named[day] = {record["source"] for record in await connection.fetch(_SOURCES, day)}
        return self._named[day]


class CountedCreations:
    """Operations.create of a command that runs beside the daemon, counting as registrations what it created.

    Each batch is counted when it is committed, so that a command that is killed loses one batch of the count at most.
    """

    def __init__(self, operations: Operations, statistics: DailyStatistics) -> None:
        self._operations = operations
        self._statistics = statistics

    async def create(
        self,
        batch: Sequence[Creation],
        *,
        by: Actor,
        replace: bool = False,
        inherit_admin: bool = False,
        origin: Origin = COMMAND,
    ) -> list[Result]:
        """Create records as Operations.create does."""
        results = await self._operations.create(
            batch, by=by, replace=replace, inherit_admin=inherit_admin, origin=origin
        )
        created = sum(isinstance(result, Created) for result in results)
        if created:
            self._statistics.registered(created)
            await self._statistics.write()
        return results


async def count_registrations(store: Store, settings: RegistrySettings, count: int) -> None:
    """Add to the day what another command than an import has created."""
    statistics = DailyStatistics.of(store, settings)
    statistics.registered(count)
    await statistics.write()


class RegistryObserver(TrafficObserver):
    """Counts writes too: as a metric, and identifiers that were created in the counters of the day."""

    def __init__(
        self, metrics: RegistryMetrics, statistics: DailyStatistics, sampler: QuerySampler | None = None
    ) -> None:
        super().__init__(metrics, statistics.counters, sampler=sampler)
        self._registrations = metrics.registrations
        self._count_creations = statistics.registered
        self.registered = metrics.registered
        """Count the result of a write that came by the record API, refusals too."""

    def committed(self, origin: Origin, changed: Counter[Action]) -> None:
        """Count what a transaction changed, whoever asked for it."""
        if changed[Action.CREATE]:
            self._count_creations(changed[Action.CREATE])
        if origin.via in COUNTED_BY_COMMIT:
            for action, result in RESULTS.items():
                if changed[action]:
                    self._registrations.labels(origin.via, result).inc(changed[action])


def _row(delta: DayDelta) -> Iterable[object]:
    return (
        delta.day,
        delta.resolutions,
        delta.successes,
        delta.denials,
        delta.failures,
        delta.registrations,
        delta.peak_per_s,
        delta.peak_at,
        delta.latency_min_s,
        delta.latency_max_s,
        delta.latency_sum_s,
    )
