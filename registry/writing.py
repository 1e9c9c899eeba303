"""Writing: the statements of one write transaction, over batches.

Locks are always taken in ascending order of keys, so that writers with overlapping batches wait for each other and
never in a circle. Only COPY inserts in an order of its own (it gathers rows per partition); it therefore gives up after
COPY_LOCK_WAIT, undoes itself, and the same rows go the ordered way.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from operator import itemgetter
from typing import Any, Final

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from protocol.value import ValueList

COPY_ROWS_MIN: Final = 32
"""From here on COPY beats INSERT; measured, both take the same at 32 rows, and COPY 0.6 of the time from 256 on."""
COPY_LOCK_WAIT: Final = "100ms"
"""How long COPY waits for another writer of the same key; well under the server's deadlock_timeout of a second."""

_ROW_COLUMNS: Final = (
    "key", "name", "prefix", "public_values", "public_count", "restricted_values", "restricted_count",
    "version", "changed_ms",
)  # fmt: skip
_LOG_COLUMNS: Final = ("key", "name", "action", "version", "changed_ms")
_READ_LOCKED: Final = """
    SELECT key, name, public_values, public_count, restricted_values, restricted_count, state, version, changed_ms
    FROM handles WHERE key = ANY ($1::bytea[]) ORDER BY key FOR UPDATE"""
FIND: Final = """
    SELECT h.* FROM unnest($1::bytea[]) AS asked (key) CROSS JOIN LATERAL (
        SELECT key, name, public_values, public_count, restricted_values, restricted_count, state, version, changed_ms
        FROM handles WHERE key = asked.key OFFSET 0) AS h"""
_INSERT: Final = """
    INSERT INTO handles (key, name, prefix, public_values, public_count, restricted_values, restricted_count,
        version, changed_ms)
    SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bytea[], $5::int[], $6::bytea[], $7::int[],
        $8::bigint[], $9::bigint[]) AS fresh (key) ORDER BY key
    ON CONFLICT (key) DO NOTHING RETURNING key"""
_UPDATE: Final = """
    UPDATE handles SET name = given.name, public_values = given.public_values, public_count = given.public_count,
        restricted_values = given.restricted_values, restricted_count = given.restricted_count, state = given.state,
        version = given.version, changed_ms = given.changed_ms
    FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::int[], $5::bytea[], $6::int[], $7::smallint[], $8::bigint[],
        $9::bigint[]) AS given (key, name, public_values, public_count, restricted_values, restricted_count, state,
        version, changed_ms)
    WHERE handles.key = given.key"""
_LOG: Final = """
    INSERT INTO transaction_log (key, name, action, version, changed_ms)
    SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::smallint[], $4::bigint[], $5::bigint[])"""
_PUT_PREFIX: Final = """
    INSERT INTO prefixes (prefix, name, homed, authorisation_values, authorisation_count) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (prefix) DO UPDATE SET name = excluded.name, homed = excluded.homed,
        authorisation_values = excluded.authorisation_values, authorisation_count = excluded.authorisation_count"""
_COPIED: Final = "SELECT prefix FROM prefixes WHERE prefix = ANY ($1::bytea[])"
_PUT_AUTHORISATION: Final = """
    UPDATE prefixes SET authorisation_values = $2, authorisation_count = $3 WHERE prefix = $1"""


class State(IntEnum):
    """Whether a row is a handle."""

    STORED = 0
    DELETED = 1


class Action(IntEnum):
    """What a row of the transaction log tells. Source: PROTOCOL §9.3."""

    CREATE = 1
    DELETE = 2
    UPDATE = 3
    HOME = 4
    UNHOME = 5


@dataclass(frozen=True, slots=True)
class Row:
    """A handle as it stands in the database; the fields in the order of the columns that are read."""

    key: bytes
    name: bytes
    public_values: bytes
    public_count: int
    restricted_values: bytes | None
    """Sealed."""
    restricted_count: int
    state: int
    version: int
    changed_ms: int

    @property
    def stored(self) -> bool:
        """Whether the handle exists; a deleted one keeps its row."""
        return self.state == State.STORED

    @property
    def public(self) -> ValueList:
        """What everybody may read, ready to be sent."""
        return ValueList(self.public_values, self.public_count)

    @property
    def restricted(self) -> ValueList:
        """The other values, their data sealed."""
        return ValueList(self.restricted_values or b"", self.restricted_count)


