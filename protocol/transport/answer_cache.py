"""The answer cache: encoded answers by the octets of the request, in front of every front end.

Key: the request without request id, sequence, site serial, recursion count and expiration (ARCHITECTURE §3.3), so that
version, flags, spelling, indexes and types are in it and the echo is right by construction. On the way out an entry
gets the request id and recursion count of this request, an expiration of now + 12 h and, for RRDG, its digest.

Eviction: entries leave in the order in which they came, but one that was asked for since is passed over once; a scan of
names that nobody asks for twice so does not push out what is in use.
"""

import struct
from collections.abc import Callable
from typing import Any, Final

from protocol.codes import OpFlag
from protocol.generations import Generations, Stamp
from protocol.message import (
    ANSWER_LIFE_S,
    DIGEST_OCTETS,
    ENVELOPE_OCTETS,
    HASHES,
    HEADER_OCTETS,
    NO_CREDENTIAL,
    DigestAlgorithm,
)

OCTETS_MAX: Final = 64 * 1_048_576
ENTRIES_MAX: Final = 262_144  # an entry costs about 700 octets beside its content
ENTRY_OCTETS_MAX: Final = 65_536  # a larger answer is rare, and cheap beside its transfer
_ENTRY_OVERHEAD_OCTETS: Final = 500  # by sys.getsizeof: dictionary slot, entry and five byte strings
_BODY: Final = ENVELOPE_OCTETS + HEADER_OCTETS
_RECURSION: Final = 34
_NO_SESSION: Final = bytes(4)
_ANY_ENVELOPE_FLAG: Final = 0xE0  # compressed, encrypted, one of several packets
_NEVER: Final = OpFlag.CERT | OpFlag.ENCR
_U32: Final = struct.Struct(">I")


class _Entry:
    __slots__ = (
        "asked",
        "body",
        "digest",
        "envelope_end",
        "envelope_start",
        "expires_s",
        "header",
        "octets",
        "stamp",
    )

    def __init__(self, response: bytes, octets: int, expires_s: float, stamp: Stamp | None) -> None:
        self.envelope_start = response[:8]
        self.envelope_end = bytes(4) + response[16:_RECURSION]
        self.header = response[40:_BODY]
        self.digest: Callable[..., Any] | None = None
        self.body = response[_BODY:]
        self.octets = octets
        self.expires_s = expires_s
        self.stamp = stamp
        self.asked = False
        if _U32.unpack_from(response, 28)[0] & OpFlag.RRDG:
            self._split_digest()

    def _split_digest(self) -> None:
        algorithm = DigestAlgorithm(self.body[0])
        self.digest = HASHES[algorithm]
        self.header += self.body[:1]
        self.body = self.body[1 + DIGEST_OCTETS[algorithm] :]


class AnswerCache:
    """Whole responses by request octets, bounded in octets and entries. It has no clock of its own.

    generations: where stamps are compared; without it, stamps are not.
    """

    def __init__(
        self,
        *,
        octets_max: int = OCTETS_MAX,
        entries_max: int = ENTRIES_MAX,
        generations: Generations | None = None,
    ) -> None:
        self._octets_max = octets_max
        self._entries_max = entries_max
        self._is_current = generations.current if generations is not None else _always
        self._entries: dict[bytes, _Entry] = {}
        self._octets = 0
        self.evicted = 0
        """Entries that left to make room."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def octets(self) -> int:
        """What the entries take, keys and overhead included."""
        return self._octets

    def get(self, request: bytes, now_s: float, wall_s: float) -> bytes | None:
        """The response to this request, or None. now_s: monotonic; wall_s: Unix time for the expiration."""
        key = request[:8] + request[16:32] + request[40:]
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires_s <= now_s or (entry.stamp is not None and not self._is_current(entry.stamp)):
            self._remove(key)
            return None
        entry.asked = True
        expiration = _U32.pack(int(wall_s) + ANSWER_LIFE_S & 0xFFFF_FFFF)
        recursion = request[_RECURSION : _RECURSION + 1] + b"\0"
        parts = [entry.envelope_start, request[8:12], entry.envelope_end, recursion, expiration, entry.header]
        if entry.digest is not None:
            body_end = _BODY + _U32.unpack_from(request, 40)[0]
            parts.append(entry.digest(request[ENVELOPE_OCTETS:body_end]).digest())
        parts.append(entry.body)
        return b"".join(parts)

    def put(self, request: bytes, response: bytes, expires_s: float, stamp: Stamp | None = None) -> bool:
        """Keeps a response until expires_s (monotonic) or until its stamp is old; False when it may not be kept."""
        if not (_is_cacheable_request(request) and _is_cacheable_response(response)):
            return False
        key = request[:8] + request[16:32] + request[40:]
        octets = len(key) + len(response) + _ENTRY_OVERHEAD_OCTETS
        if octets > min(ENTRY_OCTETS_MAX, self._octets_max):
            return False
        self._remove(key)
        while self._entries and (
            self._octets + octets > self._octets_max or len(self._entries) >= self._entries_max
        ):
            self._evict()
        self._entries[key] = _Entry(response, octets, expires_s, stamp)
        self._octets += octets
        return True

    def clear(self) -> None:
        """Forgets everything."""
        self._entries.clear()
        self._octets = 0

    def _remove(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._octets -= entry.octets

    def _evict(self) -> None:
        """Removes the oldest entry that nobody asked for since it was last passed over."""
        while True:
            key, entry = next(iter(self._entries.items()))
            self._remove(key)
            if not entry.asked:
                self.evicted += 1
                return
            entry.asked = False
            self._entries[key] = entry
            self._octets += entry.octets


def _always(stamp: Stamp) -> bool:
    return True


def _is_cacheable_request(request: bytes) -> bool:
    """Whether a request is whole, plain and alone: no session, credential, CERT, encryption, nor several packets."""
    if len(request) < _BODY or request[4:8] != _NO_SESSION or request[2] & _ANY_ENVELOPE_FLAG:
        return False
    if len(request) != ENVELOPE_OCTETS + _U32.unpack_from(request, 16)[0]:
        return False
    if _U32.unpack_from(request, 28)[0] & _NEVER:
        return False
    body_end = _BODY + _U32.unpack_from(request, 40)[0]
    return body_end <= len(request) and request[body_end:] in (b"", NO_CREDENTIAL)


def _is_cacheable_response(response: bytes) -> bool:
    """Whether the digest, if there is one, has the modern form: an octet that names its algorithm, then its octets."""
    if len(response) < _BODY or response[4:8] != _NO_SESSION or response[2] & _ANY_ENVELOPE_FLAG:
        return False
    if not _U32.unpack_from(response, 28)[0] & OpFlag.RRDG:
        return True
    digest_octets = DIGEST_OCTETS.get(response[_BODY]) if len(response) > _BODY else None
    return digest_octets is not None and len(response) > _BODY + digest_octets
