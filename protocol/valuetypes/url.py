"""URL: where to learn more about what a handle names."""

import re
from collections.abc import Set
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

from protocol.errors import Malformed

REDIRECT_SCHEMES: Final = frozenset({"http", "https"})  # what a redirect leads to, unless somebody wants more
_NEVER: Final = re.compile(r"[\x00-\x20\x7f]")
_IRI_SAFE: Final = "!#$%&'()*+,/:;=?@[]~-._"


def encode_iri(string: str) -> str:
    """The string as it stands in a URL: ASCII alone; what is encoded already stays as it is."""
    return quote(string, safe=_IRI_SAFE)


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

    def redirect_target(self, schemes: Set[str] = REDIRECT_SCHEMES) -> str | None:
        """The address for a Location header, ASCII alone; None when it must not be one.

        None for every scheme but these (in lower case), for a missing host, and for control characters or white space,
        with which header lines could be forged.
        """
        if _NEVER.search(self.string):
            return None
        try:
            parts = urlsplit(self.string)
            host = parts.hostname
        except ValueError:
            return None
        if parts.scheme.lower() not in schemes or not host or "\\" in parts.netloc:
            return None
        return encode_iri(self.string)
