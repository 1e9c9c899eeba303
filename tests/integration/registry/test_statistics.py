"""Counters of a day in the database: added up, bounded, and kept while the database is away."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Sequence
from typing import cast

import asyncpg
import pytest

from protocol.codes import ResponseCode
from protocol.handle import Handle
from protocol.runtime.day_counters import outcome_of_code
from protocol.transport.source import source_network
from registry.operations import Operations
from registry.outcomes import IMPORT, OPERATOR, Created, Creation, Result, Unchanged
from registry.statistics import CountedCreations, DailyStatistics
from registry.store import Store

NOON = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
DAY = NOON.date()


class Clock:
    """A wall clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOON.timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    opened = await Store.open(database, connections_max=2, unsafe=True)
    yield opened
    await opened.close()


async def rows(store: Store, query: str) -> list[asyncpg.Record]:
    async with store.connection() as connection:
        return await connection.fetch(query)


async def sources(store: Store) -> dict[str, int]:
    return {
        record["source"]: record["resolutions"] for record in await rows(store, "SELECT * FROM daily_sources")
    }


def statistics(
    store: Store, clock: Clock, *, sources_max: int = 100, utc_offset_s: int = 0
) -> DailyStatistics:
    return DailyStatistics(store, wall_clock=clock, sources_max=sources_max, utc_offset_s=utc_offset_s)


def resolved(counted: DailyStatistics, code: ResponseCode, elapsed_s: float, host: str) -> None:
    counted.counters.record(counted._wall_clock(), outcome_of_code(code), elapsed_s, source_network(host))


async def test_counts_are_added_peaks_and_extremes_are_kept(store: Store) -> None:
    clock = Clock()
    for process in range(2):
        counted = statistics(store, clock)
        for elapsed_s in (0.001, 0.003, 0.002)[: 3 - process]:
            resolved(counted, ResponseCode.SUCCESS, elapsed_s, "192.0.2.1")
        clock.now += 60
        resolved(counted, ResponseCode.HANDLE_NOT_FOUND, 0.5, "192.0.2.200")
        resolved(counted, ResponseCode.ERROR, 0.0005, "2001:db8::1")
        counted.registered(4)
        await counted.write()
        await counted.write()

    (row,) = await rows(store, "SELECT * FROM daily_statistics")
    assert (row["day"], row["resolutions"], row["successes"], row["denials"]) == (DAY, 9, 5, 2)
    assert (row["failures"], row["registrations"]) == (2, 8)
    assert (row["peak_per_s"], row["peak_at"]) == (3, NOON)
    assert (row["latency_min_s"], row["latency_max_s"]) == (0.0005, 0.5)
    assert row["latency_sum_s"] == pytest.approx(1.011)
    assert await sources(store) == {"192.0.2.0/24": 7, "2001:db8::/56": 2}


async def test_networks_beyond_the_bound_are_counted_together(store: Store) -> None:
    for _ in range(2):  # a restarted process knows which networks the day names already
        counted = statistics(store, Clock(), sources_max=2)
        for host in ("192.0.2.1", "198.51.100.1", "203.0.113.1"):
            resolved(counted, ResponseCode.SUCCESS, 0.001, host)
            await counted.write()

    assert await sources(store) == {"192.0.2.0/24": 2, "198.51.100.0/24": 2, "other": 2}


async def test_a_day_begins_where_the_operator_says(store: Store) -> None:
    clock = Clock()
    counted = statistics(store, clock, utc_offset_s=28_800)
    resolved(counted, ResponseCode.SUCCESS, 0.001, "192.0.2.1")
    clock.now += 5 * 3_600
    resolved(counted, ResponseCode.SUCCESS, 0.001, "192.0.2.1")
    await counted.write()

    days = [record["day"] for record in await rows(store, "SELECT day FROM daily_statistics ORDER BY day")]
    assert days == [DAY, DAY + dt.timedelta(days=1)]


async def test_what_cannot_be_written_is_kept_for_the_next_time(store: Store) -> None:
    counted = statistics(store, Clock())
    resolved(counted, ResponseCode.SUCCESS, 0.001, "192.0.2.1")
    async with store.connection() as connection:
        await connection.execute("ALTER TABLE daily_sources RENAME TO away")

    with pytest.raises(asyncpg.UndefinedTableError):
        await counted.write()
    async with store.connection() as connection:
        await connection.execute("ALTER TABLE away RENAME TO daily_sources")
    await counted.write()

    (row,) = await rows(store, "SELECT * FROM daily_statistics")
    assert row["resolutions"] == 1
    assert await sources(store) == {"192.0.2.0/24": 1}


async def test_a_command_beside_the_daemon_counts_what_it_creates(store: Store) -> None:
    handle = Handle.parse("88.1/x")

    class Creating:
        async def create(self, batch: Sequence[Creation], **options: object) -> list[Result]:
            assert options == {"by": OPERATOR, "replace": True, "inherit_admin": True, "origin": IMPORT}
            return [Created(handle, 1), Created(handle, 1), Unchanged(handle, 1)]

    counted = CountedCreations(cast(Operations, Creating()), statistics(store, Clock()))
    for _ in range(2):
        results = await counted.create([], by=OPERATOR, replace=True, inherit_admin=True, origin=IMPORT)
        assert len(results) == 3

    (row,) = await rows(store, "SELECT registrations, resolutions FROM daily_statistics")
    assert tuple(row) == (4, 0)


async def test_two_processes_may_add_at_the_same_time(store: Store) -> None:
    both = [statistics(store, Clock()) for _ in range(2)]
    for _ in range(20):
        for counted in both:
            resolved(counted, ResponseCode.SUCCESS, 0.001, "192.0.2.1")
            resolved(counted, ResponseCode.SUCCESS, 0.001, "198.51.100.1")
        await asyncio.gather(*(counted.write() for counted in both))

    assert await sources(store) == {"192.0.2.0/24": 40, "198.51.100.0/24": 40}
