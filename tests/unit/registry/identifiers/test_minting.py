"""Numbers of series: given to nobody twice, whatever is undone and however many processes count."""

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from registry.identifiers.minting import BLOCK_MAX, Counters, SeriesExhausted, draw, first_free
from registry.identifiers.patterns import ALPHABET


class Database:
    """The counter of one series, as the statement of Counters changes it."""

    def __init__(self) -> None:
        self.next = 1
        self.asked = 0

    async def fetchval(self, _: str, prefix: bytes, series: str, size: int, beyond: int) -> int:
        assert (prefix, series) == (b"88.1", "S")
        self.asked += 1
        self.next = max(self.next, beyond) + size
        return self.next


def take(counters: Counters, database: Any, count: int, digits: int = 9) -> list[int]:
    return asyncio.run(counters.take(database, b"88.1", "S", digits=digits, count=count))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 40)), max_size=30))
def test_processes_that_share_a_counter_share_no_number(takes: list[tuple[int, int]]) -> None:
    database = Database()
    processes = [Counters(lambda: 0.0) for _ in range(3)]
    given_out: list[int] = []
    for process, count in takes:
        numbers = take(processes[process], database, count)
        assert len(numbers) == count
        given_out += numbers
    assert len(set(given_out)) == len(given_out)


@given(st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=30))
def test_a_process_repeats_no_number_though_its_transactions_are_undone(
    takes: list[tuple[int, bool]],
) -> None:
    database = Database()
    counters = Counters(lambda: 0.0)
    given_out: list[int] = []
    for count, undone in takes:
        before = database.next
        given_out += take(counters, database, count)
        if undone:
            database.next = before
    assert len(set(given_out)) == len(given_out)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=20))
def test_whoever_counts_slowly_leaves_no_gaps(counts: list[int]) -> None:
    database = Database()
    clock = iter(range(0, 10_000, 10))
    counters = Counters(lambda: next(clock))
    made = [number for count in counts for number in take(counters, database, count)]
    assert made == list(range(1, sum(counts) + 1))


def test_whoever_counts_fast_asks_seldom_and_wastes_little() -> None:
    database = Database()
    counters = Counters(lambda: 0.0)
    for _ in range(10_000):
        take(counters, database, 1)
    assert database.asked < 25
    assert database.next <= 10_000 + BLOCK_MAX + 1


@given(st.integers(1, 30), st.integers(1, 200))
def test_what_is_skipped_is_never_given_out(first: int, beyond: int) -> None:
    counters, database = Counters(lambda: 0.0), Database()
    take(counters, database, first)
    counters.skip(b"88.1", "S", beyond)
    assert min(take(counters, database, 10)) >= beyond


def test_a_series_gives_what_it_has_and_then_nothing() -> None:
    counters, database = Counters(lambda: 0.0), Database()
    assert take(counters, database, 12, digits=1) == list(range(1, 10))
    assert take(counters, database, 1, digits=1) == []


@given(st.sets(st.integers(1, 999)), st.integers(1, 999))
def test_a_free_number_above_a_taken_one_is_found(taken: set[int], number: int) -> None:
    questions = 0

    async def is_taken(numbers: list[int]) -> set[int]:
        nonlocal questions
        questions += 1
        return taken & set(numbers)

    try:
        free = asyncio.run(first_free(number, digits=3, is_taken=is_taken))
    except SeriesExhausted:
        assert 999 in taken or number == 999
        return
    assert free > number
    assert free not in taken
    assert free - 1 in taken | {number}
    assert questions <= 12


def test_random_characters_come_from_the_alphabet_evenly() -> None:
    drawn = draw(64_000)
    assert set(drawn) == set(ALPHABET)
    assert all(1_600 < drawn.count(character) < 2_400 for character in ALPHABET)
