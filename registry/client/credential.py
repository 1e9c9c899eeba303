"""The credential of a client: an API key or the token of a session, out of a file that is its owner's alone."""

import re
import stat
from pathlib import Path
from typing import Final

from protocol.errors import SettingsError

TOKEN_CHARACTERS_MAX: Final = 4_096
"""As the API accepts at most."""
KEY_VARIABLE: Final = "HANDLEGRID_API_KEY"

_TOKEN: Final = re.compile(r"[\x21-\x7e]+")


class Credential:
    """A bearer token, which shows itself to nobody but the header that carries it."""

    __slots__ = ("_token",)

    def __init__(self, token: str) -> None:
        """Take a token. Raises SettingsError for what cannot be one; the text does not repeat it."""
        if _TOKEN.fullmatch(token) is None or len(token) > TOKEN_CHARACTERS_MAX:
            raise SettingsError(["the API key is none: it begins with hg_live_, hg_test_ or hg_session_"])
        self._token = token

    def __repr__(self) -> str:
        return "Credential(***)"

    @property
    def secret(self) -> str:
        """The token itself, to be blotted out where it must not stand."""
        return self._token

    @property
    def header(self) -> str:
        """The value of Authorization."""
        return f"Bearer {self._token}"


def read_key_file(path: Path) -> Credential:
    """Read a key from the only line of a file.

    Raises SettingsError when it cannot be read, is empty, or others than its owner may read it.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            octets = file.read(TOKEN_CHARACTERS_MAX + 2)
    except OSError as error:
        raise SettingsError([f"{path}: cannot read the key: {error.strerror}"]) from None
    if mode & 0o077:
        raise SettingsError([f"{path}: others may read the key; close it with `chmod 600 {path}`"])
    text = octets.decode("ascii", "replace").strip()
    if not text:
        raise SettingsError([f"{path}: holds no key"])
    try:
        return Credential(text)
    except SettingsError as error:
        raise SettingsError([f"{path}: {fault}" for fault in error.faults]) from None
