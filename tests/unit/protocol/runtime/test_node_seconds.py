"""The largest second of a node whose workers each count a part of it."""

from protocol.runtime.day_counters import DayCounters
from protocol.runtime.node_seconds import SECONDS, NodeSeconds, octets_of

NOON = 86_400.0 * 400 + 43_200


def workers(count: int) -> list[DayCounters]:
    memory = memoryview(bytearray(octets_of(count)))
    return [DayCounters(seconds=NodeSeconds(memory, column)) for column in range(count)]


def test_a_peak_is_what_all_workers_answered_in_the_same_second() -> None:
    first, second = workers(2)
    first.record_many(NOON + 0.1, "success", 0.001, 30)
    second.record_many(NOON + 0.7, "success", 0.001, 12)
    second.record_many(NOON + 1.0, "success", 0.001, 20)
    first.record_many(NOON + 2.0, "success", 0.001, 1)

    peaks = [delta.peak_per_s for worker in (first, second) for delta in worker.take_delta()]

    assert peaks == [42, 42]


def test_a_worker_that_counts_later_in_a_second_is_seen_at_the_next_look() -> None:
    first, second = workers(2)
    first.record_many(NOON, "success", 0.001, 5)
    (early,) = first.take_delta()
    first.record_many(NOON + 0.2, "success", 0.001, 5)
    second.record_many(NOON + 0.4, "success", 0.001, 7)
    (late,) = first.take_delta()

    assert (early.peak_per_s, late.peak_per_s) == (5, 17)
    assert late.peak_wall_s == int(NOON)


def test_old_seconds_make_room_and_are_never_added_to_new_ones() -> None:
    memory = memoryview(bytearray(octets_of(2)))
    first, second = NodeSeconds(memory, 0), NodeSeconds(memory, 1)
    first.publish(100, 5)
    second.publish(100 + SECONDS, 9)

    assert first.totals() == {100: 5, 100 + SECONDS: 9}

    first.publish(100 + SECONDS, 1)
    assert second.totals() == {100 + SECONDS: 10}


def test_another_day_keeps_its_own_peak() -> None:
    first, second = workers(2)
    midnight = 86_400.0 * 400
    first.record_many(midnight - 1, "success", 0.001, 50)
    second.record_many(midnight - 1, "success", 0.001, 50)
    first.take_delta()
    first.record_many(midnight, "success", 0.001, 3)

    (today,) = first.take_delta()

    assert today.peak_per_s == 3
