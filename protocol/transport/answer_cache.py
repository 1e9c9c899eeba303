"""What an answer cache is, in front of every front end, and which requests and responses it may keep.

Key: the request without request id, sequence, site serial, recursion count and expiration (ARCHITECTURE §3.3), so that
version, flags, spelling, indexes and types are in it and the echo is right by construction. On the way out an entry
gets the request id and recursion count of this request, an expiration of now + 12 h and, for RRDG, its digest.

There are two: answer_table.AnswerTable in pure Python, and the compiled one (fast_path.py chooses).
"""

import struct
from typing import Final, Protocol

from protocol.codes import OpFlag
from protocol.generations import Stamp
from protocol.message import DIGEST_OCTETS, ENVELOPE_OCTETS, HEADER_OCTETS, NO_CREDENTIAL

OCTETS_MAX: Final = 64 * 1_048_576
ENTRY_OCTETS_MAX: Final = 65_536  # a larger answer is rare, and cheap beside its transfer
BODY: Final = ENVELOPE_OCTETS + HEADER_OCTETS
_NO_SESSION: Final = bytes(4)
_NO_CODE: Final = bytes(4)
_FIRST_PACKET: Final = bytes(4)
_ANY_ENVELOPE_FLAG: Final = 0xE0  # compressed, encrypted, one of several packets
_NEVER: Final = int(OpFlag.CERT | OpFlag.ENCR)  # a number: combining with a flag makes an object each time
_RRDG: Final = int(OpFlag.RRDG)
_U32: Final = struct.Struct(">I")


class AnswerCache(Protocol):
    """Whole responses by request octets, bounded in octets. It has no clock of its own."""

    def __len__(self) -> int: ...

    @property
    def evicted(self) -> int:
        """Entries that left to make room."""

    @property
    def octets(self) -> int:
        """What the entries take, keys and overhead included."""

    def get(self, request: bytes, now_s: float, wall_s: float, /) -> bytes | None:
        """The response to this request, or None. now_s: monotonic; wall_s: Unix time for the expiration."""

    def put(self, request: bytes, response: bytes, expires_s: float, stamp: Stamp | None = None, /) -> bool:
        """Keeps a response until expires_s (monotonic) or until its stamp is old; False when it may not be kept.

        stamp: the generations of what the response was made from, as they were before that was read.
        """

    def clear(self) -> None:
        """Forgets everything."""


def is_cacheable_request(request: bytes) -> bool:
    """Whether a request is whole, plain and alone: no session, credential, CERT, encryption, nor several packets."""
    if len(request) < BODY or request[4:8] != _NO_SESSION or request[2] & _ANY_ENVELOPE_FLAG:
        return False
    if request[24:28] != _NO_CODE:
        return False  # two servers might answer each other for ever
    if len(request) != ENVELOPE_OCTETS + _U32.unpack_from(request, 16)[0]:
        return False
    if _U32.unpack_from(request, 28)[0] & _NEVER:
        return False
    body_end = BODY + _U32.unpack_from(request, 40)[0]
    return body_end <= len(request) and request[body_end:] in (b"", NO_CREDENTIAL)


def is_cacheable_response(response: bytes) -> bool:
    """Whether a response is whole and plain, and its digest, if there is one, has the modern form.

    That is an octet that names the algorithm, then the digest's octets.
    """
    if len(response) < BODY or response[4:8] != _NO_SESSION or response[2] & _ANY_ENVELOPE_FLAG:
        return False
    if response[12:16] != _FIRST_PACKET:
        return False
    if not _U32.unpack_from(response, 28)[0] & _RRDG:
        return True
    digest_octets = DIGEST_OCTETS.get(response[BODY]) if len(response) > BODY else None
    return digest_octets is not None and len(response) > BODY + digest_octets
