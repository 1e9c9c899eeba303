"""Tallies tell what prometheus_client would tell of the same events."""

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from protocol.runtime.tallies import TallyCounter, TallyHistogram

BOUNDS_S = [0.001, 0.01, 0.5]


def text(registry: CollectorRegistry) -> list[str]:
    """What is told, without the moments of creation."""
    lines = generate_latest(registry).decode().splitlines()
    return sorted(line for line in lines if "_created" not in line)


def test_a_counter_reads_as_one_of_the_library() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tally = TallyCounter("requests", "Answered.", ["op", "rc"], registry=ours)
    counter = Counter("requests", "Answered.", ["op", "rc"], registry=theirs)
    for op, rc, count in (("1", "1", 3), ("1", "100", 1), ("1", "1", 64), ('"\\\n', "2", 5)):
        tally.cell(op, rc).value += count
        counter.labels(op, rc).inc(count)
    assert text(ours) == text(theirs)


def test_a_histogram_reads_as_one_of_the_library() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tally = TallyHistogram("seconds", "Took.", ["outcome"], buckets=BOUNDS_S, registry=ours)
    histogram = Histogram("seconds", "Took.", ["outcome"], buckets=BOUNDS_S, registry=theirs)
    for seconds in (0.0, 0.001, 0.0011, 0.25, 0.5, 0.75, 8.0):  # bounds are inclusive
        tally.cell("hit").observe(seconds, 3)
        for _ in range(3):
            histogram.labels("hit").observe(seconds)
    assert text(ours) == text(theirs)


def test_a_cell_is_the_same_for_the_same_labels_and_labels_are_complete() -> None:
    registry = CollectorRegistry()
    tally = TallyCounter("requests", "Answered.", ["op", "rc"], registry=registry)
    histogram = TallyHistogram("seconds", "Took.", ["outcome"], buckets=BOUNDS_S, registry=registry)
    assert tally.cell("1", "1") is tally.cell("1", "1")
    assert tally.cell("1", "1") is not tally.cell("1", "2")
    assert histogram.cell("hit") is histogram.cell("hit")
    for call in (lambda: tally.cell("1"), lambda: histogram.cell("hit", "miss")):
        with pytest.raises(AssertionError):
            call()
