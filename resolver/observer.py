"""The observer: everything that the front ends, caches and exchanges tell ends in metrics and day counters."""

import time

from protocol.runtime.day_counters import DayCounters, outcome_of_code
from protocol.runtime.traffic import TrafficObserver
from protocol.transport.source import source_network
from resolver.metrics import ResolverMetrics


class ResolverObserver(TrafficObserver):
    """Implements the observer protocols of transports, caches and recursor."""

    def __init__(self, metrics: ResolverMetrics, counters: DayCounters) -> None:
        """counters are those of the day; metrics those of the process."""

        def resolved(code: int, elapsed_s: float, host: str) -> None:
            counters.record(time.time(), outcome_of_code(code), elapsed_s, source_network(host))

        super().__init__(metrics, resolved)
        self.looked_up = metrics.looked_up
        self.exchanged = metrics.exchanged
        self.redis_is = metrics.redis_is
