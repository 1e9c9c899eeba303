"""The answer cache in pure Python: responses in a bounded table; see answer_cache.py for what it promises."""

import struct
from typing import Final

from protocol.codes import OpFlag
from protocol.generations import Generations, Stamp
from protocol.message import ANSWER_LIFE_S, DIGEST_OCTETS, ENVELOPE_OCTETS, HASHES, DigestAlgorithm
from protocol.transport.answer_cache import (
    BODY,
    ENTRY_OCTETS_MAX,
    OCTETS_MAX,
    is_cacheable_request,
    is_cacheable_response,
)
from protocol.transport.bounded_table import BoundedTable, TableEntry

_ENTRIES_MAX: Final = 2**31  # octets are what bounds it
_CONTENT_OCTETS: Final = 96  # the entry's own fields, its expiry and the header of its octets, by tracemalloc
_FLAGS_AT: Final = ENVELOPE_OCTETS + 8
_RECURSION: Final = 34
_SEQUENCE: Final = bytes(4)
_RESERVED: Final = b"\0"
_U32: Final = struct.Struct(">I")


class _Entry(TableEntry):
    """One answer. content: its stamp, then the whole response as it was first given."""

    __slots__ = ("content", "expires_s", "start", "validated")

    def __init__(self, content: bytes, start: int, expires_s: float) -> None:
        self.content = content
        self.start = start
        self.expires_s = expires_s
        self.validated = 0
        """The last_change of the generations at which the stamp was found current; 0 when it was not looked at."""


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
        self._generations = generations

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
        entry = self._table.get(key)
        if entry is None:
            return None
        start = entry.start
        if entry.expires_s <= now_s or (start and not self._is_current(entry)):
            self._table.remove(key)
            return None
        content = entry.content
        parts = (
            content[start : start + 8],
            request[8:12],
            _SEQUENCE,
            content[start + 16 : start + _RECURSION],
            request[_RECURSION : _RECURSION + 1],
            _RESERVED,
            _U32.pack(int(wall_s) + ANSWER_LIFE_S & 0xFFFF_FFFF),
            *_rest(content, start, request),
        )
        return b"".join(parts)

    def put(self, request: bytes, response: bytes, expires_s: float, stamp: Stamp | None = None) -> bool:
        """See AnswerCache."""
        if not (is_cacheable_request(request) and is_cacheable_response(response)):
            return False
        key = request[:8] + request[16:32] + request[40:]
        content = (stamp or b"") + response
        if len(key) + len(content) > ENTRY_OCTETS_MAX:
            return False
        entry = _Entry(content, len(content) - len(response), expires_s)
        return self._table.put(key, entry, len(content) + _CONTENT_OCTETS)

    def clear(self) -> None:
        """See AnswerCache."""
        self._table.clear()

    def _is_current(self, entry: _Entry) -> bool:
        """Whether nothing that the stamp covers was marked since; see Generations.last_change."""
        if self._generations is None:
            return True
        last_change = self._generations.last_change
        if entry.validated == last_change and last_change:
            return True
        if not self._generations.current(entry.content[: entry.start]):
            return False
        entry.validated = last_change
        return True


def _rest(content: bytes, start: int, request: bytes) -> tuple[bytes, ...]:
    """What follows the expiration: the body's length and the body, with this request's digest where there is one."""
    body = start + BODY
    if not content[start + _FLAGS_AT + 1] & _RRDG_OCTET:
        return (content[start + BODY - 4 :],)
    algorithm = DigestAlgorithm(content[body])
    asked = request[ENVELOPE_OCTETS : BODY + _U32.unpack_from(request, BODY - 4)[0]]
    digest = HASHES[algorithm](asked).digest()
    return content[start + BODY - 4 : body + 1], digest, content[body + 1 + DIGEST_OCTETS[algorithm] :]


_RRDG_OCTET: Final = OpFlag.RRDG >> 16 & 0xFF
