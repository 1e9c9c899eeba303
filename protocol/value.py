"""HandleValue, its permissions, and ValueList: values in the form in which they are stored, cached and sent.

A value is u32 index, u32 timestamp, u8 ttl type, u32 ttl, u8 permissions, counted type, counted data and a list of
references (PROTOCOL.md §2.1). Permissions stand at octet 13 and the type at 14, so filters need no full decoding.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

from protocol.errors import InvalidValue, TooLarge, Truncated
from protocol.wire import MAX_MESSAGE_OCTETS, MAX_VALUES, Reader, Writer, encode_text, text

DEFAULT_TTL_S: Final = 86_400
MAX_TTL_S: Final = 86_400  # nothing is cached for longer than a day (ARCHITECTURE §3.10)
MAX_TYPE_OCTETS: Final = 2_048  # a type name is a handle without its prefix
MAX_INDEX: Final = 0x7FFF_FFFF  # deployed decoders read it signed

VALUE_HEAD: Final = struct.Struct(">IIBIBI")
"""Index, timestamp, TTL type, TTL, permissions, octets of the type."""

_HEAD_OCTETS: Final = VALUE_HEAD.size
_SURVEYED: Final = struct.Struct(">8xBIBI")
"""The same without index and timestamp."""
_U32: Final = struct.Struct(">I")
_life: Final = struct.Struct(">8xBIxI").unpack_from
"""Of a value's head: TTL type, TTL, octets of the type."""
_u32: Final = _U32.unpack_from
_MIN_VALUE_OCTETS: Final = VALUE_HEAD.size + 4 + 4
_PERMISSIONS_OFFSET: Final = 13
_TYPE_OFFSET: Final = 18


class Permission(IntFlag):
    """Who may read and write a value. Source: PROTOCOL.md §2.2."""

    ADMIN_READ = 0x08
    ADMIN_WRITE = 0x04
    PUBLIC_READ = 0x02
    PUBLIC_WRITE = 0x01


_PUBLIC_READ: Final = int(Permission.PUBLIC_READ)
DEFAULT_PERMISSIONS: Final = Permission.ADMIN_READ | Permission.ADMIN_WRITE | Permission.PUBLIC_READ
SECRET_PERMISSIONS: Final = Permission.ADMIN_READ | Permission.ADMIN_WRITE


class TtlType(IntEnum):
    """Whether a TTL counts from now or names a second of the calendar."""

    RELATIVE = 0
    ABSOLUTE = 1


_RELATIVE: Final = int(TtlType.RELATIVE)


@dataclass(frozen=True, slots=True)
class ValueReference:
    """A value of some handle, `index:handle`: identities, administrators, members of groups."""

    handle: bytes
    index: int

    def __str__(self) -> str:
        return f"{self.index}:{text(self.handle)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HandleValue:
    """One value of a handle; the type says what the data mean."""

    index: int
    type: str
    data: bytes
    ttl: int = DEFAULT_TTL_S
    """Seconds from now, or the second of the Unix calendar, as ttl_type says."""
    ttl_type: int = TtlType.RELATIVE
    permissions: int = DEFAULT_PERMISSIONS
    """The octet of Permission bits; bits that mean nothing are kept."""
    timestamp: int = 0
    """Unix seconds of the last change, set by the server."""
    references: tuple[ValueReference, ...] = ()

    def encode(self) -> bytes:
        """The octets of the value. Source: PROTOCOL.md §2.1, vectors V05-V07."""
        type_octets = encode_text(self.type)
        head = VALUE_HEAD.pack(
            self.index, self.timestamp, self.ttl_type, self.ttl, self.permissions, len(type_octets)
        )
        writer = Writer().raw(head).raw(type_octets).counted(self.data).u32(len(self.references))
        for reference in self.references:
            writer.counted(reference.handle).u32(reference.index)
        return writer.octets()

    @classmethod
    def decode(cls, octets: bytes) -> "HandleValue":
        """The one value that octets hold. Raises WireError when they are cut or go on behind it."""
        reader = Reader(octets)
        value = decode_value(reader)
        reader.expect_end()
        return value


