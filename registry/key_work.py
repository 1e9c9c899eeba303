"""Work with keys that takes a millisecond or more, in threads: bounded at once, in waiting, and from one network.

Whoever asks decides how much of it there is (the rounds of a derivation, challenges to be signed), so nobody may have
more than a share, and the event loop none of it.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final, TypeVar

from protocol.errors import HandleError

AT_ONCE: Final = 2
"""Threads: half of a small machine's cores at most, so that resolution goes on."""
WAITING_MAX: Final = 64
"""Pieces of work that wait for a thread: with 10,000 rounds each, about a quarter of a second's worth."""
WAITING_PER_SOURCE_MAX: Final = 16
"""Of these, for one source network: nobody keeps the others out."""
LIMIT: Final = "key_work"
"""What the metric of limits calls it."""

T = TypeVar("T")


class Crowded(HandleError):
    """Too much work with keys waits already, in all or for this network; nothing was done."""


class KeyWork:
    """The threads of one process."""

    def __init__(self, limit_reached: Callable[[str], None]) -> None:
        self._limit_reached = limit_reached
        self._threads = asyncio.Semaphore(AT_ONCE)
        self._waiting: Counter[str] = Counter()

    async def run(self, work: Callable[[], T], *, source: str) -> T:
        """Do a piece of work; source: the network that it is for. Raises Crowded, and whatever the work raises."""
        if self._waiting[source] >= WAITING_PER_SOURCE_MAX or self._waiting.total() >= WAITING_MAX:
            self._limit_reached(LIMIT)
            raise Crowded("too much work with keys is waiting")
        self._waiting[source] += 1
        try:
            async with self._threads:
                return await asyncio.to_thread(work)
        finally:
            self._waiting[source] -= 1
            if not self._waiting[source]:
                del self._waiting[source]
