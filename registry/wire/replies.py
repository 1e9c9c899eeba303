"""Replies to administration, kept for a while: a retransmitted request gets the same reply and is not done again.

A request that is still being done is waited for. Source: PROTOCOL.md §10, 45.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from protocol.transport.base import Answer
from protocol.transport.source import source_network

KEPT_S: Final = (
    60.0  # clients repeat a datagram within three seconds, and a request over a new connection later
)
ENTRIES_MAX: Final = 8_192
ENTRIES_PER_SOURCE_MAX: Final = (
    1_024  # of one source network: a wrong proof has a reply too, and costs little
)
OCTETS_MAX: Final = 16 * 1_048_576  # an answer has two hundred octets, but for records that are read
OCTETS_PER_SOURCE_MAX: Final = 4 * 1_048_576  # and of one source network
ENTRY_OCTETS: Final = 400  # what an entry weighs beside its octets
STORED_REPLIES: Final = "stored_replies"
STORED_REPLIES_PER_SOURCE: Final = "stored_replies_per_source"
"""Names of the limits."""

Key = tuple[str, int, int, bytes]
"""See challenges.fingerprint()."""


@dataclass(slots=True)
class _Share:
    """What a source network has in the store, the oldest first."""

    keys: OrderedDict[Key, None]
    octets: int = 0


class StoredReplies:
    """The replies of one process. Where there is no room, the oldest goes: that of the source, or of all."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        on_limit: Callable[[str], None],
        kept_s: float = KEPT_S,
        entries_max: int = ENTRIES_MAX,
        per_source_max: int = ENTRIES_PER_SOURCE_MAX,
        octets_max: int = OCTETS_MAX,
        octets_per_source_max: int = OCTETS_PER_SOURCE_MAX,
    ) -> None:
        """clock: monotonic seconds. on_limit: told of each reply that went before its time."""
        self._clock = clock
        self._on_limit = on_limit
        self._kept_s = kept_s
        self._entries_max = entries_max
        self._per_source_max = per_source_max
        self._octets_max = octets_max
        self._octets_per_source_max = octets_per_source_max
        self._shares: dict[str, _Share] = {}
        self._working: dict[Key, asyncio.Future[Answer]] = {}
        self._kept: OrderedDict[Key, tuple[float, bytes]] = OrderedDict()
        self._octets = 0

    def __len__(self) -> int:
        return len(self._kept)

    async def once(
        self,
        key: Key,
        work: Callable[[], Awaitable[Answer]],
        *,
        is_kept: Callable[[Answer], bool] = lambda _: True,
    ) -> Answer:
        """The reply to a request: what work gives, or what it gave before.

        Raises what work raises, which is not kept. An answer of several messages is not kept either, nor one of which
        is_kept says no.
        """
        self._expire()
        kept = self._kept.get(key)
        if kept is not None:
            return Answer(octets=kept[1])
        working = self._working.get(key)
        if working is not None:
            return Answer(octets=(await asyncio.shield(working)).octets)
        working = self._working[key] = asyncio.get_running_loop().create_future()
        try:
            answer = await work()
        except BaseException as error:
            working.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())
            working.exception()  # whether somebody waits or not
            raise
        else:
            working.set_result(answer)
            if answer.more is None and is_kept(answer):
                self._keep(key, answer.octets)
            return answer
        finally:
            del self._working[key]

    def _keep(self, key: Key, octets: bytes) -> None:
        self._kept[key] = (self._clock() + self._kept_s, octets)
        share = self._shares.setdefault(source_network(key[0]), _Share(OrderedDict()))
        share.keys[key] = None
        share.octets += len(octets) + ENTRY_OCTETS
        self._octets += len(octets) + ENTRY_OCTETS
        while len(share.keys) > self._per_source_max or share.octets > self._octets_per_source_max:
            self._drop(next(iter(share.keys)))
            self._on_limit(STORED_REPLIES_PER_SOURCE)
        while len(self._kept) > self._entries_max or self._octets > self._octets_max:
            self._drop(next(iter(self._kept)))
            self._on_limit(STORED_REPLIES)

    def _expire(self) -> None:
        now_s = self._clock()
        while self._kept and next(iter(self._kept.values()))[0] <= now_s:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Key) -> None:
        octets = len(self._kept.pop(key)[1]) + ENTRY_OCTETS
        network = source_network(key[0])
        share = self._shares[network]
        del share.keys[key]
        share.octets -= octets
        self._octets -= octets
        if not share.keys:
            del self._shares[network]
