"""What an HTTP request asks for, read from its raw target: path and parameters, decoded once and strictly.

Names are octets (PROTOCOL §1.1), so the path is decoded to octets and not to text.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from protocol.errors import WireError

MAX_PARAMETERS: Final = 256  # real clients send fewer than ten
MAX_TYPE_CHARACTERS: Final = 2_048  # as long as a name may be
MAX_INDEX: Final = 0x7FFF_FFFF  # indexes are positive signed 32-bit numbers at every deployed client
SCHEMES: Final = (b"info:doi/", b"info:hdl/", b"urn:doi:", b"urn:hdl:", b"urn:eidr:", b"doi:", b"hdl:")
"""What people write in front of a handle. Source: PROTOCOL.md §8.5."""

_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})?")
_DECIMAL: Final = re.compile(r"[0-9]{1,10}")
_TRUE: Final = frozenset({"", "true", "yes"})  # what deployed clients send (PROTOCOL §8.2)


class BadTarget(WireError):
    """A request target that cannot be read; the message says which part, and is safe to send back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A decoded request target."""

    path: bytes
    parameters: dict[str, list[str]] = field(default_factory=dict)
    """All values of each parameter in their order."""

    def flag(self, name: str) -> bool:
        """A boolean parameter: true when empty, `true` or `yes`; false when it is not there."""
        values = self.parameters.get(name)
        return values is not None and values[-1].lower() in _TRUE

    def indexes(self) -> tuple[int, ...]:
        """The numbers of all `index` parameters. Raises BadTarget when one is no index."""
        return tuple(_parse_index(text) for text in self.parameters.get("index", ()))

    def types(self) -> tuple[str, ...]:
        """All `type` parameters. Raises BadTarget when one is longer than a type can be."""
        types = tuple(self.parameters.get("type", ()))
        if any(len(name) > MAX_TYPE_CHARACTERS for name in types):
            raise BadTarget(f"A type has at most {MAX_TYPE_CHARACTERS} characters.")
        return types


def parse_target(raw: str) -> Target:
    """Decode the target of a request line, such as `/api/handles/88.1/pump%207?index=1`.

    Its length is bounded by the listener. Raises BadTarget for an escape that is none, text that is not UTF-8, or too
    many parameters.
    """
    path, _, query = raw.partition("?")
    parts = [part for part in query.split("&") if part]
    if len(parts) > MAX_PARAMETERS:
        raise BadTarget(f"More than {MAX_PARAMETERS} parameters.")
    parameters: dict[str, list[str]] = {}
    for part in parts:
        name, _, value = part.partition("=")
        parameters.setdefault(_decode_text(name), []).append(_decode_text(value))
    return Target(path=percent_decode(path), parameters=parameters)


def percent_decode(text: str) -> bytes:
    """Undo percent-encoding once; other characters stand for their UTF-8 octets.

    Raises BadTarget when a percent sign is not followed by two hexadecimal digits.
    """
    return _ESCAPE.sub(_unescape, text.encode("utf-8", "surrogateescape"))


def strip_scheme(name: bytes) -> bytes:
    """The handle without blanks around it and without the scheme that people write in front of it."""
    name = name.strip()
    folded = name[:16].lower()
    return next((name[len(scheme) :] for scheme in SCHEMES if folded.startswith(scheme)), name)


def _unescape(escape: "re.Match[bytes]") -> bytes:
    digits = escape[1]
    if digits is None:
        raise BadTarget("A percent sign must be followed by two hexadecimal digits.")
    return bytes((int(digits, 16),))


def _decode_text(text: str) -> str:
    try:
        return percent_decode(text.replace("+", " ")).decode("utf-8")
    except UnicodeDecodeError:
        raise BadTarget("A parameter is not valid UTF-8.") from None


def _parse_index(text: str) -> int:
    if not _DECIMAL.fullmatch(text) or not 1 <= int(text) <= MAX_INDEX:
        raise BadTarget(f"An index is a number from 1 to {MAX_INDEX}.")
    return int(text)
