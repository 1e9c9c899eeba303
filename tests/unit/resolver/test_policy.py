"""How long things are kept, and under which key."""

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codes import ResponseCode
from protocol.handle import Handle
from protocol.value import HandleValue, TtlType, ValueList
from resolver.cache.policy import Denial, Lifetimes, Record, cache_key, denial_entry, record_entry

WALL_S = 1_700_000_000.0
LIFETIMES = Lifetimes(negative_ttl_s=30)


def values(*ttls: int, kind: TtlType = TtlType.RELATIVE) -> ValueList:
    return ValueList.of(
        HandleValue(index=index, type="DESC", data=b"x", ttl=ttl, ttl_type=kind)
        for index, ttl in enumerate(ttls, start=1)
    )


@pytest.mark.parametrize(("ttls", "seconds"), [((60, 3_600), 60), ((0, 60), 0), ((999_999,), 86_400)])
def test_a_record_lives_for_its_smallest_ttl_and_at_most_a_day(ttls: tuple[int, ...], seconds: int) -> None:
    assert LIFETIMES.of_values(values(*ttls), WALL_S) == seconds


def test_an_absolute_ttl_is_measured_against_the_wall_clock() -> None:
    assert LIFETIMES.of_values(values(int(WALL_S) + 90, kind=TtlType.ABSOLUTE), WALL_S) == 90
    assert LIFETIMES.of_values(values(int(WALL_S) - 1, kind=TtlType.ABSOLUTE), WALL_S) == 0


def test_the_operator_may_shorten_every_life() -> None:
    assert Lifetimes(ttl_max_s=10).of_values(values(60), WALL_S) == 10


@pytest.mark.parametrize(
    ("code", "seconds"),
    [
        (ResponseCode.HANDLE_NOT_FOUND, 30),
        (ResponseCode.VALUES_NOT_FOUND, 30),
        (ResponseCode.SERVER_TOO_BUSY, 0),
        (ResponseCode.ERROR, 0),
    ],
)
def test_only_denials_are_kept_and_only_for_a_short_time(code: ResponseCode, seconds: int) -> None:
    assert LIFETIMES.of_denial(code) == seconds


def test_a_record_without_values_is_a_denial() -> None:
    entry = record_entry(ValueList(b"", 0), lifetimes=LIFETIMES, now_s=1.0, wall_s=WALL_S)

    assert isinstance(entry, Denial)
    assert (entry.code, entry.expires_s) == (ResponseCode.VALUES_NOT_FOUND, 31.0)


def test_a_record_weighs_more_than_its_octets() -> None:
    entry = record_entry(values(60), lifetimes=LIFETIMES, now_s=1.0, wall_s=WALL_S)

    assert isinstance(entry, Record)
    assert entry.octets > len(entry.values.octets)


def test_the_text_of_a_denial_is_cut() -> None:
    entry = denial_entry(ResponseCode.HANDLE_NOT_FOUND, "x" * 9_999, lifetimes=LIFETIMES, now_s=0)

    assert len(entry.message) == 1_024


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("ab.1/x", "AB.1/x", True),
        ("ab.1/x", "ab.1/X", False),
        ("0.NA/ab.1", "0.na/AB.1", True),
        ("ab.1", "0.NA/AB.1", True),
    ],
)
def test_keys_fold_the_prefix_and_keep_the_suffix(one: str, other: str, same: bool) -> None:
    assert (cache_key(Handle.parse(one)) == cache_key(Handle.parse(other))) is same


@given(st.binary(max_size=50), st.integers(1, 9), st.floats(0, 1e6), st.floats(0, 1e6))
def test_what_a_cache_holds_gives_back_the_same(
    octets: bytes, count: int, stored_s: float, expires_s: float
) -> None:
    record = Record(values=ValueList(octets, count), stored_s=stored_s, expires_s=expires_s)
    denial = Denial(code=ResponseCode.HANDLE_NOT_FOUND, message="no", stored_s=stored_s, expires_s=expires_s)
    assert Record.of(record.flat) == record
    assert Denial.of(denial.flat) == denial


def test_the_garbage_collector_lets_go_of_what_a_cache_holds() -> None:
    record = Record(values=ValueList(b"values", 1), stored_s=1.5, expires_s=2.5)
    denial = Denial(code=ResponseCode.HANDLE_NOT_FOUND, message="no", stored_s=1.5, expires_s=2.5)
    flat = [record.flat, denial.flat]
    gc.collect(0)
    assert not any(map(gc.is_tracked, flat))
