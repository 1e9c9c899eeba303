"""The answer cache in pure Python: responses in a bounded table; see answer_cache.py for what it promises."""

import struct
from collections.abc import Sequence
from typing import Final

from protocol.codes import OpFlag
from protocol.generations import Generations, Stamp
from protocol.message import ANSWER_LIFE_S, ENVELOPE_OCTETS, HASHES, DigestAlgorithm
from protocol.transport.answer_cache import (
    BODY,
    ENTRY_OCTETS_MAX,
    OCTETS_MAX,
    is_cacheable_request,
    is_cacheable_response,
)
from protocol.transport.bounded_table import ASKED_MAX, BoundedTable, TableEntry

_ENTRIES_MAX: Final = 2**31  # octets are what bounds it
_CONTENT_OCTETS: Final = (
    128  # the entry's own fields, its expiry, the headers of stamp and octets, by tracemalloc
)
_RRDG_AT: Final = ENVELOPE_OCTETS + 9
_RRDG_OCTET: Final = OpFlag.RRDG >> 16 & 0xFF
_RECURSION: Final = 34
_LENGTH: Final = BODY - 4
_RESERVED: Final = bytes(2)
_U32: Final = struct.Struct(">I")


class _Entry(TableEntry):
    """One answer: the whole response as it was first given, with its stamp behind it."""

    __slots__ = ("content", "expires_s", "stamp_octets", "validated")

    def __init__(self, response: bytes, expires_s: float, stamp: Stamp | None) -> None:
        self.content = response + stamp if stamp else response
        self.expires_s = expires_s
        self.stamp_octets = len(stamp) if stamp else 0
        self.validated = 0
        """The last_change of the generations at which the stamp was found current."""


class AnswerTable:
    """See AnswerCache.

    generations: where stamps are compared; without it, stamps are not. entries_max: for tests.
    """

    def __init__(
        self,
        *,
        octets_max: int = OCTETS_MAX,
        entries_max: int | None = None,
        generations: Generations | None = None,
    ) -> None:
        self._table: BoundedTable[_Entry] = BoundedTable(
            octets_max=octets_max, entries_max=entries_max or _ENTRIES_MAX
        )
        self._find = self._table.entries.get
        self._generations = generations
        self._changes: Sequence[int] | memoryview = (0,) if generations is None else generations.changes
        self._last_change = 0
        self._tail, self._tail_until_s = b"", 0

    def __len__(self) -> int:
        return len(self._table)

    @property
    def octets(self) -> int:
        """See AnswerCache."""
        return self._table.octets

    @property
    def evicted(self) -> int:
        """See AnswerCache."""
        return self._table.evicted

    def get(self, request: bytes, now_s: float, wall_s: float) -> bytes | None:
        """See AnswerCache."""
        key = request[:8] + request[16:32] + request[40:]
        entry = self._find(key)
        if entry is None:
            return None
        if entry.expires_s <= now_s or (entry.validated != self._changes[0] and not self._is_current(entry)):
            self._table.remove(key)
            return None
        if entry.asked < ASKED_MAX:
            entry.asked += 1
        if wall_s >= self._tail_until_s or wall_s < self._tail_until_s - 1:
            self._make_tail(wall_s)
        content = entry.content
        tail = (
            self._tail if not request[_RECURSION] else request[_RECURSION : _RECURSION + 1] + self._tail[1:]
        )
        rest = content[_LENGTH : len(content) - entry.stamp_octets]
        if content[_RRDG_AT] & _RRDG_OCTET:
            rest = _with_digest(rest, request)
        return b"".join((content[:8], request[8:12], content[12:_RECURSION], tail, rest))

    def put(self, request: bytes, response: bytes, expires_s: float, stamp: Stamp | None = None) -> bool:
        """See AnswerCache."""
        if not (is_cacheable_request(request) and is_cacheable_response(response)):
            return False
        key = request[:8] + request[16:32] + request[40:]
        octets = len(response) + len(stamp or b"")
        if len(key) + octets > ENTRY_OCTETS_MAX:
            return False
        return self._table.put(key, _Entry(response, expires_s, stamp), octets + _CONTENT_OCTETS)

    def clear(self) -> None:
        """See AnswerCache."""
        self._table.clear()

    def _is_current(self, entry: _Entry) -> bool:
        """Whether nothing that the stamp covers was marked since; see Generations.last_change."""
        last_change = self._changes[0]
        if last_change == self._last_change:
            last_change = self._last_change  # one number for all entries, not one of thirty octets for each
        self._last_change = last_change
        if entry.stamp_octets and self._generations is not None:
            stamp = entry.content[-entry.stamp_octets :]
            if not self._generations.current(stamp):
                return False
        entry.validated = last_change
        return True

    def _make_tail(self, wall_s: float) -> None:
        """What stands between the site serial and the body's length: recursion count 0, reserved, the expiration."""
        self._tail_until_s = int(wall_s) + 1
        self._tail = _RESERVED + _U32.pack(int(wall_s) + ANSWER_LIFE_S & 0xFFFF_FFFF)


def _with_digest(rest: bytes, request: bytes) -> bytes:
    """The body's length and the body, with the digest of this very request."""
    algorithm = DigestAlgorithm(rest[4])
    asked = request[ENVELOPE_OCTETS : BODY + _U32.unpack_from(request, _LENGTH)[0]]
    digest: bytes = HASHES[algorithm](asked).digest()
    return rest[:5] + digest + rest[5 + len(digest) :]
