"""Day counters in a real database: added up, bounded, and patient while the database is away."""

from typing import Any

import asyncpg
import pytest

from protocol.runtime.day_counters import DayCounters
from resolver.metrics import ResolverMetrics
from resolver.statistics import StatisticsStore
from tests.integration.resolver.loopback import PUMP, Hierarchy, client_of, running_node

NOON_S = 1_700_000_000.0


def store_of(
    dsn: str, counters: DayCounters, *, node: str = "one", sources_max: int = 100
) -> StatisticsStore:
    metrics = ResolverMetrics()
    return StatisticsStore(dsn, node=node, counters=counters, metrics=metrics, sources_max=sources_max)


async def rows(dsn: str, table: str) -> list[dict[str, Any]]:
    connection = await asyncpg.connect(dsn)
    try:
        query = f"SELECT * FROM {table} ORDER BY 1, 2, 3"  # noqa: S608 - a name of this file
        return [dict(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def test_what_was_counted_is_added_to_the_day(empty_database: str) -> None:
    counters = DayCounters()
    store = store_of(empty_database, counters)
    for elapsed_s, outcome in ((0.001, "success"), (0.003, "denied"), (0.002, "failed")):
        counters.record(NOON_S, outcome, elapsed_s, "192.0.2.0/24")  # type: ignore[arg-type]
        await store.flush()
    await store.close()

    (day,) = await rows(empty_database, "resolver_daily_statistics")
    assert (day["resolutions"], day["successes"], day["denials"], day["failures"]) == (3, 1, 1, 1)
    assert (day["latency_min_s"], day["latency_max_s"]) == (0.001, 0.003)
    assert day["latency_sum_s"] == pytest.approx(0.006)
    assert day["peak_per_s"] == 3
    assert day["peak_at"].timestamp() == NOON_S
    assert [row["resolutions"] for row in await rows(empty_database, "resolver_daily_sources")] == [3]


async def test_source_networks_of_a_day_are_bounded_over_restarts(empty_database: str) -> None:
    for _ in range(2):
        counters = DayCounters()
        store = store_of(empty_database, counters, sources_max=3)
        for number in range(6):
            counters.record(NOON_S, "success", 0.001, f"192.0.{number}.0/24")
            await store.flush()
        await store.close()

    sources = {
        row["source"]: row["resolutions"] for row in await rows(empty_database, "resolver_daily_sources")
    }
    assert sources == {"192.0.0.0/24": 2, "192.0.1.0/24": 2, "192.0.2.0/24": 2, "other": 6}


async def test_counts_wait_while_the_database_is_away(empty_database: str) -> None:
    counters = DayCounters()
    counters.record(NOON_S, "success", 0.001, "192.0.2.0/24")
    away = store_of("postgresql://nobody@127.0.0.1:1/none", counters)
    await away.flush()

    back = store_of(empty_database, counters)
    await back.flush()
    await back.close()
    (day,) = await rows(empty_database, "resolver_daily_statistics")
    assert day["resolutions"] == 1


async def test_a_node_writes_its_counts_when_it_stops(hierarchy: Hierarchy, empty_database: str) -> None:
    settings = hierarchy.settings(statistics_database=empty_database, statistics_interval_s=60)
    async with running_node(settings) as node, client_of(node) as client:
        await client.ask(PUMP)
        await client.ask(PUMP)
        await client.ask("88.100.1/none")

    (day,) = await rows(empty_database, "resolver_daily_statistics")
    assert (day["resolutions"], day["successes"], day["denials"]) == (3, 2, 1)
    assert [row["source"] for row in await rows(empty_database, "resolver_daily_sources")] == ["127.0.0.0/24"]
