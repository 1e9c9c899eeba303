"""The observer: everything that the front ends, caches and exchanges tell ends in metrics and day counters."""

from protocol.runtime.day_counters import DayCounters
from protocol.runtime.sampling import QuerySampler
from protocol.runtime.traffic import TrafficObserver
from resolver.metrics import ResolverMetrics


class ResolverObserver(TrafficObserver):
    """Implements the observer protocols of transports, caches and recursor."""

    def __init__(
        self, metrics: ResolverMetrics, counters: DayCounters, sampler: QuerySampler | None = None
    ) -> None:
        """counters are those of the day; metrics those of the process."""
        super().__init__(metrics, counters, sampler=sampler)
        self.looked_up = metrics.looked_up
        self.exchanged = metrics.exchanged
        self.redis_is = metrics.redis_is
