"""Fields of a stream whose octets come bit by bit: what a record is made of, each bounded before it is asked for.

Fields are generators: they say how many octets they need next, are sent exactly these, and return a value. So a record
is written down in the order of its fields, nothing is parsed twice, and no length makes anybody reserve memory.
"""

from collections.abc import Generator
from typing import Final, TypeVar

from protocol.errors import TooLarge
from protocol.wire import MAX_HANDLE_OCTETS

T = TypeVar("T")
Fields = Generator[int, bytes, T]

RECORD_OCTETS_MAX: Final = 4 * 1_048_576
"""The values of one record: 16 messages, though a record that fits no message cannot be resolved. What is between is
refused by the registry with the record's name, and what is beyond ends the stream."""
RECORD_VALUES_MAX: Final = 65_536  # likewise, 32 times what a message may carry


def u8() -> Fields[int]:
    """An unsigned integer of one octet."""
    return (yield 1)[0]


def u32() -> Fields[int]:
    """An unsigned integer of four octets."""
    return int.from_bytes((yield 4), "big")


def u64() -> Fields[int]:
    """An unsigned integer of eight octets."""
    return int.from_bytes((yield 8), "big")


def counted(octets_max: int) -> Fields[bytes]:
    """A counted string. Raises TooLarge above octets_max."""
    length = yield from u32()
    if length > octets_max:
        raise TooLarge(f"the stream announces a string of {length} octets where {octets_max} are allowed")
    return (yield length) if length else b""


def name() -> Fields[bytes]:
    """A handle's octets; whether they make a handle is not looked at."""
    return (yield from counted(MAX_HANDLE_OCTETS))


def values() -> Fields[tuple[bytes, ...]]:
    """The encoded values of a record, each as it came. Raises TooLarge."""
    count = yield from u32()
    if count > RECORD_VALUES_MAX:
        raise TooLarge(f"the stream announces {count} values of one record; {RECORD_VALUES_MAX} are allowed")
    found: list[bytes] = []
    room = RECORD_OCTETS_MAX
    for _ in range(count):
        found.append((yield from counted(room)))
        room -= len(found[-1])
    return tuple(found)
