"""HS_ADMIN: an administrator of the handle and what it may do. Source: PROTOCOL.md §2.5, vector V06."""

from dataclasses import dataclass
from enum import IntFlag
from typing import Final

from protocol.errors import InvalidValue, Malformed
from protocol.value import ValueReference
from protocol.wire import MAX_HANDLE_OCTETS, Reader, Writer

LEGACY_TAIL_OCTETS: Final = 2  # written by servers up to 7.3; kept, so that signatures keep verifying
_MASK_DIGITS: Final = 12


class AdminPermission(IntFlag):
    """What an administrator may do."""

    ADD_HANDLE = 0x0001
    DELETE_HANDLE = 0x0002
    ADD_DERIVED_PREFIX = 0x0004
    DELETE_DERIVED_PREFIX = 0x0008
    MODIFY_VALUE = 0x0010
    REMOVE_VALUE = 0x0020
    ADD_VALUE = 0x0040
    MODIFY_ADMIN = 0x0080
    REMOVE_ADMIN = 0x0100
    ADD_ADMIN = 0x0200
    READ_VALUE = 0x0400
    LIST_HANDLES = 0x0800
    LIST_DERIVED_PREFIXES = 0x1000


ALL_PERMISSIONS: Final = AdminPermission(0x0FFF)


@dataclass(frozen=True, slots=True)
class Admin:
    """Who administers, as `index:handle` (index 0: any key of that handle), with which AdminPermission bits."""

    reference: ValueReference
    permissions: int = ALL_PERMISSIONS
    tail: bytes = b""
    """Empty, or the two legacy octets behind the record."""

    def encode(self) -> bytes:
        """The data of the value."""
        writer = Writer().u16(self.permissions).counted(self.reference.handle).u32(self.reference.index)
        return writer.raw(self.tail).octets()

    @classmethod
    def decode(cls, data: bytes) -> "Admin":
        """Raises WireError; exactly two octets may follow the record, no other number."""
        reader = Reader(data)
        permissions, handle, index = reader.u16(), reader.counted(MAX_HANDLE_OCTETS), reader.u32()
        tail = reader.rest()
        if len(tail) not in (0, LEGACY_TAIL_OCTETS):
            raise Malformed(f"HS_ADMIN with {len(tail)} surplus octets")
        return cls(ValueReference(handle, index), permissions, tail)


def format_mask(permissions: int) -> str:
    """The permissions as twelve binary digits, LIST_HANDLES first; bits above them make it longer."""
    return format(permissions, f"0{_MASK_DIGITS}b")


def parse_mask(digits: str) -> int:
    """The permissions of at most sixteen binary digits. Raises InvalidValue."""
    if not 0 < len(digits) <= 16 or set(digits) - {"0", "1"}:
        raise InvalidValue(f"administrator permissions are twelve digits 0 or 1, not {digits[:20]!r}")
    return int(digits, 2)
