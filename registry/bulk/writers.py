"""Batches on their way into the database: two at once, so that neither the database nor the parser waits.

Rows of one handle are written in the order of the file: a batch that names a handle of a batch under way waits.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from registry.bulk.rows import Row

WRITERS_MAX: Final = 2  # one transaction waits for the disk, the other is encoded; a third gains nothing

Write = Callable[[Sequence[Row], int], Awaitable[None]]
"""Writes a batch; the number says how many octets of the file are read."""


class Writers:
    """The batches under way, oldest first. What a write raises is raised by a later call."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._under_way: deque[tuple[asyncio.Task[None], frozenset[bytes]]] = deque()

    async def submit(self, batch: Sequence[Row], read_octets: int) -> None:
        """Begin to write a batch, as soon as there is room."""
        keys = frozenset(row.creation.handle.key for row in batch)
        while len(self._under_way) >= WRITERS_MAX or self._touches(keys):
            await self._oldest()
        task = asyncio.create_task(self._run(batch, read_octets), name="import batch")
        self._under_way.append((task, keys))

    async def drain(self) -> None:
        """Wait until every batch is written."""
        while self._under_way:
            await self._oldest()

    async def abandon(self) -> None:
        """Cancel what is under way, and wait until it has ended."""
        tasks = [task for task, _ in self._under_way]
        self._under_way.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _touches(self, keys: frozenset[bytes]) -> bool:
        return not all(keys.isdisjoint(others) for _, others in self._under_way)

    async def _oldest(self) -> None:
        await self._under_way[0][0]
        self._under_way.popleft()

    async def _run(self, batch: Sequence[Row], read_octets: int) -> None:
        await self._write(batch, read_octets)
