"""The server key: made once, whoever else makes it meanwhile, for its owner alone."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from protocol.errors import SettingsError
from protocol.runtime.server_key import load_server_key, make_server_key, public_key_of
from protocol.valuetypes import PublicKey
from tests.support import server_keys


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "server.key"
    made = make_server_key(path)

    assert made.key_size == 2_048
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert public_key_of(make_server_key(path)) == public_key_of(made) == public_key_of(load_server_key(path))
    assert [file.name for file in path.parent.iterdir()] == ["server.key"]
    assert PublicKey.decode(public_key_of(made)).rsa().public_numbers() == made.public_key().public_numbers()


def test_of_two_that_make_it_at_once_both_get_the_first_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "server.key"
    first, second = server_keys.server_key(1), server_keys.server_key(2)

    def slowly(**_: int) -> object:
        server_keys.give_server_key(path, 1)  # somebody else was quicker
        return second

    monkeypatch.setattr("protocol.runtime.server_key.rsa.generate_private_key", slowly)
    assert public_key_of(make_server_key(path)) == public_key_of(first)


def test_a_file_that_is_no_rsa_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "server.key"
    path.write_bytes(b"none")
    with pytest.raises(SettingsError, match=r"server\.key"):
        make_server_key(path)
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(other)
    with pytest.raises(SettingsError, match="no RSA key"):
        make_server_key(path)


def test_a_place_that_cannot_be_written_is_named() -> None:
    with pytest.raises(SettingsError, match="cannot write the server key /proc/none"):
        make_server_key(Path("/proc/none/server.key"))
