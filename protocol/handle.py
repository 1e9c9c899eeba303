"""Handle and Prefix: parse, case rules, compare, percent-encode.

A name is octets, not text: legal names need not be valid UTF-8 (PROTOCOL.md §10, 48).
Only ASCII letters fold; every other octet is compared as it is (§1.2).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_from_bytes

from protocol.errors import InvalidHandle, WireError
from protocol.wire import MAX_HANDLE_OCTETS, encode_text, text

ROOT_PREFIX_OCTETS: Final = b"0.NA"
_SAFE_IN_PATH: Final = "/-._~"


def fold(octets: bytes) -> bytes:
    """The octets with ASCII a-z made upper-case. Source: PROTOCOL.md §1.2."""
    return octets.upper()


def _octets_of(name: str | bytes) -> bytes:
    try:
        return encode_text(name) if isinstance(name, str) else name
    except WireError as error:
        raise InvalidHandle(str(error)) from None


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """The part before the first slash, such as 88.100.1; equal to every spelling that differs in ASCII case alone."""

    octets: bytes

    @classmethod
    def parse(cls, name: str | bytes) -> "Prefix":
        """A prefix from text or octets. Raises InvalidHandle: empty, too long, a slash, or an empty label."""
        octets = _octets_of(name)
        if not octets or len(octets) > MAX_HANDLE_OCTETS - len(ROOT_PREFIX_OCTETS) - 1:
            raise InvalidHandle("a prefix has at least one octet and at most 2043")
        if b"/" in octets or b"" in octets.split(b"."):
            raise InvalidHandle(
                f"{text(octets)!r} is no prefix: labels are separated by single dots, without a slash"
            )
        return cls(octets)

    @property
    def key(self) -> bytes:
        """The folded octets: what tables and caches know the prefix by."""
        return self.octets.upper()

    @property
    def parent(self) -> "Prefix | None":
        """The prefix one label shorter; None for a single label."""
        head, dot, _ = self.octets.rpartition(b".")
        return Prefix(head) if dot and head else None

    @property
    def record(self) -> "Handle":
        """The prefix record 0.NA/<prefix>."""
        return Handle(ROOT_PREFIX_OCTETS + b"/" + self.octets)

    def ancestors(self) -> Iterator["Prefix"]:
        """The shorter prefixes, nearest first, without this one."""
        parent = self.parent
        while parent is not None:
            yield parent
            parent = parent.parent

    def is_within(self, other: "Prefix") -> bool:
        """Whether this prefix is the other one or derived from it."""
        mine, theirs = self.key, other.key
        return mine == theirs or mine.startswith(theirs + b".")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Prefix) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __str__(self) -> str:
        return text(self.octets)


@dataclass(frozen=True, slots=True, eq=False)
class Handle:
    """A name as somebody spelled it: prefix "/" suffix, or a slashless name, which means the prefix record 0.NA/<name>.

    Two handles are equal when they fold to the same octets, prefix and suffix alike, and a slashless name equals its
    prefix record. A case-sensitive service compares `fold(case_sensitive=True)`.
    """

    octets: bytes

    @classmethod
    def parse(cls, name: str | bytes) -> "Handle":
        """A handle from text or octets. Raises InvalidHandle when empty or longer than 2048 octets."""
        octets = _octets_of(name)
        if not octets:
            raise InvalidHandle("a handle has at least one octet")
        if len(octets) > MAX_HANDLE_OCTETS:
            raise InvalidHandle(f"a handle of {len(octets)} octets; {MAX_HANDLE_OCTETS} are allowed")
        return cls(octets)

    @property
    def resolved(self) -> "Handle":
        """The handle itself, or 0.NA/<name> for a slashless name. Source: PROTOCOL.md §1.1."""
        return self if b"/" in self.octets else Handle(ROOT_PREFIX_OCTETS + b"/" + self.octets)

    @property
    def prefix(self) -> Prefix:
        """What stands before the first slash; 0.NA for a slashless name."""
        head, slash, _ = self.octets.partition(b"/")
        return Prefix(head if slash else ROOT_PREFIX_OCTETS)

    @property
    def suffix(self) -> bytes:
        """What stands after the first slash; the whole name when slashless."""
        head, slash, tail = self.octets.partition(b"/")
        return tail if slash else head

    @property
    def key(self) -> bytes:
        """The folded octets of the whole name, slashless completed: what tables and caches know the handle by."""
        folded = self.octets.upper()
        return folded if b"/" in folded else ROOT_PREFIX_OCTETS + b"/" + folded

    def fold(self, *, case_sensitive: bool = False) -> bytes:
        """The storage key under a node's case rule.

        case_sensitive: the suffix keeps its case; the prefix never does, and names that begin with "0." fold whole.
        """
        if not case_sensitive or self.octets[:2] == b"0.":
            return self.key
        head, slash, tail = self.resolved.octets.partition(b"/")
        return self.key if head == ROOT_PREFIX_OCTETS else head.upper() + slash + tail

    @property
    def authority(self) -> "Handle":
        """The prefix record that says who serves this handle: 0.NA/<prefix>, folded. Source: PROTOCOL.md §1.3."""
        return Handle(ROOT_PREFIX_OCTETS + b"/" + self.prefix.key)

    @property
    def is_prefix_record(self) -> bool:
        """Whether this is 0.NA/<something>, or slashless, which means the same."""
        return self.prefix.key == ROOT_PREFIX_OCTETS

    @property
    def subject(self) -> Prefix:
        """Of a prefix record: the prefix that it speaks of. Raises InvalidHandle when that is no prefix."""
        assert self.is_prefix_record
        return Prefix.parse(self.suffix)

    @property
    def is_global(self) -> bool:
        """Whether the global service itself holds names like this one: 0.x, 0/x and slashless. Source: §1.3."""
        return self.octets[:2] in (b"0.", b"0/") or b"/" not in self.octets

    def percent_encode(self) -> str:
        """The handle for a URL path, slashes kept, everything outside unreserved encoded."""
        return quote_from_bytes(self.octets, safe=_SAFE_IN_PATH)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __str__(self) -> str:
        return text(self.octets)
