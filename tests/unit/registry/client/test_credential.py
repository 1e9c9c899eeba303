"""Keys of clients: out of files that are their owner's alone, and never shown."""

from pathlib import Path

import pytest

from protocol.errors import SettingsError
from registry.client import Credential, read_key_file
from tests.unit.registry.client.scripted import TOKEN


def key_file(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    "content", [TOKEN.encode(), TOKEN.encode() + b"\n", b"  " + TOKEN.encode() + b"\r\n"]
)
def test_a_key_is_the_line_of_its_file(tmp_path: Path, content: bytes) -> None:
    assert read_key_file(key_file(tmp_path / "key", content)).secret == TOKEN


def test_a_key_shows_itself_in_its_header_alone() -> None:
    credential = Credential(TOKEN)
    assert TOKEN not in f"{credential!r} {credential}"
    assert credential.header == f"Bearer {TOKEN}"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    with pytest.raises(SettingsError, match="chmod 600"):
        read_key_file(key_file(tmp_path / "key", TOKEN.encode(), mode))


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"two words", b"two\nlines", b"\xff\xfe", b"k" * 5000, b"a\x00b"]
)
def test_what_is_no_key_is_refused_without_repeating_it(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SettingsError) as caught:
        read_key_file(key_file(tmp_path / "key", content))
    assert "words" not in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot read"):
        read_key_file(tmp_path / "none")
