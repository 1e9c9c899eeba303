"""Structured header fields, as far as message signatures need them: read strictly, written canonically.

Pure. Source: RFC 8941 §3-4; of its types: dictionaries of inner lists of strings, and of byte sequences.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

FIELD_CHARACTERS_MAX: Final = 4_096
"""Characters of one field; those that we write have some 400."""
MEMBERS_MAX: Final = 8
"""Members of a dictionary; proxies on the way may add a signature of their own."""
COMPONENTS_MAX: Final = 32
"""Components that one signature covers."""
INTEGER_MAX: Final = 999_999_999_999_999  # RFC 8941 §3.3.1: fifteen digits

_KEY: Final = re.compile(r"[a-z*][a-z0-9_\-.*]{0,63}")
_STRING: Final = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_INTEGER: Final = re.compile(r"-?[0-9]{1,15}")
_OCTETS: Final = re.compile(r":([A-Za-z0-9+/]*={0,2}):")
_PRINTABLE: Final = re.compile(r"[ -~]*")
_BLANKS: Final = re.compile(r" *")
_SEPARATOR: Final = re.compile(r"[ \t]*,[ \t]*")

Bare = str | int | bool
"""A parameter's value: a string, an integer, or True for a flag that is just there."""


class FieldUnreadable(ValueError):
    """A field that breaks the grammar; the message repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a message that a signature covers, such as "content-digest" or "signature";req;key="node"."""

    name: str
    parameters: Mapping[str, Bare]

    def __str__(self) -> str:
        return format_string(self.name) + _format_parameters(self.parameters)


@dataclass(frozen=True, slots=True)
class InnerList:
    """A parenthesised list of components with parameters of its own."""

    components: tuple[Component, ...]
    parameters: Mapping[str, Bare]

    def __str__(self) -> str:
        return f"({' '.join(map(str, self.components))})" + _format_parameters(self.parameters)


def parse_lists(field: str) -> dict[str, InnerList]:
    """Read a dictionary of inner lists, as in Signature-Input. Raises FieldUnreadable."""
    members: dict[str, InnerList] = {}
    scanner = _Scanner(field)
    for name in scanner.members():
        members[name] = scanner.inner_list()
    return members


def parse_octets(field: str) -> dict[str, bytes]:
    """Read a dictionary of byte sequences, as in Signature and Content-Digest. Raises FieldUnreadable."""
    members: dict[str, bytes] = {}
    scanner = _Scanner(field)
    for name in scanner.members():
        members[name] = scanner.octets()
    return members


def format_string(text: str) -> str:
    """A string as a field holds it; only printable ASCII can be written."""
    assert _PRINTABLE.fullmatch(text), "structured strings are printable ASCII"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def format_octets(octets: bytes) -> str:
    """A byte sequence as a field holds it."""
    return f":{b64encode(octets).decode('ascii')}:"


def _format_parameters(parameters: Mapping[str, Bare]) -> str:
    return "".join(f";{name}{_format_bare(value)}" for name, value in parameters.items())


def _format_bare(value: Bare) -> str:
    if value is True:
        return ""
    assert value is not False, "a flag that is not set is left out"
    return "=" + (format_string(value) if isinstance(value, str) else str(value))


class _Scanner:
    """Walks through one field from left to right."""

    def __init__(self, field: str) -> None:
        if len(field) > FIELD_CHARACTERS_MAX:
            raise FieldUnreadable(f"has more than {FIELD_CHARACTERS_MAX} characters")
        self._field = field.strip(" ")
        self._at = 0

    def members(self) -> Iterator[str]:
        """The names of a dictionary; between two steps the caller reads the member's value."""
        names: set[str] = set()
        while self._at < len(self._field):
            if names:
                self.take(_SEPARATOR, "a comma")
            if len(names) == MEMBERS_MAX:
                raise FieldUnreadable(f"has more than {MEMBERS_MAX} members")
            name = self.take(_KEY, "a name")[0]
            if not self.skip("="):
                raise FieldUnreadable(f"lacks a value at position {self._at + 1}")
            if name in names:
                raise FieldUnreadable("names a member twice")
            names.add(name)
            yield name

    def take(self, pattern: re.Pattern[str], what: str) -> re.Match[str]:
        match = pattern.match(self._field, self._at)
        if match is None:
            raise FieldUnreadable(f"lacks {what} at position {self._at + 1}")
        self._at = match.end()
        return match

    def skip(self, text: str) -> bool:
        if not self._field.startswith(text, self._at):
            return False
        self._at += len(text)
        return True

    def inner_list(self) -> InnerList:
        if not self.skip("("):
            raise FieldUnreadable(f"lacks a list at position {self._at + 1}")
        components: list[Component] = []
        self.take(_BLANKS, "a blank")
        while not self.skip(")"):
            if len(components) == COMPONENTS_MAX:
                raise FieldUnreadable(f"lists more than {COMPONENTS_MAX} components")
            components.append(Component(self.string(), self.parameters()))
            blanks = self.take(_BLANKS, "a blank")
            if not blanks[0] and not self._field.startswith(")", self._at):
                raise FieldUnreadable(f"lacks a blank at position {self._at + 1}")
        return InnerList(tuple(components), self.parameters())

    def parameters(self) -> dict[str, Bare]:
        found: dict[str, Bare] = {}
        while self.skip(";"):
            self.take(_BLANKS, "a blank")
            name = self.take(_KEY, "a name")[0]
            found.pop(name, None)  # RFC 8941 §4.2.3.2: the last one counts, in its own place
            found[name] = self._bare() if self.skip("=") else True
        return found

    def string(self) -> str:
        return re.sub(r"\\(.)", r"\1", self.take(_STRING, "a string")[1])

    def octets(self) -> bytes:
        text = self.take(_OCTETS, "a byte sequence")[1]
        try:
            return b64decode(text, validate=True)
        except ValueError:
            raise FieldUnreadable("holds a byte sequence that is no base64") from None

    def _bare(self) -> Bare:
        if self._field.startswith('"', self._at):
            return self.string()
        return int(self.take(_INTEGER, "a string or an integer")[0])