NewRow = tuple[bytes, bytes, bytes, bytes, int, bytes | None, int, int, int]
"""A row to insert: key, name, prefix, public values and their count, sealed values and their count, version, ms."""
LogEntry = tuple[bytes, bytes, int, int, int]
"""A row of the log: key, name, action, version, ms."""


class Writing:
    """What can be done inside one write transaction."""

    def __init__(self, connection: "PoolConnectionProxy[asyncpg.Record]") -> None:
        self._connection = connection

    async def find(self, keys: Sequence[bytes]) -> dict[bytes, Row]:
        """The rows of those keys that have one, without locking them."""
        return rows_by_key(await self._connection.fetch(FIND, keys))

    async def lock(self, keys: Iterable[bytes]) -> dict[bytes, Row]:
        """The rows of those keys that have one, locked until the transaction ends, in ascending order of keys."""
        return rows_by_key(await self._connection.fetch(_READ_LOCKED, sorted(keys)))

    async def insert(self, rows: Sequence[NewRow]) -> set[bytes]:
        """Insert rows, each key once, and say which were inserted; a key that has a row already is left alone."""
        ordered = sorted(rows, key=itemgetter(0))
        if len(ordered) >= COPY_ROWS_MIN and await self._copied(ordered):
            return {row[0] for row in ordered}
        inserted = await self._connection.fetch(_INSERT, *_columns(ordered, len(_ROW_COLUMNS)))
        return {record[0] for record in inserted}

    async def update(self, rows: Sequence[Row]) -> None:
        """Write the contents of rows that this transaction has locked."""
        columns: list[list[Any]] = [
            [row.key for row in rows],
            [row.name for row in rows],
            [row.public_values for row in rows],
            [row.public_count for row in rows],
            [row.restricted_values for row in rows],
            [row.restricted_count for row in rows],
            [row.state for row in rows],
            [row.version for row in rows],
            [row.changed_ms for row in rows],
        ]
        status = await self._connection.execute(_UPDATE, *columns)
        assert status == f"UPDATE {len(rows)}", status

    async def log(self, entries: Sequence[LogEntry]) -> None:
        """Write the rows of the transaction log that belong to this transaction."""
        if len(entries) >= COPY_ROWS_MIN:
            await self._connection.copy_records_to_table(
                "transaction_log", records=entries, columns=_LOG_COLUMNS
            )
        elif entries:
            await self._connection.execute(_LOG, *_columns(entries, len(_LOG_COLUMNS)))

    async def put_prefix(
        self, key: bytes, name: bytes, authorisation: ValueList, *, homed: bool = True
    ) -> None:
        """Home a prefix with its authorisation copy, or renew the copy."""
        await self._connection.execute(
            _PUT_PREFIX, key, name, homed, authorisation.octets, authorisation.count
        )

    async def copied(self, prefixes: Sequence[bytes]) -> list[bytes]:
        """Those of the folded prefixes that the node homes or holds an authorisation copy for."""
        records = await self._connection.fetch(_COPIED, prefixes)
        return [record[0] for record in records]

    async def put_authorisation(self, key: bytes, authorisation: ValueList) -> None:
        """Renew the authorisation copy of a prefix that is in the table."""
        await self._connection.execute(_PUT_AUTHORISATION, key, authorisation.octets, authorisation.count)

    async def _copied(self, rows: Sequence[NewRow]) -> bool:
        """Whether COPY could insert the rows; if not, none of them is inserted."""
        try:
            async with self._connection.transaction():
                await self._connection.execute(f"SET LOCAL lock_timeout = '{COPY_LOCK_WAIT}'")
                await self._connection.copy_records_to_table("handles", records=rows, columns=_ROW_COLUMNS)
                await self._connection.execute("SET LOCAL lock_timeout TO DEFAULT")
        except (asyncpg.UniqueViolationError, asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            return False
        return True


def rows_by_key(records: Iterable[Iterable[Any]]) -> dict[bytes, Row]:
    """Records with the columns of Row, by key."""
    rows = (Row(*record) for record in records)
    return {row.key: row for row in rows}


def _columns(rows: Sequence[Sequence[Any]], count: int) -> list[list[Any]]:
    return [[row[column] for row in rows] for column in range(count)]
