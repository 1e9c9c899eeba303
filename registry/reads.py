"""Reads of one tick of the event loop share one statement.

Under load the cost of a read is its round trip; measured, 32 keys in one statement are read five times as fast as one
by one. A read never joins a statement that has already started: what it is asked for might have changed since.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from registry.writing import Row

KEYS_MAX: Final = 128
"""Keys of one statement; beyond, answers would wait for each other longer than for the database."""

ReadOne = Callable[[bytes], Awaitable[Row | None]]
ReadMany = Callable[[Sequence[bytes]], Awaitable[dict[bytes, Row]]]


class SharedReads:
    """Gathers the keys asked for in one tick; equal keys are read once."""

    def __init__(self, read_one: ReadOne, read_many: ReadMany) -> None:
        self._read_one = read_one
        self._read_many = read_many
        self._waiting: dict[bytes, asyncio.Future[Row | None]] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def read(self, key: bytes) -> Row | None:
        """The row, read by a statement that starts after this call. Raises what the statement raises."""
        future = self._waiting.get(key)
        if future is None:
            loop = asyncio.get_running_loop()
            if not self._waiting:
                loop.call_soon(self._start)
            future = self._waiting[key] = loop.create_future()
        return await asyncio.shield(future)  # one reader that gives up must not end the others' read

    async def close(self) -> None:
        """Wait until what was asked for is answered."""
        while self._running or self._waiting:
            await asyncio.sleep(0)
            await asyncio.gather(*self._running)

    def _start(self) -> None:
        waiting, self._waiting = list(self._waiting.items()), {}
        for first in range(0, len(waiting), KEYS_MAX):
            task = asyncio.create_task(self._run(dict(waiting[first : first + KEYS_MAX])))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _run(self, asked: dict[bytes, asyncio.Future[Row | None]]) -> None:
        try:
            rows = await self._rows(list(asked))
        except BaseException as error:  # whatever it is, it is the readers' answer
            for future in asked.values():
                _fail(future, error)
            if not isinstance(error, Exception):
                raise
            return
        for key, future in asked.items():
            if not future.done():
                future.set_result(rows.get(key))

    async def _rows(self, keys: list[bytes]) -> dict[bytes, Row]:
        if len(keys) > 1:
            return await self._read_many(keys)
        row = await self._read_one(keys[0])
        return {} if row is None else {keys[0]: row}


def _fail(future: "asyncio.Future[Row | None]", error: BaseException) -> None:
    if future.done():
        return
    if isinstance(error, asyncio.CancelledError):
        future.cancel()
        return
    future.set_exception(error)
    future.exception()  # a reader that has given up leaves nobody to look at it
