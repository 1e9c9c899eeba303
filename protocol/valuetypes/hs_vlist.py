"""HS_VLIST: a group, as a list of `index:handle`. Source: PROTOCOL.md §2.7, vector V09."""

from dataclasses import dataclass
from typing import Final

from protocol.value import ValueReference
from protocol.wire import MAX_HANDLE_OCTETS, Reader, Writer

MAX_MEMBERS: Final = 16_384  # a message of 262,144 octets holds no more of real length


@dataclass(frozen=True, slots=True)
class ValueReferences:
    """The members of a group, in order."""

    members: tuple[ValueReference, ...]

    def encode(self) -> bytes:
        """The data of the value."""
        writer = Writer().u32(len(self.members))
        for member in self.members:
            writer.counted(member.handle).u32(member.index)
        return writer.octets()

    @classmethod
    def decode(cls, data: bytes) -> "ValueReferences":
        """Raises WireError, also for surplus octets."""
        reader = Reader(data)
        count = reader.count(MAX_MEMBERS, 8)
        members = tuple(ValueReference(reader.counted(MAX_HANDLE_OCTETS), reader.u32()) for _ in range(count))
        reader.expect_end()
        return cls(members)
