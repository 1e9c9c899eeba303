"""The metrics of several workers as those of one node."""

import math

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from protocol.runtime.workers.control import Family
from protocol.runtime.workers.merged_metrics import (
    GAUGE,
    RULES,
    MergedMetrics,
    families_of,
    merge,
)
from registry.metrics import RegistryMetrics
from resolver.metrics import ResolverMetrics

KINDS = {"counter", "histogram", GAUGE}


class Process:
    """One worker's metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("handlegrid_requests_total", "…", ["rc"], registry=self.registry)
        self.waits = Histogram("handlegrid_waits_seconds", "…", buckets=[1, 2], registry=self.registry)
        self.entries = Gauge("handlegrid_cache_entries", "…", registry=self.registry)
        self.up = Gauge("handlegrid_db_up", "…", registry=self.registry)


def shown(merged: MergedMetrics) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(merged)
    return {
        sample.name + "".join(map(str, sample.labels.values())): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if not sample.name.endswith("_created")
    }


def test_counts_are_added_up_and_gauges_follow_their_rules() -> None:
    one, two, merged = Process(), Process(), MergedMetrics()
    one.requests.labels("success").inc(3)
    two.requests.labels("success").inc(4)
    two.requests.labels("error").inc()
    for process, wait_s, entries, up in ((one, 0.5, 10, 1), (two, 1.5, 20, 0)):
        process.waits.observe(wait_s)
        process.entries.set(entries)
        process.up.set(up)
        merged.told(process, families_of(process.registry))

    seen = shown(merged)

    assert seen["handlegrid_requests_totalsuccess"] == 7
    assert seen["handlegrid_requests_totalerror"] == 1
    assert seen["handlegrid_waits_seconds_bucket1.0"] == 1
    assert seen["handlegrid_waits_seconds_bucket+Inf"] == 2
    assert seen["handlegrid_waits_seconds_sum"] == 2.0
    assert seen["handlegrid_cache_entries"] == 30
    assert seen["handlegrid_db_up"] == 0


def test_what_ended_workers_had_counted_counts_on() -> None:
    merged = MergedMetrics()
    for count in (3, 4):
        process = Process()
        process.requests.labels("success").inc(count)
        process.entries.set(5)
        merged.told(process, families_of(process.registry))
        merged.ended(process)
    fresh = Process()
    fresh.requests.labels("success").inc()
    merged.told(fresh, families_of(fresh.registry))

    seen = shown(merged)

    assert seen["handlegrid_requests_totalsuccess"] == 8
    assert seen["handlegrid_cache_entries"] == 0


def test_a_worker_that_leaves_counts_and_is_no_part_of_how_the_node_is() -> None:
    old, new, merged = Process(), Process(), MergedMetrics()
    for process, up in ((old, 0), (new, 1)):
        process.requests.labels("success").inc()
        process.up.set(up)
        merged.told(process, families_of(process.registry))
    merged.leaves(old)

    seen = shown(merged)

    assert seen["handlegrid_db_up"] == 1
    assert seen["handlegrid_requests_totalsuccess"] == 2


def test_a_worker_that_does_not_know_is_not_asked() -> None:
    def parent(value: float) -> Family:
        name = "handlegrid_parent_route_matches"
        return Family(name, "…", GAUGE, [(name, {}, value)])

    assert merge([parent(math.nan), parent(1.0)]).samples[0][2] == 1.0
    assert math.isnan(merge([parent(math.nan), parent(math.nan)]).samples[0][2])


@pytest.mark.parametrize("daemon", ["registry", "resolver"])
def test_every_gauge_of_a_daemon_has_a_rule_and_every_other_metric_is_a_count(daemon: str) -> None:
    if daemon == "registry":
        metrics = RegistryMetrics().registry
    else:
        resolver = ResolverMetrics()
        resolver.expect_redis()
        resolver.expect_database()
        metrics = resolver.registry

    families = families_of(metrics)

    assert {family.kind for family in families} <= KINDS
    assert {family.name for family in families if family.kind == GAUGE} <= set(RULES)


def test_what_is_merged_reads_like_what_one_process_tells() -> None:
    process, merged = Process(), MergedMetrics()
    process.requests.labels("success").inc()
    process.waits.observe(0.5)
    merged.told(process, families_of(process.registry))
    registry = CollectorRegistry()
    registry.register(merged)

    lines = generate_latest(process.registry).splitlines()
    assert generate_latest(registry).splitlines() == [line for line in lines if b"_created" not in line]
