"""Day counters: sums, peaks, latencies and bounded sources, by day."""

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from protocol.runtime.day_counters import OTHER_SOURCES, DayCounters, bound_sources

MIDNIGHT_S = 1_700_006_400.0  # 2023-11-15 00:00 UTC


def test_outcomes_latencies_and_sources_are_counted() -> None:
    counters = DayCounters()
    counters.record(MIDNIGHT_S + 1, "success", 0.002, "192.0.2.0/24")
    counters.record(MIDNIGHT_S + 1.5, "denied", 0.004, "192.0.2.0/24")
    counters.record(MIDNIGHT_S + 9, "failed", 0.001, "198.51.100.0/24")
    counters.record_registrations(MIDNIGHT_S + 10, 500)
    (day,) = counters.take_delta()
    assert day.day == dt.date(2023, 11, 15)
    assert (day.resolutions, day.successes, day.denials, day.failures) == (3, 1, 1, 1)
    assert day.registrations == 500
    assert (day.peak_per_s, day.peak_wall_s) == (2, int(MIDNIGHT_S) + 1)
    assert (day.latency_min_s, day.latency_max_s) == (0.001, 0.004)
    assert day.latency_sum_s == 0.007
    assert day.sources == {"192.0.2.0/24": 2, "198.51.100.0/24": 1}
    assert counters.take_delta() == ()


def test_each_day_counts_for_itself_and_begins_where_it_is_told_to() -> None:
    shanghai = DayCounters(utc_offset_s=8 * 3_600)
    for hour in (15, 17):
        shanghai.record(MIDNIGHT_S + hour * 3_600, "success", 0.001, "a")
    assert [delta.day.day for delta in shanghai.take_delta()] == [15, 16]


def test_a_peak_is_not_cut_in_two_when_the_counts_are_taken() -> None:
    counters = DayCounters()
    for _ in range(3):
        counters.record(MIDNIGHT_S, "success", 0.001, "a")
    counters.take_delta()
    counters.record(MIDNIGHT_S + 0.9, "success", 0.001, "a")
    (day,) = counters.take_delta()
    assert (day.resolutions, day.peak_per_s) == (1, 4)


def test_more_sources_than_allowed_are_counted_together() -> None:
    counters = DayCounters(sources_max=2)
    for source in ("a", "b", "c", "d", "a"):
        counters.record(MIDNIGHT_S, "success", 0.001, source)
    (day,) = counters.take_delta()
    assert day.sources == {"a": 2, "b": 1, OTHER_SOURCES: 2}


@given(
    st.lists(st.tuples(st.integers(0, 200_000), st.sampled_from(["a", "b", "c"]), st.booleans()), min_size=1)
)
def test_what_cannot_be_stored_and_is_given_back_is_not_lost(steps: list[tuple[int, str, bool]]) -> None:
    steady, failing = DayCounters(), DayCounters()
    for second, source, fails in steps:
        for counters in (steady, failing):
            counters.record(MIDNIGHT_S + second, "success", second / 1_024, source)
        if fails:
            failing.give_back(failing.take_delta())
    by_day = {delta.day: delta for delta in failing.take_delta()}
    assert by_day == {delta.day: delta for delta in steady.take_delta()}


def test_sources_beyond_the_bound_are_counted_together() -> None:
    sources = {"a": 1, "new": 2, "late": 3, OTHER_SOURCES: 4}

    assert bound_sources(sources, {"a", OTHER_SOURCES}, 2) == {"a": 1, "new": 2, OTHER_SOURCES: 7}
    assert bound_sources(sources, set(), 0) == {OTHER_SOURCES: 10}
