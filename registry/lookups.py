"""Reverse look-up, the pure part: which entries a record has, and which values a pattern matches.

A pattern is literal but for `*`, which stands for any octets; there is no other special character and no escape, as in
the look-up services that deployed clients know.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from protocol.value import ValueList
from registry.record import data_of, type_of

DATA_OCTETS_MAX: Final = 1_024
"""Of a value that has an entry; URLs that are longer are rare."""
ENTRY_OCTETS_MAX: Final = 2_560
"""Of an entry's type, data and handle together: a key of a B-tree holds 2,704 octets, their lengths included."""
WILDCARD: Final = b"*"

Entry = tuple[bytes, bytes, bytes]
"""Folded type, data, and the key of the handle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupTypes:
    """Types whose public values are found again, folded."""

    folded: frozenset[bytes]

    @classmethod
    def of(cls, types: Iterable[str]) -> "LookupTypes":
        """The types by their names, ASCII letters in any case."""
        return cls(folded=frozenset(name.encode().upper() for name in types))

    def __bool__(self) -> bool:
        return bool(self.folded)

    def entries(self, key: bytes, public: ValueList) -> set[Entry]:
        """The entries of a record that is in force."""
        found = set()
        for value in public.slices():
            kind = type_of(value)
            if kind in self.folded:
                data = data_of(value)
                octets = len(kind) + len(data) + len(key)
                if len(data) <= DATA_OCTETS_MAX and octets <= ENTRY_OCTETS_MAX:
                    found.add((kind, data, key))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """What the data of a value shall be like."""

    pieces: tuple[bytes, ...]
    """What stands between the wildcards; one piece is an exact value."""

    @classmethod
    def parse(cls, octets: bytes) -> "Pattern":
        """Read a pattern; several wildcards in a row are one."""
        first, *others = octets.split(WILDCARD)
        if not others:
            return cls(pieces=(first,))
        *middle, last = others
        return cls(pieces=(first, *filter(None, middle), last))

    @property
    def is_exact(self) -> bool:
        """Whether it has no wildcard."""
        return len(self.pieces) == 1

    @property
    def start(self) -> bytes:
        """What every match begins with."""
        return self.pieces[0]

    @property
    def is_everything(self) -> bool:
        """Whether it matches any data."""
        return not self.is_exact and not any(self.pieces)

    @property
    def longest(self) -> bytes:
        """The longest octets that stand in every match."""
        return max(self.pieces, key=len)

    def matches(self, data: bytes) -> bool:
        """Whether the data are like this; in time that grows with their length alone."""
        if self.is_exact:
            return data == self.start
        first, *middle, last = self.pieces
        at, end = len(first), len(data) - len(last)
        if end < at or not data.startswith(first) or not data.endswith(last):
            return False
        for piece in middle:
            at = data.find(piece, at, end)
            if at < 0:
                return False
            at += len(piece)
        return True


Conditions = Mapping[bytes, Sequence[Pattern]]
"""By folded type: a record has, for each pattern, a public value of the type that matches it."""


def fulfils(public: ValueList, conditions: Conditions) -> bool:
    """Whether a record has a value for every condition."""
    data: dict[bytes, list[bytes]] = {}
    for value in public.slices():
        kind = type_of(value)
        if kind in conditions:
            data.setdefault(kind, []).append(data_of(value))
    return all(
        any(pattern.matches(one) for one in data.get(kind, ()))
        for kind, patterns in conditions.items()
        for pattern in patterns
    )


def most_telling(conditions: Conditions) -> tuple[bytes, Pattern]:
    """The condition that leaves the fewest candidates: an exact value, else the longest beginning."""
    every = [(kind, pattern) for kind, patterns in conditions.items() for pattern in patterns]
    return max(every, key=lambda one: (one[1].is_exact, len(one[1].start), len(one[1].longest)))


def after_prefix(octets: bytes) -> bytes | None:
    """The first octets that stand behind all that begin with these; None when nothing does."""
    stripped = octets.rstrip(b"\xff")
    return stripped[:-1] + bytes((stripped[-1] + 1,)) if stripped else None
