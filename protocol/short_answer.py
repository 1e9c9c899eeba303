"""The usual resolution, from octets to octets: what a server that answers many of them need not build as objects.

Usual is a resolution request that came whole in one message, without session, credential and CERT. Its answer is the
octets of Message.answer(), put together in one piece; everything else goes by way of decode_message(). A property test
compares the two ways.
"""

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from protocol.bodies import ResolutionRequest
from protocol.codes import OpCode, OpFlag
from protocol.errors import HandleError
from protocol.message import (
    ANSWER_LIFE_S,
    ENVELOPE_OCTETS,
    HEADER_OCTETS,
    NO_CREDENTIAL,
    OUR_VERSION,
    Version,
    answer_version,
    decode_envelope,
    digest_of,
)
from protocol.wire import MAX_HANDLE_OCTETS

_BODY: Final = ENVELOPE_OCTETS + HEADER_OCTETS
_HANDLE: Final = _BODY + 4
_REQUEST_ID: Final = slice(8, 12)
_RECURSION: Final = ENVELOPE_OCTETS + 14
_REQUEST: Final = struct.Struct(">4xI4xIIIII8xII")
"""Session, sequence, octets that follow; operation, response code, flags, octets of the body; octets of the handle."""
_RESPONSE: Final = struct.Struct(">BBBBI4sIIIIIHBBII")
_NO_FILTERS: Final = bytes(8)  # no indexes and no types
_ENVELOPE_FLAGS: Final = 0xE0  # compressed, encrypted, truncated
_CERT: Final = int(OpFlag.CERT)
_RRDG: Final = int(OpFlag.RRDG)
_AUTH: Final = int(OpFlag.AUTH)
_KEPT: Final = ~int(OpFlag.CERT | OpFlag.ENCR | OpFlag.CONT | OpFlag.AUTH)
_RESOLUTION: Final = int(OpCode.RESOLUTION)
_U32_MAX: Final = 0xFFFF_FFFF
_VERSIONS_MAX: Final = 256  # a handful is in use; who invents more makes us compute them each time


class ShortRequest:
    """A usual resolution request."""

    __slots__ = ("_octets", "flags", "handle", "indexes", "types")

    def __init__(
        self, octets: bytes, handle: bytes, indexes: Sequence[int], types: Sequence[str], flags: int
    ) -> None:
        self.handle = handle
        """As the client spelled it."""
        self.indexes = indexes
        self.types = types
        self.flags = flags
        """The header's flag word."""
        self._octets = octets

    def answer(
        self, code: int, body: bytes, *, authoritative: bool, site_serial: int, wall_s: float, clear: int = 0
    ) -> bytes:
        """The octets of Message.answer(), for a response code that means the same at every version."""
        octets = self._octets
        version = _version(octets[:4])
        flags = self.flags & _KEPT & ~clear
        if authoritative:
            flags |= _AUTH
        if flags & _RRDG:
            body_end = _BODY + int.from_bytes(octets[_BODY - 4 : _BODY], "big")
            body = digest_of(octets[ENVELOPE_OCTETS:body_end], version).encode() + body
        body_octets = len(body)
        head = _RESPONSE.pack(
            version[0],
            version[1],
            OUR_VERSION[0],
            OUR_VERSION[1],
            0,
            octets[_REQUEST_ID],
            0,
            HEADER_OCTETS + body_octets + 4,
            _RESOLUTION,
            code,
            flags,
            site_serial,
            octets[_RECURSION],
            0,
            min(int(wall_s) + ANSWER_LIFE_S, _U32_MAX),
            body_octets,
        )
        return b"%b%b%b" % (head, body, NO_CREDENTIAL)

    def values_body(self, values: bytes, count: int) -> bytes:
        """The body of an answer with so many values; the octets of ResolutionResponse.encode()."""
        octets = self._octets
        return b"%b%b%b" % (octets[_BODY : _HANDLE + len(self.handle)], count.to_bytes(4, "big"), values)


def short_request(octets: bytes) -> ShortRequest | None:
    """The usual resolution request that a message is, envelope included; None for any other, broken ones too."""
    size = len(octets)
    if size < _HANDLE or octets[2] & _ENVELOPE_FLAGS:
        return None
    session, sequence, rest, operation, code, flags, body, handle_octets = _REQUEST.unpack_from(octets)
    end = _BODY + body
    handle_end = _HANDLE + handle_octets
    if (
        session
        or sequence
        or operation != _RESOLUTION
        or code
        or flags & _CERT
        or rest != size - ENVELOPE_OCTETS
        or not 0 < handle_octets <= MAX_HANDLE_OCTETS
        or end < handle_end + 8
        or (size != end and octets[end:] != NO_CREDENTIAL)
    ):
        return None
    indexes: Sequence[int] = ()
    types: Sequence[str] = ()
    if end != handle_end + 8 or octets[handle_end:end] != _NO_FILTERS:
        try:
            question = ResolutionRequest.decode(octets[_BODY:end])
        except HandleError:
            return None
        indexes, types = question.indexes, question.types
    return ShortRequest(octets, octets[_HANDLE:handle_end], indexes, types, flags)


@lru_cache(maxsize=_VERSIONS_MAX)
def _version(start: bytes) -> Version:
    """The version of the answer to a request that starts with these four octets."""
    return answer_version(decode_envelope(start + bytes(ENVELOPE_OCTETS - 4)))
