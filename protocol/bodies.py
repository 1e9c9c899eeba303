"""One frozen dataclass for each request and response body; a request digest is split off before (message.py)."""

import struct
from dataclasses import dataclass
from typing import Final

from protocol.handle import Handle
from protocol.site import Site
from protocol.value import MAX_TYPE_OCTETS, ValueList
from protocol.wire import MAX_HANDLE_OCTETS, Reader, Writer, encode_text, text

MAX_QUERY_ITEMS: Final = 2_048  # indexes or types of one query; a message holds no more values
_U32: Final = struct.Struct(">I")
BLANK_HANDLE: Final = Handle(b"/")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolutionRequest:
    """Which handle, and which of its values: those with one of the indexes or types, all when both are empty."""

    handle: Handle
    indexes: tuple[int, ...] = ()
    types: tuple[str, ...] = ()
    extension: bytes = b""
    """What follows the types: nothing, or the counted authentication field of the IDIS SDK (DOMAIN.md §3.5, 5)."""

    def encode(self) -> bytes:
        """The body's octets. Source: PROTOCOL.md §4.1, vectors V02-V04."""
        writer = Writer().counted(self.handle.octets).u32(len(self.indexes))
        for index in self.indexes:
            writer.u32(index)
        writer.u32(len(self.types))
        for name in self.types:
            writer.counted(encode_text(name))
        return writer.raw(self.extension).octets()

    @classmethod
    def decode(cls, octets: bytes) -> "ResolutionRequest":
        """The body that octets hold. Raises WireError, or InvalidHandle for an empty name."""
        reader = Reader(octets)
        handle = Handle.parse(reader.counted(MAX_HANDLE_OCTETS))
        indexes = tuple(reader.u32() for _ in range(reader.count(MAX_QUERY_ITEMS, 4)))
        types = tuple(text(reader.counted(MAX_TYPE_OCTETS)) for _ in range(reader.count(MAX_QUERY_ITEMS, 4)))
        return cls(handle=handle, indexes=indexes, types=types, extension=reader.rest())


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolutionResponse:
    """The handle as the client spelled it, and values."""

    handle: Handle
    values: ValueList

    def encode(self) -> bytes:
        """The body's octets. Source: PROTOCOL.md §4.1, vector V12."""
        return resolution_body(self.handle.octets, self.values)

    @classmethod
    def decode(cls, octets: bytes) -> "ResolutionResponse":
        """The body that octets hold. Raises WireError or InvalidHandle."""
        reader = Reader(octets)
        handle = Handle.parse(reader.counted(MAX_HANDLE_OCTETS))
        values = ValueList.decode(reader)
        reader.expect_end()
        return cls(handle=handle, values=values)


def resolution_body(name: bytes, values: ValueList) -> bytes:
    """The octets of a ResolutionResponse, from the octets of the name, in one piece."""
    return b"".join((_U32.pack(len(name)), name, _U32.pack(values.count), values.octets))


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteInfoRequest:
    """Asks a server for its site record; the handle is a place-holder."""

    handle: Handle = BLANK_HANDLE

    def encode(self) -> bytes:
        """The body's octets. Source: PROTOCOL.md §4.4, vector V23."""
        return Writer().counted(self.handle.octets).octets()

    @classmethod
    def decode(cls, octets: bytes) -> "SiteInfoRequest":
        """The body that octets hold. Raises WireError or InvalidHandle."""
        reader = Reader(octets)
        handle = Handle.parse(reader.counted(MAX_HANDLE_OCTETS))
        reader.expect_end()
        return cls(handle=handle)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteInfoResponse:
    """The server's site record, bare to the end of the body."""

    site: Site

    def encode(self) -> bytes:
        """The body's octets: no length in front. Source: PROTOCOL.md §4.4."""
        return self.site.encode()

    @classmethod
    def decode(cls, octets: bytes) -> "SiteInfoResponse":
        """The body that octets hold; a length in front, as DO-IRP 3 tools may send, is read too. Raises WireError."""
        if octets[:2] == b"\0\0":
            reader = Reader(octets)
            octets = reader.counted()
            reader.expect_end()
        return cls(site=Site.decode(octets))


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBody:
    """Why a request was not served, in words, and the value indexes that it is about."""

    message: str = ""
    indexes: tuple[int, ...] | None = None
    """None when the list is left out, as deployed servers do."""
    absent: bool = False
    """Whether the body had no octets at all, as some peers send it."""

    def encode(self) -> bytes:
        """The body's octets. Source: PROTOCOL.md §4.2, vector V14."""
        if self.absent:
            return b""
        writer = Writer().counted(encode_text(self.message))
        if self.indexes is not None:
            writer.u32(len(self.indexes))
            for index in self.indexes:
                writer.u32(index)
        return writer.octets()

    @classmethod
    def decode(cls, octets: bytes) -> "ErrorBody":
        """The body that octets hold; one without octets is an empty message. Raises WireError."""
        if not octets:
            return cls(absent=True)
        reader = Reader(octets)
        message = text(reader.counted())
        indexes = None
        if reader.remaining:
            indexes = tuple(reader.u32() for _ in range(reader.count(MAX_QUERY_ITEMS, 4)))
        reader.expect_end()
        return cls(message=message, indexes=indexes)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferralBody:
    """Ask that service instead: the one whose sites the handle holds, or the one that the values describe."""

    handle: Handle | None = None
    """None for the empty name, with which values come."""
    values: ValueList | None = None
    """None when the list is left out."""

    def encode(self) -> bytes:
        """The body's octets. Source: PROTOCOL.md §4.3, vector V24."""
        writer = Writer().counted(self.handle.octets if self.handle else b"")
        return writer.raw(self.values.encode() if self.values is not None else b"").octets()

    @classmethod
    def decode(cls, octets: bytes) -> "ReferralBody":
        """The body that octets hold. Raises WireError or InvalidHandle."""
        reader = Reader(octets)
        name = reader.counted(MAX_HANDLE_OCTETS)
        values = ValueList.decode(reader) if reader.remaining else None
        reader.expect_end()
        return cls(handle=Handle.parse(name) if name else None, values=values)
