"""Store: all SQL about handles and prefixes; one method per question.

Reads take a connection for one statement. Writes happen inside `Store.writing()`: one transaction, committed when its
block ends; only then may anything be acknowledged. Every outage of the database becomes StoreUnavailable.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, Self, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from protocol.errors import SettingsError, StoreUnavailable
from protocol.statuses import Status, StatusText
from registry.database import check_connection
from registry.lookups import LookupTypes
from registry.prefixes import PrefixRow
from registry.read_lane import LANE_SETTINGS, ReadLane
from registry.reads import LANES_MAX, PublicRow, SharedReads
from registry.writing import (
    FIND_PREFIXES,
    LIST_PREFIX,
    NO_LOOKUPS,
    READ,
    Row,
    Writing,
    find_rows,
    prefix_rows_by_key,
    rows_in_order,
)

ACQUIRE_WAIT_S: Final = 5.0
"""How long a request waits for a connection: longer, and its client has given up."""
STATEMENT_WAIT_S: Final = 60.0
"""How long one statement may take before the database counts as gone; a batch of 10,000 rows takes under a second."""
SESSION_SETTINGS: Final = {"enable_seqscan": "off", "jit": "off"}
"""Every question is asked by key, but a plan made while a table is empty would read it all, and stay cached."""

_OUTAGES: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.DeadlockDetectedError,
    asyncpg.PostgresSystemError,
)

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"


@contextmanager
def outages() -> Iterator[None]:
    """Turn what asyncpg raises for a database that is gone, full or stopping into StoreUnavailable."""
    try:
        yield
    except _OUTAGES as error:
        raise outage(error) from error


def outage(error: BaseException) -> BaseException:
    """The StoreUnavailable that an outage is; any other error as it is."""
    if not isinstance(error, _OUTAGES):
        return error
    return StoreUnavailable(f"the database does not answer: {str(error) or type(error).__name__}")


class Store:
    """The database of one node, behind a pool of connections."""

    def __init__(
        self,
        pool: "asyncpg.Pool[asyncpg.Record]",
        reads: SharedReads,
        on_wait: Callable[[float], None] | None = None,
        lookups: LookupTypes = NO_LOOKUPS,
    ) -> None:
        self.lookups = lookups
        """Types whose values are written down so that handles are found by them."""
        self.reads = reads
        """What everybody may know of handles, for many who ask at once."""
        self._pool = pool
        self._on_wait = on_wait

    @classmethod
    async def open(
        cls,
        dsn: str,
        *,
        connections_min: int = 1,
        connections_max: int = 10,
        unsafe: bool = False,
        on_wait: Callable[[float], None] | None = None,
        on_busy: Callable[[], None] | None = None,
        lookups: LookupTypes = NO_LOOKUPS,
    ) -> Self:
        """Connect to Postgres 15-18.

        connections_max: of the pool; reads have LANES_MAX connections of their own, opened when they are needed.
        unsafe: accept a server that may lose acknowledged writes; otherwise every new connection is checked.
        on_wait: told how many seconds each request, or statement of shared reads, waited for a connection.
        on_busy: told of every read that was refused since too many wait.
        lookups: types whose values are written down so that handles are found by them.
        Raises StoreUnavailable, or SettingsError for a database that we refuse.
        """
        settings = {"application_name": "handlegrid", **SESSION_SETTINGS}

        opened = False

        async def check(connection: "asyncpg.Connection[asyncpg.Record] | Connection") -> None:
            try:
                await check_connection(connection, unsafe=unsafe)
            except SettingsError as error:
                if (
                    opened
                ):  # the settings have worked: a standby that takes over, say, is an outage and no fault
                    raise StoreUnavailable("; ".join(error.faults)) from error
                raise

        async def connect(within_s: float) -> "asyncpg.Connection[asyncpg.Record]":
            connection = await asyncpg.connect(
                dsn,
                timeout=within_s,
                command_timeout=within_s,
                server_settings={**settings, **LANE_SETTINGS},
            )
            try:
                await check(connection)
            except BaseException:
                connection.terminate()
                raise
            return connection

        with outages():
            pool = await asyncpg.create_pool(
                dsn,
                min_size=min(connections_min, connections_max),
                max_size=connections_max,
                init=check,
                reset=_leave_as_is,
                command_timeout=STATEMENT_WAIT_S,
                timeout=ACQUIRE_WAIT_S,
                server_settings=settings,
            )
        opened = True
        lanes = [ReadLane(connect, outage) for _ in range(LANES_MAX)]
        return cls(pool, SharedReads(lanes, on_wait=on_wait, on_busy=on_busy), on_wait, lookups)

    async def close(self) -> None:
        """Close every connection, after what is running has ended; at once when the database hangs."""
        await self.reads.close()
        try:
            await self._pool.close()
        except _OUTAGES:
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection for a few statements. Raises StoreUnavailable, also for what happens in the block."""
        with outages():
            started_s = time.monotonic()
            async with self._pool.acquire(timeout=ACQUIRE_WAIT_S) as connection:
                if self._on_wait:
                    self._on_wait(time.monotonic() - started_s)
                yield connection

    @asynccontextmanager
    async def writing(self, *, commit: bool = True) -> AsyncIterator[Writing]:
        """One transaction; committed when the block ends, rolled back when it raises or commit is False.

        Raises StoreUnavailable when the database does not confirm the commit: it may or may not have happened.
        """
        async with self.connection() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                yield Writing(connection, self.lookups)
            except BaseException:
                await transaction.rollback()
                raise
            if commit:
                await transaction.commit()
            else:
                await transaction.rollback()

    async def ping(self) -> None:
        """Ask the database for nothing. Raises StoreUnavailable."""
        async with self.connection() as connection:
            await connection.execute("SELECT")

    async def read(self, key: bytes) -> Row | None:
        """The row of a handle, deleted or not; None when there never was one."""
        async with self.connection() as connection:
            record = await connection.fetchrow(READ, key)
        return None if record is None else Row(*record)

    async def read_public(self, key: bytes) -> PublicRow | None:
        """The same, without what only its administrators may know; cheaper, and shared with others who ask."""
        return await self.reads.read(key)

    async def find(self, keys: Sequence[bytes]) -> dict[bytes, Row]:
        """The rows of those handles that have one; the same question as in a transaction."""
        return await self.read_many(keys)

    async def read_many(self, keys: Sequence[bytes]) -> dict[bytes, Row]:
        """The rows of those handles that have one."""
        async with self.connection() as connection:
            return await find_rows(connection, keys)

    async def prefix_rows(self, keys: Sequence[bytes]) -> dict[bytes, PrefixRow]:
        """What the node knows of those folded prefixes of which it knows anything."""
        async with self.connection() as connection:
            return prefix_rows_by_key(await connection.fetch(FIND_PREFIXES, keys))

    async def list_prefix(self, prefix: bytes, *, after: bytes | None = None, limit: int) -> list[Row]:
        """Rows of one folded prefix in ascending order of keys, those of deleted handles among them.

        after: the key of the last row that was seen; None begins.
        """
        async with self.connection() as connection:
            return rows_in_order(await connection.fetch(LIST_PREFIX, prefix, after or b"", limit))

    async def suspension_text(self, key: bytes) -> str:
        """What clients are told of a suspended handle."""
        query = "SELECT actor, since_ms, reason FROM handle_states WHERE key = $1"
        async with self.connection() as connection:
            record = await connection.fetchrow(query, key)
        if record is None:
            return str(Status.SUSPENDED)
        actor, since_ms, reason = record
        return str(StatusText(status=Status.SUSPENDED, by=actor, since_s=since_ms // 1_000, reason=reason))

    async def fact(self, name: str) -> bytes | None:
        """A small fact of the node, or None."""
        async with self.connection() as connection:
            value: Any = await connection.fetchval("SELECT value FROM node WHERE name = $1", name)
        return value if isinstance(value, bytes) else None

    async def put_fact(self, name: str, value: bytes) -> None:
        """Store a small fact of the node."""
        query = "INSERT INTO node VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        async with self.connection() as connection:
            await connection.execute(query, name, value)


async def _leave_as_is(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Spare the round trip that would reset a session: we never change one outside a transaction."""
