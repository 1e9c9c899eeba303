"""Text with parameters: ${name}, ${name[n]} for a group of it, $n for a group of the pattern that matched last.

A backslash takes what follows it as it is, and so does a dollar sign that begins none of these. What no parameter
holds is empty. Source: PROTOCOL.md §1.6.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from registry.namespaces.patterns import Groups

LAST_MATCH: Final = ""
"""The name under which the groups of the pattern that matched last are kept; no parameter can be called so."""
_PIECES: Final = re.compile(
    r"\\(?P<escaped>.)|\$\{(?P<name>[^${}\[\]]+)(?:\[(?P<group>[0-9]{1,3})\])?\}|\$(?P<number>[0-9]{1,3})",
    re.DOTALL,
)

Scope = dict[str, Groups]
"""The parameters in force: each the whole text and its groups, if it has any."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for a group of a parameter; group 0 is the whole."""

    name: str
    group: int = 0

    def look_up(self, scope: Scope) -> bytes:
        """What stands there."""
        groups = scope.get(self.name, ())
        return groups[self.group] if self.group < len(groups) else b""


@dataclass(frozen=True, slots=True)
class Text:
    """A text as it was written, cut into octets and slots."""

    pieces: tuple[bytes | Slot, ...]

    def fill(self, scope: Scope, spend: Callable[[int], None]) -> bytes:
        """The text with its parameters.

        spend: told how many octets it has, before there are any; it raises where they are too many.
        """
        parts = [piece if isinstance(piece, bytes) else piece.look_up(scope) for piece in self.pieces]
        spend(sum(map(len, parts)))
        return b"".join(parts)


def parse_text(written: str) -> Text:
    """Every text is one."""
    pieces: list[bytes | Slot] = []
    literal = bytearray()
    position = 0
    for found in _PIECES.finditer(written):
        literal += written[position : found.start()].encode()
        position = found.end()
        escaped, name, group, number = found.group("escaped", "name", "group", "number")
        if escaped is not None:
            literal += escaped.encode()
            continue
        if literal:
            pieces.append(bytes(literal))
            literal.clear()
        pieces.append(Slot(name, int(group or 0)) if name is not None else Slot(LAST_MATCH, int(number)))
    literal += written[position:].encode()
    if literal:
        pieces.append(bytes(literal))
    return Text(tuple(pieces))