def decode_value(reader: Reader) -> HandleValue:
    """The next value; what follows it is left in the reader. Raises WireError."""
    head = VALUE_HEAD.unpack(reader.take(VALUE_HEAD.size))
    if head[5] > MAX_TYPE_OCTETS:
        raise TooLarge(f"a type of {head[5]} octets, {MAX_TYPE_OCTETS} allowed")
    type_octets = reader.take(head[5])
    data = reader.counted()
    references = tuple(
        ValueReference(reader.counted(), reader.u32()) for _ in range(reader.count(MAX_MESSAGE_OCTETS, 8))
    )
    return HandleValue(
        index=head[0],
        timestamp=head[1],
        ttl_type=head[2],
        ttl=head[3],
        permissions=head[4],
        type=text(type_octets),
        data=data,
        references=references,
    )


def _skip_value(octets: bytes, start: int) -> int:
    """Where the value that begins at start ends. Raises WireError; copies nothing."""
    size = len(octets)
    position = start + VALUE_HEAD.size
    if position > size:
        raise Truncated(f"a value at {start} is cut")
    type_octets = _U32.unpack_from(octets, position - 4)[0]
    if type_octets > MAX_TYPE_OCTETS:
        raise TooLarge(f"a type of {type_octets} octets, {MAX_TYPE_OCTETS} allowed")
    position = _skip_counted(octets, position + type_octets, size)
    if position + 4 > size:
        raise Truncated(f"the references of the value at {start} are cut")
    references = _U32.unpack_from(octets, position)[0]
    position += 4
    if references * 8 > size - position:
        raise Truncated(f"{references} references at {position}, {size - position} octets left")
    for _ in range(references):
        position = _skip_counted(octets, position, size) + 4
    if position > size:
        raise Truncated(f"the value at {start} is cut")
    return position


def survey(octets: bytes, position: int, count: int, wall_s: float) -> tuple[int, int] | None:
    """Where count values that begin at position end, and the seconds for which they may be cached, in one pass.

    None where anything is out of the ordinary: a value that is not public, references, or octets that are no values;
    ValueList.decode() and its methods decide about those. wall_s: Unix seconds, for absolute TTLs.
    """
    smallest_ttl_s = MAX_TTL_S
    head, number = _SURVEYED.unpack_from, _U32.unpack_from
    try:
        for _ in range(count):
            kind, ttl, permissions, type_octets = head(octets, position)
            if not permissions & _PUBLIC_READ or type_octets > MAX_TYPE_OCTETS:
                return None
            if kind:
                ttl = _seconds_left(kind, ttl, wall_s)
            smallest_ttl_s = min(smallest_ttl_s, ttl)
            position += _TYPE_OFFSET + type_octets
            position += 4 + number(octets, position)[0]
            if number(octets, position)[0]:
                return None
            position += 4
    except struct.error:  # a length leads beyond the octets
        return None
    return position, smallest_ttl_s


def _seconds_left(kind: int, ttl: int, wall_s: float) -> int:
    return ttl if kind == TtlType.RELATIVE else max(0, ttl - int(wall_s))


def _skip_counted(octets: bytes, position: int, size: int) -> int:
    if position + 4 > size:
        raise Truncated(f"a length at {position} is cut")
    end = position + 4 + int(_U32.unpack_from(octets, position)[0])
    if end > size:
        raise Truncated(f"a string at {position} ends at {end}, the octets at {size}")
    return end


