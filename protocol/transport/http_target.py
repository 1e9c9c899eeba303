"""What an HTTP request asks for, read from its raw target: path and parameters, decoded once and strictly.

Names are octets (PROTOCOL §1.1), so the path is decoded to octets and not to text. Whatever cannot be read
raises BadTarget, never anything else.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from protocol.errors import WireError
from protocol.value import MAX_INDEX, MAX_TYPE_OCTETS

MAX_TARGET_OCTETS: Final = 16_384  # a name of 2048 octets, all percent-encoded, and as much of parameters
MAX_PARAMETERS: Final = 256  # real clients send fewer than ten; a record has at most 2048 values

_ESCAPES: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_LONE_PERCENT: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_DECIMAL: Final = re.compile(r"[0-9]{1,10}")
_TRUE: Final = frozenset({"", "true", "yes"})  # what deployed clients send (PROTOCOL §8.2)


class BadTarget(WireError):
    """A request target that cannot be read; the message says which part, and is safe to send back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A decoded request target."""

    path: bytes
    parameters: dict[str, list[str]] = field(default_factory=dict)
    """All values of each parameter in their order; names are case-sensitive."""

    def indexes(self) -> tuple[int, ...]:
        """Return the numbers of all `index` parameters; raises BadTarget when one is no index."""
        return tuple(_parse_index(text) for text in self.parameters.get("index", ()))

    def types(self) -> tuple[str, ...]:
        """Return all `type` parameters; raises BadTarget when one is longer than a type can be."""
        types = tuple(self.parameters.get("type", ()))
        if any(len(name) > MAX_TYPE_OCTETS for name in types):
            raise BadTarget(f"A type has at most {MAX_TYPE_OCTETS} octets.")
        return types

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a boolean parameter: true when empty, `true` or `yes`, in any case."""
        values = self.parameters.get(name)
        return default if not values else values[-1].lower() in _TRUE


def parse_target(raw: str) -> Target:
    """Decode the target of a request line, such as `/api/handles/88.1/pump%207?index=1`.

    Raises BadTarget for an escape that is none, text that is not UTF-8, or more than the limits allow.
    """
    if len(raw) > MAX_TARGET_OCTETS:
        raise BadTarget(f"The request target has more than {MAX_TARGET_OCTETS} octets.")
    path, _, query = raw.partition("?")
    return Target(path=percent_decode(path), parameters=parse_parameters(query))


def parse_parameters(query: str) -> dict[str, list[str]]:
    """Decode a query, or a form in a body, to the values of each parameter in their order. Raises BadTarget."""
    parameters: dict[str, list[str]] = {}
    for name, value in _parameters(query):
        parameters.setdefault(name, []).append(value)
    return parameters


def percent_decode(text: str) -> bytes:
    """Undo percent-encoding once; other characters stand for their UTF-8 octets.

    Raises BadTarget when a percent sign is not followed by two hexadecimal digits.
    """
    octets = text.encode("utf-8", "surrogateescape")
    if b"%" not in octets:
        return octets
    if _LONE_PERCENT.search(octets):
        raise BadTarget("A percent sign must be followed by two hexadecimal digits.")
    return _ESCAPES.sub(lambda match: bytes.fromhex(match[1].decode("ascii")), octets)


def _parameters(query: str) -> Iterator[tuple[str, str]]:
    fields = [part for part in query.split("&") if part]
    if len(fields) > MAX_PARAMETERS:
        raise BadTarget(f"More than {MAX_PARAMETERS} parameters.")
    for part in fields:
        name, _, value = part.partition("=")
        yield _decode_text(name), _decode_text(value)


def _decode_text(text: str) -> str:
    try:
        return percent_decode(text.replace("+", " ")).decode("utf-8")
    except UnicodeDecodeError:
        raise BadTarget("A parameter is not valid UTF-8.") from None


def _parse_index(text: str) -> int:
    if not _DECIMAL.fullmatch(text) or not 1 <= int(text) <= MAX_INDEX:
        raise BadTarget(f"An index is a number from 1 to {MAX_INDEX}.")
    return int(text)
