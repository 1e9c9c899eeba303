"""A connection of its own for reads of handles by key: no pool to ask, two prepared statements, plans made once."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from registry.reads import PublicRow

IDLE_MAX_S: Final = 300.0
"""A connection that was idle for longer is opened anew, as in the pool: firewalls forget them without a word."""
CLOSE_WAIT_S: Final = 1.0
LANE_SETTINGS: Final = {"plan_cache_mode": "force_generic_plan"}
"""Measured, planning for known keys, over sixteen partitions, costs two to ten times the read itself."""
_COLUMNS: Final = "key, public_values, public_count, state, restricted_count"
READ_ONE: Final = f"SELECT {_COLUMNS} FROM handles WHERE key = $1"  # noqa: S608 - columns of our own
READ_MANY: Final = f"""
    SELECT h.* FROM unnest($1::bytea[]) AS asked (key) CROSS JOIN LATERAL (
        SELECT {_COLUMNS} FROM handles WHERE key = asked.key OFFSET 0) AS h"""  # noqa: S608
"""Asked so that each key is looked for in its own partition alone; `= ANY ($1)` looks for every key in all of them."""

Connect = Callable[[float], Awaitable["asyncpg.Connection[asyncpg.Record]"]]
"""Opens a connection within so many seconds."""


class ReadLane:
    """One connection, opened when it is needed, and again after it was lost."""

    def __init__(self, connect: Connect, outage: Callable[[BaseException], BaseException]) -> None:
        """outage: turns what asyncpg raises for a database that is gone into StoreUnavailable."""
        self._connect = connect
        self._outage = outage
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._used_s = 0.0
        self._one: PreparedStatement[PublicRow]
        self._many: PreparedStatement[PublicRow]

    async def fetch(self, keys: Sequence[bytes], within_s: float) -> Sequence[PublicRow]:
        """See Lane."""
        now_s = time.monotonic()
        connection = self._connection
        try:
            if connection is None or connection.is_closed() or now_s - self._used_s > IDLE_MAX_S:
                async with asyncio.timeout(within_s):
                    await self._open(within_s)
                within_s -= time.monotonic() - now_s
            self._used_s = now_s
            if len(keys) == 1:
                return await self._one.fetch(keys[0], timeout=within_s)
            return await self._many.fetch(keys, timeout=within_s)
        except BaseException as error:
            self._abandon()  # it may be stuck, or its plans may be of an old schema
            raise self._outage(error) from error

    async def close(self) -> None:
        """See Lane."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await connection.close(timeout=CLOSE_WAIT_S)

    async def _open(self, within_s: float) -> None:
        self._abandon()
        connection = self._connection = await self._connect(within_s)
        self._one = await connection.prepare(READ_ONE, record_class=PublicRow)
        self._many = await connection.prepare(READ_MANY, record_class=PublicRow)

    def _abandon(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