class ValueList:
    """Values back to back as they stand in a message, a row or a cache entry; immutable.

    The constructor trusts its arguments; octets from outside come in through `decode`.
    """

    __slots__ = ("count", "octets")

    def __init__(self, octets: bytes, count: int) -> None:
        self.octets = octets
        self.count = count

    @classmethod
    def of(cls, values: Iterable[HandleValue]) -> "ValueList":
        """The list of these values, in this order."""
        parts = [value.encode() for value in values]
        return cls(b"".join(parts), len(parts))

    @classmethod
    def decode(cls, reader: Reader) -> "ValueList":
        """A list<value>: a count and that many values. Raises WireError; every value's structure is checked."""
        count = reader.count(MAX_VALUES, _MIN_VALUE_OCTETS)
        start = position = reader.position
        for _ in range(count):
            position = _skip_value(reader.octets, position)
        reader.position = position
        return cls(reader.octets[start:position], count)

    def encode(self) -> bytes:
        """The list<value> of a message: the count and the values."""
        return _U32.pack(self.count) + self.octets

    def slices(self) -> Iterator[bytes]:
        """The octets of each value."""
        position = 0
        for _ in range(self.count):
            end = _skip_value(self.octets, position)
            yield self.octets[position:end]
            position = end

    def __iter__(self) -> Iterator[HandleValue]:
        reader = Reader(self.octets)
        for _ in range(self.count):
            yield decode_value(reader)

    def __len__(self) -> int:
        return self.count

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ValueList) and self.count == other.count and self.octets == other.octets

    def __hash__(self) -> int:
        return hash(self.octets)

    def __repr__(self) -> str:
        return f"ValueList({self.count} values, {len(self.octets)} octets)"

    def select(
        self, indexes: Sequence[int] = (), types: Sequence[str] = (), *, public_only: bool = False
    ) -> "ValueList":
        """The values that a query asks for: any of the indexes or any of the types; all when both are empty.

        A type that ends in a dot stands for itself without the dot and for its dotted subtypes; types compare without
        regard to ASCII case. Source: PROTOCOL.md §2.4.
        """
        if not public_only and not indexes and not types:
            return self
        wanted, numbers = TypeFilter(types), frozenset(indexes)
        kept = [value for value in self.slices() if _is_wanted(value, numbers, wanted, public_only)]
        return self if len(kept) == self.count else ValueList(b"".join(kept), len(kept))

    def sorted(self) -> "ValueList":
        """The values in ascending order of their indexes, as clients expect them (RESOLVERS.md §2.4)."""
        parts = sorted(self.slices(), key=lambda value: value[:4])
        return ValueList(b"".join(parts), self.count)

    def smallest_ttl_s(self, wall_s: float) -> int:
        """Seconds for which the whole list may be cached, at most MAX_TTL_S; 0 when a value is expired or never cached.

        wall_s: Unix seconds now, against which absolute TTLs are measured.
        """
        octets, position, smallest = self.octets, 0, MAX_TTL_S
        for _ in range(self.count):  # in one pass, nothing copied: every answer from a database comes by here
            kind, ttl, type_octets = _life(octets, position)
            if kind != _RELATIVE:
                ttl = max(0, ttl - int(wall_s))
            smallest = min(smallest, ttl)
            position += _HEAD_OCTETS + type_octets
            position += 8 + _u32(octets, position)[0]
            references = _u32(octets, position - 4)[0]
            if references:
                for _ in range(references):
                    position += 8 + _u32(octets, position)[0]
        return smallest


def type_key(name: str) -> str:
    """A type's name as it compares: ASCII letters in upper case, everything else as it is. Source: PROTOCOL.md §1.2."""
    return name.upper() if name.isascii() else text(encode_text(name).upper())


class TypeFilter:
    """The types of a query, folded once."""

    __slots__ = ("_exact", "_families")

    def __init__(self, types: Sequence[str]) -> None:
        folded = [encode_text(name).upper() for name in types]
        self._families = tuple(name for name in folded if name.endswith(b"."))
        self._exact = frozenset(name.removesuffix(b".") for name in folded)

    def matches(self, type_octets: bytes) -> bool:
        """Whether the query asks for this type."""
        folded = type_octets.upper()
        return folded in self._exact or (bool(self._families) and folded.startswith(self._families))

    def __bool__(self) -> bool:
        return bool(self._exact)


def _is_wanted(octets: bytes, indexes: frozenset[int], types: TypeFilter, public_only: bool) -> bool:
    if public_only and not octets[_PERMISSIONS_OFFSET] & Permission.PUBLIC_READ:
        return False
    if not indexes and not types:
        return True
    index, _, _, _, _, type_octets = VALUE_HEAD.unpack_from(octets)
    return index in indexes or types.matches(octets[_TYPE_OFFSET : _TYPE_OFFSET + type_octets])


def parse_permissions(string: str) -> Permission:
    """Permissions from "1110": admin-read, admin-write, public-read, public-write. Raises InvalidValue."""
    if len(string) != 4 or set(string) - {"0", "1"}:
        raise InvalidValue(f"permissions are four digits 0 or 1, such as 1110, not {string[:20]!r}")
    return Permission(int(string, 2))


def format_permissions(permissions: int) -> str:
    """Permissions as four digits, such as 1110."""
    return format(permissions & 0x0F, "04b")


def check_index(index: int) -> int:
    """The index, when a value may have it. Raises InvalidValue outside 1..2147483647."""
    if not 0 < index <= MAX_INDEX:
        raise InvalidValue(f"an index is a number from 1 to {MAX_INDEX}, not {index}")
    return index
