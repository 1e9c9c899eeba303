"""Files of node keys: one key, or several by number; noticed when they change, and kept when they are spoilt."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import SettingsError
from registry.node_keys import LOOK_EVERY_S, KeyFile, NodeKeys, load_node_keys, make_node_keys
from registry.seal import SealBroken, Sealer
from registry.secret_files import write_secret_file

FIRST = NodeKeys.first(bytes(range(32)))


def test_a_node_key_is_made_once_for_us_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "node.key"

    first = make_node_keys(path)

    assert make_node_keys(path) == first == load_node_keys(path) == NodeKeys.first(path.read_bytes())
    assert (len(first.keys[1]), first.seals, path.stat().st_mode & 0o777) == (32, 1, 0o600)
    assert [file.name for file in path.parent.iterdir()] == ["node.key"]


def test_keys_are_read_as_they_were_written() -> None:
    keys = FIRST
    for _ in range(3):
        keys = keys.with_new_key()
        assert NodeKeys.decode(keys.encode()) == keys
        assert keys.prepared == max(keys.keys)
    sealing = keys.sealing_with(3)
    assert (sealing.retiring, sealing.prepared) == ((1, 2), 4)
    assert NodeKeys.decode(sealing.retired().encode()) == sealing.retired()
    assert sorted(sealing.retired().keys) == [3, 4]


def test_a_file_that_cannot_be_right_is_named_and_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    text = FIRST.with_new_key().encode().decode()
    spoilt = [
        "short",
        "x" * 70_000,
        text.replace("seals = 1", "seals = 3"),
        text.replace("seals = 1", "seals = 0"),
        text.replace("1 =", "256 ="),
        text.replace("1 =", "first ="),
        text.replace('"', ""),
        text.replace("digest", "digests"),
        text[:-8],
        text + "\n3 = 7\n",
        text.replace("0", "\u00e9"),
    ]
    for contents in spoilt:
        path.write_text(contents)
        path.chmod(0o600)
        with pytest.raises(SettingsError) as raised:
            load_node_keys(path)
        (fault,) = raised.value.faults
        assert fault.startswith(f"node_key_file: {path} ")
        assert FIRST.keys[1].hex()[:8] not in fault
    path.chmod(0o640)
    with pytest.raises(SettingsError, match="chmod 600"):
        load_node_keys(path)


@given(st.binary(max_size=400))
def test_arbitrary_octets_are_keys_or_a_value_error(octets: bytes) -> None:
    try:
        keys = NodeKeys.decode(octets)
    except ValueError:
        return
    assert NodeKeys.decode(keys.encode()) == keys


def test_numbers_end_where_one_octet_ends() -> None:
    keys = NodeKeys(keys={255: bytes(32)}, seals=255, digest_key=bytes(32))
    with pytest.raises(SettingsError, match="255"):
        keys.with_new_key()


def test_a_sealer_follows_the_file_in_time_and_at_once_when_it_meets_a_new_number(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    now_s = [0.0]
    make_node_keys(path)
    early = Sealer(KeyFile(path, clock=lambda: now_s[0]))
    assert early.seal_octets(b"p", b"hush")[0] == 1
    rotated = load_node_keys(path).with_new_key().sealing_with(2)

    write_secret_file(path, rotated.encode())

    assert early.seal_octets(b"p", b"hush")[0] == 1, "it has not looked yet"
    assert early.open_octets(b"p", Sealer(rotated).seal_octets(b"p", b"hush")) == b"hush"
    assert early.seal_octets(b"p", b"hush")[0] == 2
    write_secret_file(path, rotated.with_new_key().sealing_with(3).encode())
    now_s[0] += LOOK_EVERY_S
    assert early.seal_octets(b"p", b"hush")[0] == 3


def test_a_file_that_is_spoilt_later_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    make_node_keys(path)
    file = KeyFile(path)
    sealer = Sealer(file)
    sealed = sealer.seal_octets(b"p", b"hush")

    path.write_bytes(b"spoilt")

    assert sorted(file.look().keys) == [1]
    path.unlink()
    assert sorted(file.look().keys) == [1]
    assert sealer.open_octets(b"p", sealed) == b"hush"
    with pytest.raises(SealBroken, match="key 9"):
        sealer.open_octets(b"p", b"\x09" + sealed[1:])
