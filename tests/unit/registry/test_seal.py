"""Sealing: what is restricted does not stand in the database, and opens only where it belongs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.value import HandleValue, ValueList
from registry.node_keys import NodeKeys
from registry.seal import SealBroken, Sealer
from tests.unit.registry.values import record, value

FIRST = NodeKeys.first(bytes(range(32)))
SEALER = Sealer(FIRST)
KEY = b"88.1/PUMP"


def test_sealed_values_open_to_what_they_were() -> None:
    values = list(record(value(1, data=b"hush"), value(2, data=b"", permissions=0x0C)).values())

    assert SEALER.open(KEY, SEALER.seal(KEY, values)) == values


def test_structure_stays_readable_and_data_do_not() -> None:
    sealed = SEALER.seal(KEY, record(value(300, "HS_SECKEY", b"hush-hush", 0x0C)).values())

    (stored,) = sealed
    assert (stored.index, stored.type, stored.permissions) == (300, "HS_SECKEY", 0x0C)
    assert b"hush" not in sealed.octets


def test_the_same_data_never_seal_alike() -> None:
    values = list(record(value(1)).values())
    assert SEALER.seal(KEY, values) != SEALER.seal(KEY, values)


def test_data_moved_to_another_handle_or_index_or_node_do_not_open() -> None:
    sealed = SEALER.seal(KEY, record(value(1, data=b"hush")).values())
    moved = HandleValue(index=2, type="URL", data=next(iter(sealed)).data, timestamp=7)

    with pytest.raises(SealBroken):
        SEALER.open(b"88.1/OTHER", sealed)
    with pytest.raises(SealBroken):
        SEALER.open(KEY, ValueList.of([moved]))
    with pytest.raises(SealBroken, match="node key"):
        Sealer(NodeKeys.first(bytes(32))).open(KEY, sealed)


@given(st.binary(max_size=200))
def test_octets_that_were_never_sealed_do_not_open(octets: bytes) -> None:
    with pytest.raises(SealBroken):
        SEALER.open_octets(b"purpose", octets)


def test_a_digest_finds_what_it_was_made_of_under_one_key_and_purpose() -> None:
    sealer = Sealer(NodeKeys.first(bytes(32)))
    digest = sealer.digest(b"login", b"li.lei")

    assert digest == Sealer(NodeKeys.first(bytes(32))).digest(b"login", b"li.lei")
    assert len(digest) == 32
    assert digest != Sealer(NodeKeys.first(bytes(31) + b"1")).digest(b"login", b"li.lei")
    assert digest != sealer.digest(b"logi", b"nli.lei")
    assert digest != sealer.digest(b"login", b"li.lei ")


def test_a_new_key_seals_and_the_old_one_opens_until_it_is_retired() -> None:
    values = list(record(value(1, data=b"hush")).values())
    old = SEALER.seal(KEY, values)
    keys = FIRST.with_new_key()
    assert Sealer(keys).seal_octets(b"purpose", b"hush")[0] == 1, "it is prepared, and does not seal yet"

    rotated = Sealer(keys.sealing_with(2))
    new = rotated.seal(KEY, values)

    assert rotated.open(KEY, old) == rotated.open(KEY, new) == values
    assert rotated.seal_octets(b"purpose", b"hush")[0] == 2
    retired = Sealer(keys.sealing_with(2).retired())
    assert retired.open(KEY, new) == values
    with pytest.raises(SealBroken, match="key 1"):
        retired.open(KEY, old)
    with pytest.raises(SealBroken, match="key 2"):
        SEALER.open(KEY, new)


def test_a_rotation_changes_no_digest() -> None:
    rotated = FIRST.with_new_key().sealing_with(2).retired()

    assert Sealer(rotated).digest(b"login", b"li.lei") == SEALER.digest(b"login", b"li.lei")


def test_keys_do_not_show_in_representations() -> None:
    keys = FIRST.with_new_key()
    for key in (*keys.keys.values(), keys.digest_key):
        assert repr(key)[2:-1] not in repr(keys)
        assert key.hex() not in repr(keys)
