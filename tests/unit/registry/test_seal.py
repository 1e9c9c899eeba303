"""Sealing: what is restricted does not stand in the database, and opens only where it belongs."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import SettingsError
from protocol.value import HandleValue, ValueList
from registry.seal import SealBroken, Sealer, load_node_key, make_node_key, make_secret
from tests.unit.registry.values import record, value

SEALER = Sealer(bytes(range(32)))
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
        Sealer(bytes(32)).open(KEY, sealed)


@given(st.binary(max_size=200))
def test_octets_that_were_never_sealed_do_not_open(octets: bytes) -> None:
    with pytest.raises(SealBroken):
        SEALER.open_octets(b"purpose", octets)


def test_a_node_key_is_made_once_for_us_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "node.key"

    first = make_node_key(path)

    assert make_node_key(path) == first == load_node_key(path)
    assert (len(first), path.stat().st_mode & 0o777) == (32, 0o600)
    assert [file.name for file in path.parent.iterdir()] == ["node.key"]


def test_a_node_key_that_cannot_be_right_is_named(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    with pytest.raises(SettingsError, match="cannot read"):
        load_node_key(path)
    path.write_bytes(b"short")
    with pytest.raises(SettingsError, match="5 octets"):
        load_node_key(path)
    path.write_bytes(bytes(32))
    path.chmod(0o640)
    with pytest.raises(SettingsError, match="chmod 600"):
        load_node_key(path)


def test_a_secret_is_printable_and_kept(tmp_path: Path) -> None:
    secret = make_secret(tmp_path / "admin.secret")
    assert secret == make_secret(tmp_path / "admin.secret")
    assert secret.isascii()
    assert len(secret) >= 43


def test_a_digest_finds_what_it_was_made_of_under_one_key_and_purpose() -> None:
    sealer = Sealer(bytes(32))
    digest = sealer.digest(b"login", b"li.lei")

    assert digest == Sealer(bytes(32)).digest(b"login", b"li.lei")
    assert len(digest) == 32
    assert digest != Sealer(bytes(31) + b"1").digest(b"login", b"li.lei")
    assert digest != sealer.digest(b"logi", b"nli.lei")
    assert digest != sealer.digest(b"login", b"li.lei ")
