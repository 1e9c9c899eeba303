"""Records: what may be stored, and how it is parted and compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codes import ResponseCode
from protocol.value import HandleValue, ValueList
from registry.record import (
    Refusal,
    data_of,
    keep_timestamps,
    same_record,
    split,
    stamp_octets,
    take_in,
    type_of,
)
from tests.unit.registry.values import ALICE, admin, record, value

NOW = stamp_octets(1_000)


def test_the_servers_timestamp_replaces_whatever_was_sent() -> None:
    values, _ = take_in(ValueList.of([value(1, timestamp=5)]), NOW)
    assert HandleValue.decode(values[1]).timestamp == 1_000


def test_it_says_whether_there_is_an_administrator() -> None:
    assert take_in(ValueList.of([value(1), admin(ALICE)]), NOW)[1]
    assert not take_in(ValueList.of([value(1)]), NOW)[1]


def test_an_index_twice_has_a_code_of_its_own() -> None:
    with pytest.raises(Refusal) as refused:
        take_in(ValueList.of([value(1), value(1, data=b"y")]), NOW)
    assert refused.value.code == ResponseCode.VALUE_ALREADY_EXISTS


@pytest.mark.parametrize(
    "wrong",
    [
        value(0),
        value(0x8000_0000),
        value(1, type_name=""),
        value(1, type_name="\udcff"),
        value(1, type_name="x" * 2_049),
        HandleValue(index=1, type="URL", data=b"", ttl_type=2),
        value(1, "HS_VLIST", b"?"),
        value(1, "hs_site", b"?"),
        value(1, "HS_SECKEY", b"open"),
    ],
)
def test_what_no_server_should_hold_is_refused(wrong: HandleValue) -> None:
    with pytest.raises(Refusal) as refused:
        take_in(ValueList.of([wrong]), NOW)
    assert refused.value.code == ResponseCode.INVALID_VALUE


@given(st.binary(max_size=300), st.integers(0, 5))
def test_arbitrary_octets_are_taken_in_or_refused(octets: bytes, count: int) -> None:
    try:
        values, _ = take_in(ValueList(octets, count), NOW)
    except Refusal:
        return
    assert len(values) == count
    assert sum(map(len, values.values())) == len(octets)


def test_a_list_cut_anywhere_is_refused() -> None:
    whole = ValueList.of([value(1, data=b"data"), admin(ALICE)])
    for length in range(len(whole.octets)):
        with pytest.raises(Refusal):
            take_in(ValueList(whole.octets[:length], 2), NOW)


def test_values_are_parted_by_public_read_in_ascending_order() -> None:
    public, restricted = split(
        record(value(9), value(300, permissions=0x0C), value(1), value(2, permissions=0x0C))
    )

    assert [item.index for item in public] == [1, 9]
    assert [HandleValue.decode(item).index for item in restricted] == [2, 300]


def test_records_compare_without_timestamps_and_order() -> None:
    assert same_record(record(value(1), value(2)), record(value(2, timestamp=1), value(1, timestamp=2)))
    assert not same_record(record(value(1)), record(value(1), value(2)))
    assert not same_record(record(value(1)), record(value(1, data=b"y")))


def test_an_identical_value_keeps_its_timestamp() -> None:
    kept = keep_timestamps(
        record(value(1, timestamp=9), value(2, data=b"new", timestamp=9)), record(value(1), value(2))
    )
    assert [HandleValue.decode(item).timestamp for item in kept.values()] == [7, 9]


def test_type_and_data_are_read_in_place() -> None:
    encoded = value(1, "Url", b"https://x.example/").encode()
    assert (type_of(encoded), data_of(encoded)) == (b"URL", b"https://x.example/")
