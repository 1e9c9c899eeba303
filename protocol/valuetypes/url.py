"""URL: where to learn more about what a handle names."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

from protocol.errors import Malformed

REDIRECT_SCHEMES: Final = frozenset({"http", "https"})  # nothing else is ever a redirect's target
_IRI_SAFE: Final = "!#$%&'()*+,/:;=?@[]~-._"


@dataclass(frozen=True, slots=True)
class Url:
    """An address as its owner wrote it, any scheme."""

    string: str

    def encode(self) -> bytes:
        """The data of the value."""
        return self.string.encode()

    @classmethod
    def decode(cls, data: bytes) -> "Url":
        """Raises Malformed for what is no UTF-8."""
        try:
            return cls(data.decode())
        except UnicodeDecodeError as error:
            raise Malformed(f"a URL that is no UTF-8 at octet {error.start}") from None

    def redirect_target(self) -> str | None:
        """The address for a Location header, ASCII alone; None when it must not be one.

        None for every scheme but http and https, for a missing host, and for control characters or white space, with
        which header lines could be forged.
        """
        if any(character <= " " or character == "\x7f" for character in self.string):
            return None
        try:
            parts = urlsplit(self.string)
            host = parts.hostname
        except ValueError:
            return None
        if parts.scheme.lower() not in REDIRECT_SCHEMES or not host or "\\" in parts.netloc:
            return None
        return quote(self.string, safe=_IRI_SAFE)
