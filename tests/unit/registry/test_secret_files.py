"""Files of secrets: their owner's alone, whole or not at all."""

from pathlib import Path

import pytest

from protocol.errors import SettingsError
from registry.secret_files import make_secret, read_private_file, write_secret_file


def test_a_secret_is_printable_and_kept(tmp_path: Path) -> None:
    secret = make_secret(tmp_path / "admin.secret")
    assert secret == make_secret(tmp_path / "admin.secret")
    assert secret.isascii()
    assert len(secret) >= 43


def test_a_file_that_is_replaced_stays_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "key"
    write_secret_file(path, b"one")
    path.chmod(0o644)

    write_secret_file(path, b"two")

    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["key"]


def test_a_file_that_others_may_read_is_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(SettingsError, match="a_setting: cannot read"):
        read_private_file(path, "a_setting")
    path.write_bytes(b"octets")
    for mode in (0o640, 0o604, 0o620, 0o601):
        path.chmod(mode)
        with pytest.raises(SettingsError, match="chmod 600"):
            read_private_file(path, "a_setting")
    path.chmod(0o600)
    assert read_private_file(path, "a_setting") == b"octets"
