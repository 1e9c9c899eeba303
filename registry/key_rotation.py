"""Rotation of the node key: a new key seals from now on, everything is sealed again with it, the old one is retired.

The key file is written before anything is sealed with a new key, and an old key leaves it only when no row needs it.
Processes that run notice the file within LOOK_EVERY_S, or at once when they meet the number of a key they do not know;
before rows are looked through, every transaction has ended in which somebody may still have sealed with the old key.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from protocol.errors import HandleError
from registry.database import is_drained
from registry.node_keys import LOOK_EVERY_S, NodeKeys, load_node_keys
from registry.operations import Operations
from registry.outcomes import COMMAND
from registry.resealing import Resealed, remaining, reseal, tally
from registry.seal import Sealer
from registry.secret_files import write_secret_file

LOCK_KEY: Final = 0x73_65_61_6C_65_64  # "sealed"; one rotation at a time in a database
SETTLE_S: Final = 2 * LOOK_EVERY_S
"""After a new key file: every process has looked, and what it sealed before is in a transaction that has begun."""
DRAIN_WAIT_S: Final = 60.0
"""How long to wait for such transactions; as long as a statement may take."""
DRAIN_POLL_S: Final = 0.1


class RotationRefused(HandleError):
    """The keys stay as they are; the text says why, and what helps."""


class KeyRotation:
    """The node key of an open node, on the host of its key file."""

    def __init__(self, operations: Operations, path: Path, *, settle_s: float = SETTLE_S) -> None:
        """Prepare. path: the key file. settle_s: how long other processes take to notice it."""
        self._operations = operations
        self._store = operations.context.store
        self._path = path
        self._settle_s = settle_s

    async def show(self) -> dict[str, Any]:
        """The keys by number, what each is for, and how many rows of which table it has sealed."""
        keys = load_node_keys(self._path)
        rows = await tally(self._store)
        return {
            "seals": keys.seals,
            "keys": [
                {"key": number, "in_file": number in keys.keys, "rows": rows.get(number, {})}
                for number in sorted({*keys.keys, *rows})
            ],
        }

    async def prepare(self) -> int:
        """Put a new key into the file that does not seal yet; gives its number. For nodes on several hosts."""
        async with self._alone():
            keys = load_node_keys(self._path)
            if keys.prepared is None:
                keys = keys.with_new_key()
                write_secret_file(self._path, keys.encode())
            return max(keys.keys)

    async def rotate(
        self, advanced: Callable[[Resealed], None], *, new_key: bool = False
    ) -> tuple[int, Resealed]:
        """Let a new key seal, unless a rotation is under way, and seal everything again with it.

        Gives the key's number and what was done. Safe to repeat, wherever it ended; advanced: see reseal.
        new_key: begin anew even while rows are left of an earlier rotation, such as rows that do not open.
        Raises RotationRefused, SettingsError or StoreUnavailable.
        """
        async with self._alone():
            keys = await self._sealing_key(new_key=new_key)
            await self._settle()
            sealer = Sealer.of_file(self._path)
            return keys.seals, await reseal(self._store, sealer, seals=keys.seals, advanced=advanced)

    async def retire(self) -> tuple[int, ...]:
        """Forget the keys that only open; gives their numbers. Raises RotationRefused while a row needs one."""
        async with self._alone():
            keys = load_node_keys(self._path)
            await self._settle()
            for number in keys.retiring:
                rows = await remaining(self._store, number)
                if rows:
                    raise RotationRefused(
                        f"{rows:,} rows are sealed with key {number}; run `handlegrid nodekey rotate` until none is"
                    )
            if keys.retiring:
                write_secret_file(self._path, keys.retired().encode())
                await self._note("node_key.retire", keys.retiring[-1])
            return keys.retiring

    async def _sealing_key(self, *, new_key: bool) -> NodeKeys:
        """The keys, of which the one that everything shall be sealed with seals already."""
        keys = load_node_keys(self._path)
        if keys.prepared is None:
            if not new_key and await self._is_under_way(keys):
                return keys
            keys = keys.with_new_key()
        assert keys.prepared is not None
        keys = keys.sealing_with(keys.prepared)
        write_secret_file(self._path, keys.encode())
        await self._note("node_key.rotate", keys.seals)
        return keys

    async def _is_under_way(self, keys: NodeKeys) -> bool:
        """Whether an earlier rotation did not come to its end."""
        for number in keys.retiring:
            if await remaining(self._store, number):
                return True
        return False

    async def _settle(self) -> None:
        """Wait until nobody can still write what he has sealed with an old key. Raises RotationRefused."""
        await asyncio.sleep(self._settle_s)
        drains: dict[str, datetime] = {}
        try:
            async with asyncio.timeout(DRAIN_WAIT_S), self._store.connection() as connection:
                while not await is_drained(connection, drains, "node key"):  # noqa: ASYNC110
                    await asyncio.sleep(DRAIN_POLL_S)
        except TimeoutError:
            raise RotationRefused(
                f"a transaction of this node has been open for over {DRAIN_WAIT_S:.0f} s, and may still write what it"
                " has sealed with an old key; let it end and run the command again"
            ) from None

    async def _note(self, action: str, number: int) -> None:
        async with self._operations.transaction(COMMAND) as transaction:
            transaction.audit(action, "node", detail={"key": number})

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """For the duration of the block nobody else changes the keys. Raises RotationRefused."""
        async with self._store.connection() as connection:
            if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY):
                raise RotationRefused("the node key is being rotated by another process; wait for its end")
            try:
                yield
            finally:
                if not connection.is_closed():
                    await connection.execute("SELECT pg_advisory_unlock($1)", LOCK_KEY)
