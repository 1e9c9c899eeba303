"""Percentiles from buckets, and when a run counts for nothing."""

import pytest

from benchmarks.load.result import BUCKETS, Histogram, LoadResult, bucket, upper_ns


@pytest.mark.parametrize("ns", [0, 1, 31, 32, 33, 63, 64, 1_000, 99_999, 1_000_000, 10**9, 10**12])
def test_a_bucket_ends_at_most_a_thirtieth_above_what_it_holds(ns: int) -> None:
    assert ns < upper_ns(bucket(ns)) <= ns * 31 / 30 + 2


def test_buckets_ascend_and_suffice_for_minutes() -> None:
    numbers = [bucket(ns) for ns in range(10_000)]

    assert numbers == sorted(numbers)
    assert bucket(600 * 10**9) < BUCKETS


def test_percentiles_are_those_of_the_counted_latencies() -> None:
    counts = [0] * BUCKETS
    counts[bucket(1_000_000)] = 98
    counts[bucket(9_000_000)] = 2

    assert Histogram(counts).percentile_ms(50) == pytest.approx(1.0, rel=0.04)
    assert Histogram(counts).percentile_ms(99) == pytest.approx(9.0, rel=0.04)
    assert Histogram([0] * BUCKETS).percentile_ms(99) == 0


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, ""),
        ({"lost": 1}, ""),
        ({"lost": 2}, "lost"),
        ({"wrong": 1}, "wrong"),
        ({"closed": 1}, "closed"),
        ({"answers": 0}, "no answer"),
    ],
)
def test_a_run_with_wrong_or_missing_answers_counts_for_nothing(changes: dict[str, int], word: str) -> None:
    counted = {"sent": 1_000, "answers": 1_000, "lost": 0, "wrong": 0, "stray": 0, "closed": 0} | changes

    latency = Histogram([0] * BUCKETS)
    result = LoadResult(
        **counted, octets=0, seconds=1.0, generator_cpu_s=0.0, first_wrong=b"", latency=latency
    )

    assert bool(result.fault()) == bool(word)
    assert word in result.fault()
