"""Records of the second tier: what is written is read, on another host's clocks too, and nothing else is."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.client.delegation import Delegation
from protocol.codes import ResponseCode
from protocol.handle import Handle, Prefix
from protocol.value import HandleValue, ValueList
from resolver.cache.policy import Denial, Record
from resolver.cache.records import (
    Clocks,
    decode_delegation,
    decode_entry,
    encode_delegation,
    encode_entry,
)
from tests.support.scripted_world import site

HERE = Clocks(now_s=1_000.0, wall_s=1_700_000_000.0)
THERE = Clocks(now_s=5.0, wall_s=1_700_000_010.0)
VALUES = ValueList.of([HandleValue(index=1, type="URL", data=b"https://x.example/")])
DAY_S = 86_400


def test_a_record_is_read_on_another_host_with_its_age() -> None:
    octets = encode_entry(Record(values=VALUES, stored_s=990.0, expires_s=1_100.0), HERE)

    assert decode_entry(octets, THERE, ttl_max_s=DAY_S) == Record(
        values=VALUES, stored_s=-15.0, expires_s=95.0
    )


def test_a_denial_is_read_with_its_words() -> None:
    denial = Denial(
        code=ResponseCode.HANDLE_NOT_FOUND, message="无此标识", stored_s=1_000.0, expires_s=1_030.0
    )

    assert decode_entry(encode_entry(denial, HERE), HERE, ttl_max_s=DAY_S) == denial


def test_what_is_over_is_a_miss() -> None:
    octets = encode_entry(Record(values=VALUES, stored_s=990.0, expires_s=1_010.0), HERE)

    assert decode_entry(octets, THERE, ttl_max_s=DAY_S) is None


def test_another_hosts_clock_cannot_make_an_entry_live_longer_than_allowed() -> None:
    octets = encode_entry(Record(values=VALUES, stored_s=1_000.0, expires_s=1e7), HERE)

    entry = decode_entry(octets, THERE, ttl_max_s=60)
    assert entry is not None
    assert entry.expires_s == 65.0


def test_a_delegation_is_read_with_every_site() -> None:
    delegation = Delegation(
        prefix=Prefix.parse("88.100"),
        sites=(site("20.0.0.3"),),
        prefix_sites=(site("20.0.0.4", serial=9),),
        services=(Handle.parse("0.SERV/x"),),
        inactive="suspended",
        ttl_s=100,
    )
    octets = encode_delegation(delegation, 1_100.0, HERE)

    read = decode_delegation(octets, Prefix.parse("88.100"), THERE, ttl_max_s=DAY_S)
    assert read == (delegation, 95.0)


@pytest.mark.parametrize(
    "form", [[2, 9e9, True, [b"no site"], [], [], [], None], [2, 9e9, True, [], [], [b""], [], None], [2]]
)
def test_a_delegation_that_lies_is_a_miss(form: list[object]) -> None:
    octets = msgpack.packb(form)

    assert decode_delegation(octets, Prefix.parse("88"), HERE, ttl_max_s=DAY_S) is None


@given(st.binary(max_size=200))
def test_arbitrary_octets_are_a_miss_and_never_an_error(octets: bytes) -> None:
    decode_entry(octets, HERE, ttl_max_s=DAY_S)
    decode_delegation(octets, Prefix.parse("88"), HERE, ttl_max_s=DAY_S)
