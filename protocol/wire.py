"""Reader and Writer: bounds-checked big-endian fields, the alphabet of every encoding.

`str` of PROTOCOL.md is a 32-bit length and that many octets; it is called a counted string here.
"""

import struct
from typing import Final

from protocol.errors import Malformed, TooLarge, Truncated

MAX_MESSAGE_OCTETS: Final = 262_144  # as deployed decoders (PROTOCOL.md §0); more is refused unread
MAX_HANDLE_OCTETS: Final = 2_048  # as deployed decoders
MAX_VALUES: Final = 2_048  # values of one message, as deployed decoders

_U16: Final = struct.Struct(">H")
_U32: Final = struct.Struct(">I")
_U64: Final = struct.Struct(">Q")


class Reader:
    """A cursor over octets from outside; every step is checked against what is left."""

    __slots__ = ("_end", "octets", "position")

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self.position = 0
        self._end = len(octets)

    @property
    def remaining(self) -> int:
        """Octets not yet read."""
        return self._end - self.position

    def take(self, count: int) -> bytes:
        """The next count octets. Raises Truncated when fewer are left."""
        start = self.position
        end = start + count
        if end > self._end:
            raise Truncated(f"{count} octets expected at {start}, {self._end - start} left")
        self.position = end
        return self.octets[start:end]

    def rest(self) -> bytes:
        """All octets that are left."""
        return self.take(self.remaining)

    def u8(self) -> int:
        """An unsigned integer of one octet."""
        return self.take(1)[0]

    def u16(self) -> int:
        """An unsigned integer of two octets."""
        return int(_U16.unpack(self.take(2))[0])

    def u32(self) -> int:
        """An unsigned integer of four octets."""
        return int(_U32.unpack(self.take(4))[0])

    def u64(self) -> int:
        """An unsigned integer of eight octets."""
        return int(_U64.unpack(self.take(8))[0])

    def counted(self, octets_max: int = MAX_MESSAGE_OCTETS) -> bytes:
        """A counted string. Raises TooLarge above octets_max before anything is copied, Truncated when cut."""
        length = self.u32()
        if length > octets_max:
            raise TooLarge(f"string of {length} octets at {self.position - 4}, {octets_max} allowed")
        return self.take(length)

    def count(self, items_max: int, item_octets_min: int) -> int:
        """The number of items of a list that follows.

        items_max is the named limit; a count that the octets left cannot hold, at item_octets_min each, is Truncated,
        so that no count makes us reserve memory.
        """
        count = self.u32()
        if count > items_max:
            raise TooLarge(f"list of {count} items at {self.position - 4}, {items_max} allowed")
        if count * item_octets_min > self.remaining:
            raise Truncated(f"list of {count} items at {self.position - 4}, {self.remaining} octets left")
        return count

    def expect_end(self) -> None:
        """Raises Malformed when octets are left."""
        if self.position != self._end:
            raise Malformed(f"{self.remaining} surplus octets at {self.position}")


class Writer:
    """Collects fields; octets() gives what was written."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def raw(self, octets: bytes) -> "Writer":
        """Octets as they are."""
        self._parts.append(octets)
        return self

    def u8(self, number: int) -> "Writer":
        """An unsigned integer of one octet."""
        self._parts.append(bytes((number,)))
        return self

    def u16(self, number: int) -> "Writer":
        """An unsigned integer of two octets."""
        self._parts.append(_U16.pack(number))
        return self

    def u32(self, number: int) -> "Writer":
        """An unsigned integer of four octets."""
        self._parts.append(_U32.pack(number))
        return self

    def u64(self, number: int) -> "Writer":
        """An unsigned integer of eight octets."""
        self._parts.append(_U64.pack(number))
        return self

    def counted(self, octets: bytes) -> "Writer":
        """A counted string."""
        self._parts.append(_U32.pack(len(octets)))
        self._parts.append(octets)
        return self

    def octets(self) -> bytes:
        """Everything written, in order."""
        return b"".join(self._parts)


def text(octets: bytes) -> str:
    """Octets as text; what is no UTF-8 survives as surrogate escapes, and encode_text gives the same octets back."""
    return octets.decode("utf-8", "surrogateescape")


def encode_text(string: str) -> bytes:
    """The octets of a text that `text` gave, or of any other text.

    Raises Malformed for half a surrogate pair, which JSON can carry and no octets stand for.
    """
    try:
        return string.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise Malformed("half a surrogate pair, which is no text") from None
