"""One set of metrics for all workers of a node.

Counters and histograms are added up, with what workers had counted that have ended, so that none ever goes back. What
a gauge means for the node depends on the gauge: RULES has a line for each.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from protocol.runtime.workers.control import Family

Rule = Callable[[Sequence[float]], float]


def worst_low(values: Sequence[float]) -> float:
    """The lowest: of what should be 1, one worker that has 0 counts."""
    return min(values)


def worst_high(values: Sequence[float]) -> float:
    """The highest: the lag that somebody meets."""
    return max(values)


def total(values: Sequence[float]) -> float:
    """All together."""
    return math.fsum(values)


RULES: Final[dict[str, Rule]] = {
    "handlegrid_audit_lag_entries": worst_high,
    "handlegrid_audit_lag_seconds": worst_high,
    "handlegrid_audit_sequencing": worst_high,  # one worker numbers for all
    "handlegrid_build_info": worst_high,
    "handlegrid_cache_bytes": total,
    "handlegrid_cache_entries": total,
    "handlegrid_config_last_reload_success": worst_low,
    "handlegrid_db_up": worst_low,
    "handlegrid_disk_free_bytes": worst_low,
    "handlegrid_event_loop_lag_seconds": worst_high,
    "handlegrid_parent_route_matches": worst_low,
    "handlegrid_redis_up": worst_low,
    "handlegrid_sessions": total,
}
"""How the values of a gauge become one. A worker whose value is not a number does not know, and is not asked."""
GAUGE: Final = "gauge"
_CREATED: Final = "_created"  # a moment, which the client library tells among counts, and nobody reads


def families_of(registry: CollectorRegistry) -> list[Family]:
    """Everything that a registry has, as it is handed over."""
    return [
        Family(
            metric.name,
            metric.documentation,
            metric.type,
            [
                (sample.name, dict(sample.labels), float(sample.value))
                for sample in metric.samples
                if not sample.name.endswith(_CREATED)
            ],
        )
        for metric in registry.collect()
    ]


def merge(families: Sequence[Family]) -> Family:
    """One metric of what several processes have of it. A gauge without a rule raises KeyError: a test finds it."""
    first = families[0]
    rule = RULES[first.name] if first.kind == GAUGE else total
    values: dict[tuple[str, tuple[tuple[str, str], ...]], list[float]] = {}
    for family in families:
        for name, labels, value in family.samples:
            values.setdefault((name, tuple(labels.items())), []).append(value)
    samples = [
        (name, dict(labels), rule([value for value in found if not math.isnan(value)] or [math.nan]))
        for (name, labels), found in values.items()
    ]
    return Family(first.name, first.documentation, first.kind, samples)


class MergedMetrics(Collector):
    """What several processes have told, as one."""

    def __init__(self) -> None:
        self._told: dict[object, Sequence[Family]] = {}
        self._leaving: set[object] = set()
        self._ended: dict[str, Family] = {}

    def told(self, process: object, families: Sequence[Family]) -> None:
        """A process has told everything that it has."""
        self._told[process] = families

    def leaves(self, process: object) -> None:
        """A process has been replaced: what it counts still counts, how it is does not."""
        self._leaving.add(process)

    def ended(self, process: object) -> None:
        """A process has ended: what it had counted, as far as it was told, counts on."""
        self._leaving.discard(process)
        for family in self._told.pop(process, ()):
            if family.kind != GAUGE:
                known = self._ended.get(family.name)
                self._ended[family.name] = family if known is None else merge([known, family])

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        found = {name: [family] for name, family in self._ended.items()}
        for process, families in self._told.items():
            for family in families:
                if family.kind != GAUGE or process not in self._leaving:
                    found.setdefault(family.name, []).append(family)
        for same in found.values():
            merged = merge(same)
            metric = Metric(merged.name, merged.documentation, merged.kind)
            for name, labels, value in merged.samples:
                metric.add_sample(name, labels, value)
            yield metric
