"""What stays in a bounded table and what leaves it, and what an entry costs."""

import gc
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from protocol.transport.bounded_table import OVERHEAD_OCTETS, UNIT_OCTETS, BoundedTable, TableEntry

LARGE = 2**30


class Box(TableEntry):
    __slots__ = ("value",)

    def __init__(self, value: bytes) -> None:
        self.value = value


def table_of(*, entries_max: int = 1_000_000, octets_max: int = LARGE) -> BoundedTable[Box]:
    return BoundedTable(octets_max=octets_max, entries_max=entries_max)


def put(table: BoundedTable[Box], key: bytes, octets: int = 0) -> bool:
    return table.put(key, Box(key), octets)


def name(number: int, word: str = "cold") -> bytes:
    return f"{word}-{number}".encode()


def held(table: BoundedTable[Box], keys: list[bytes]) -> int:
    return sum(table.get(key) is not None for key in keys)


def test_what_was_put_is_found_until_it_is_removed() -> None:
    table = table_of()

    assert put(table, b"a")
    entry = table.get(b"a")
    assert entry is not None
    assert entry.value == b"a"
    table.remove(b"a")
    table.remove(b"a")

    assert table.get(b"a") is None
    assert (len(table), table.octets) == (0, 0)


def test_a_second_entry_replaces_the_first() -> None:
    table = table_of()
    table.put(b"a", Box(b"old"), 100)
    table.put(b"a", Box(b"new"), 200)

    entry = table.get(b"a")

    assert entry is not None
    assert entry.value == b"new"
    assert len(table) == 1
    assert table.octets >= 200 + OVERHEAD_OCTETS
    assert table.octets < 200 + OVERHEAD_OCTETS + 2 * UNIT_OCTETS


def test_what_is_larger_than_a_tenth_of_the_table_is_not_held() -> None:
    table = table_of(octets_max=100_000)
    assert put(table, b"a", 9_000)

    assert not put(table, b"a", 10_000)

    assert table.get(b"a") is None


@pytest.mark.parametrize(
    ("bounds", "sizes", "asked_for"),
    [
        pytest.param({"entries_max": 20_000}, 1, False, id="entries-full"),
        pytest.param({"octets_max": 20_000 * 600}, 7, False, id="octets-full"),
        pytest.param({"octets_max": 20_000 * 600}, 7, True, id="octets-full-and-asked-for"),
    ],
)
def test_a_pass_over_ten_times_as_many_cold_names_leaves_the_hot_thousand(
    bounds: dict[str, int], sizes: int, asked_for: bool
) -> None:
    table = table_of(**bounds)
    hot = [name(number, "hot") for number in range(1_000)]
    for key in hot:
        put(table, key, 300)
    assert held(table, hot) == 1_000

    for number in range(200_000):
        put(table, name(number), 300 * (number % sizes))
        if asked_for and number % 50 == 0:
            table.get(hot[number // 50 % 1_000])

    assert held(table, hot) == 1_000


def test_a_full_table_of_cold_names_learns_what_is_hot() -> None:
    table = table_of(entries_max=10_000)
    for number in range(20_000):
        put(table, name(number))
    hot = [name(number, "hot") for number in range(500)]
    for key in hot:
        put(table, key)
    assert held(table, hot) == 500

    for number in range(20_000, 50_000):
        put(table, name(number))

    assert held(table, hot) == 500


def test_a_key_that_comes_back_is_not_on_probation_again() -> None:
    table = table_of(entries_max=100)
    for number in range(200):
        put(table, name(number))
    back = name(195 - 10)
    assert table.get(back) is None

    put(table, back)
    for number in range(200, 300):
        put(table, name(number))

    assert table.get(back) is not None


def test_what_is_no_longer_asked_for_makes_room_for_what_is() -> None:
    table = table_of(entries_max=1_000)
    for word in ("old", "new"):
        keys = [name(number, word) for number in range(900)]
        for _ in range(20):
            for key in keys:
                if table.get(key) is None:
                    put(table, key)

    assert held(table, keys) > 800


def test_the_table_keeps_its_bounds_and_counts_what_left() -> None:
    table = table_of(entries_max=50, octets_max=50_000)
    for number in range(1_000):
        put(table, name(number), number % 3 * 1_000)
        table.get(name(number - number % 7))
        assert len(table) <= 50
        assert table.octets <= 50_000

    assert table.evicted == 1_000 - len(table)


def test_a_key_that_is_removed_and_put_for_ever_costs_nothing() -> None:
    table = table_of()
    put(table, b"beside")
    with grown_octets() as grown:
        for _ in range(10_000):
            put(table, b"a", 100)
            table.remove(b"a")
    assert grown[0] < 5_000
    assert len(table) == 1


def test_a_cleared_table_is_empty_and_lets_go_of_its_entries() -> None:
    table = table_of()
    with grown_octets() as grown:
        for number in range(10_000):
            put(table, name(number), 100)
        table.clear()
    assert (len(table), table.octets, table.get(name(5))) == (0, 0, None)
    assert grown[0] < 400_000  # a new ghost, beside 3 MB that are gone
    assert put(table, name(5))


def test_an_entry_costs_what_it_is_weighed_with() -> None:
    table = table_of()
    count = 100_000
    with grown_octets() as grown:
        for number in range(count):
            put(table, b"%080d" % number, 8)  # the slot of the content, which is the key here
    overhead = grown[0] / count - 80

    assert overhead < 200
    assert 0.9 < table.octets / grown[0] < 1.1


@contextmanager
def grown_octets() -> Iterator[list[int]]:
    """By how much Python's memory grew within, without the help of the garbage collector."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    grown: list[int] = []
    before = tracemalloc.get_traced_memory()[0]
    try:
        yield grown
        grown.append(tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()
        gc.enable()
