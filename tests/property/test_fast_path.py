"""The compiled table is the pure one, octet for octet: generated, recorded and damaged requests, any history."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.generations import Generations
from protocol.transport.answer_cache import (
    ENTRY_OCTETS_MAX,
    AnswerCache,
    is_cacheable_request,
    is_cacheable_response,
)
from protocol.transport.fast_path import MODULE, _load
from tests.support.datagrams import (
    answer_for,
    mutated,
    outside_the_key,
    recorded_requests,
    recorded_responses,
    requests,
)
from tests.support.paths import PURE, path_of

OCTETS_MAX = 8 * 1_048_576
WALL_S = 1_700_000_000.0
NAMES = [b"1/A", b"1/B", b"2/C"]

u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFF_FFFF)
u8 = st.integers(0, 0xFF)
answers = st.sampled_from([b"answer", b"", b"a" * 467, b"a" * 3_000]) | st.binary(max_size=30)

puts = st.tuples(
    st.just("put"),
    st.integers(0, 9),
    answers,
    st.sampled_from([10, 20, 60]),
    st.none() | st.sampled_from(NAMES),
)
gets = st.tuples(st.just("get"), st.integers(0, 9), u32, u32, u16, u8)
odd_puts = st.tuples(st.just("odd put"), st.integers(0, 9), st.binary(max_size=100) | requests())
bumps = st.tuples(st.just("bump"), st.sampled_from(NAMES))
steps = st.lists(
    puts
    | gets
    | gets
    | odd_puts
    | bumps
    | st.tuples(st.just("step"), st.sampled_from([5, 10]))
    | st.tuples(st.just("bump all"))
    | st.tuples(st.just("clear")),
    max_size=60,
)


class Pair:
    """Both tables, which are told the same; what they answer is compared each time."""

    def __init__(self) -> None:
        self.generations = Generations()
        self.now_s = 100.0
        self.tables: list[AnswerCache] = [
            path.answer_table(octets_max=OCTETS_MAX, generations=self.generations)
            for path in (PURE, path_of("compiled"))
        ]

    def same(self, results: list[Any]) -> Any:
        assert results[0] == results[1]
        assert len(self.tables[0]) == len(self.tables[1])
        return results[0]

    def put(self, request: bytes, response: bytes, life_s: float, stamp: bytes | None = None) -> bool:
        kept: bool = self.same(
            [table.put(request, response, self.now_s + life_s, stamp) for table in self.tables]
        )
        return kept

    def get(self, request: bytes) -> bytes | None:
        answer: bytes | None = self.same(
            [table.get(request, self.now_s, WALL_S + self.now_s) for table in self.tables]
        )
        return answer

    def act(self, known: list[bytes], step: tuple[Any, ...]) -> None:
        match step:
            case "put", number, body, life_s, name:
                request = known[number % len(known)]
                stamp = None if name is None else self.generations.stamp(name, name.partition(b"/")[0])
                self.put(request, answer_for(request, body), life_s, stamp)
            case "odd put", number, response:
                self.put(known[number % len(known)], response, 60)
            case "get", number, *fields:
                self.get(outside_the_key(known[number % len(known)], *fields))
            case "bump", name:
                self.generations.bump([name])
            case ("bump all",):
                self.generations.bump_all()
            case "step", seconds:
                self.now_s += seconds
            case ("clear",):
                for table in self.tables:
                    table.clear()
                self.same([len(table) for table in self.tables])
            case _:
                raise AssertionError(step)


@settings(max_examples=200)
@given(known=st.lists(requests(), min_size=1, max_size=8), history=steps)
def test_any_history_of_both_tables_is_the_same(known: list[bytes], history: list[tuple[Any, ...]]) -> None:
    pair = Pair()
    for step in history:
        pair.act(known, step)
    for request in known:
        pair.get(request)


def test_every_recorded_request_is_kept_and_answered_alike() -> None:
    pair = Pair()
    kept = 0
    for number, request in enumerate(recorded_requests()):
        for body in (b"answer", b"a" * 600):
            kept += pair.put(request, answer_for(request, body), 60)
            pair.get(outside_the_key(request, number, number, number, number & 0xFF))
            pair.get(request)
    assert kept > 100  # or nothing was compared
    for request in recorded_requests():
        for end in (0, 8, 32, 40, 43, 44, len(request) - 1):
            pair.get(request[:end])
        pair.get(request + b"\0")


def test_every_recorded_answer_is_given_again_alike() -> None:
    pair = Pair()
    request = next(octets for octets in recorded_requests() if is_cacheable_request(octets))
    given_again = 0
    for response in recorded_responses():
        if pair.put(request, response, 60):
            answer = pair.get(request)
            given_again += answer is not None and answer[77:] == response[77:]
    assert given_again > 50


def test_the_longest_entry_is_as_long_on_both() -> None:
    pair = Pair()
    request = next(octets for octets in recorded_requests() if is_cacheable_request(octets))
    overhead = len(request) - 16 + len(answer_for(request, b""))
    for octets in (-1, 0, 1, 2):
        kept = pair.put(request, answer_for(request, bytes(ENTRY_OCTETS_MAX - overhead + octets)), 60)
        assert kept == (octets <= 0)
    pair.get(request[:44] + bytes(200_000))


def agree(may_keep: Any, request: bytes, response: bytes) -> None:
    assert may_keep(request, response) == (is_cacheable_request(request), is_cacheable_response(response))


@given(octets=requests() | st.binary(max_size=120), response=requests() | st.binary(max_size=120))
def test_both_paths_agree_on_what_may_be_kept(octets: bytes, response: bytes) -> None:
    path_of("compiled")
    agree(_load(MODULE).may_keep, octets, response)


def test_both_paths_agree_on_what_may_be_kept_of_damaged_recordings() -> None:
    path_of("compiled")
    may_keep = _load(MODULE).may_keep
    real = recorded_requests() + recorded_responses()
    for octets in real:
        for end in range(min(len(octets), 100) + 1):
            agree(may_keep, octets[:end], octets[:end])
        agree(may_keep, octets, octets)
    source = random.Random(20261129)
    for _ in range(20_000):
        agree(may_keep, mutated(source, source.choice(real)), mutated(source, source.choice(real)))


@pytest.mark.parametrize("entries_max", [2, 5, 17])
def test_bounds_hold_on_both_whatever_comes(entries_max: int) -> None:
    source = random.Random(entries_max)
    tables = [
        path.answer_table(octets_max=6_000, entries_max=entries_max) for path in (PURE, path_of("compiled"))
    ]
    real = [octets for octets in recorded_requests() if is_cacheable_request(octets)]
    for _ in range(3_000):
        request = source.choice(real)
        answer = answer_for(request, bytes(source.randrange(500)))
        for table in tables:
            table.put(request, answer, 60)
            got = table.get(request, 0, WALL_S)
            assert got is None or got[44:] == answer[44:]
            assert len(table) <= entries_max
            assert table.octets <= 6_000
