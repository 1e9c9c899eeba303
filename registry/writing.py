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
from registry.lookups import Entry, LookupTypes
from registry.prefixes import PREFIX_COLUMNS, PrefixRow, prefix_row

COPY_ROWS_MIN: Final = 32
"""From here on COPY beats INSERT; measured, both take the same at 32 rows, and COPY 0.6 of the time from 256 on."""
COPY_LOCK_WAIT: Final = "100ms"
"""How long COPY waits for another writer of the same key; well under the server's deadlock_timeout of a second."""

NO_LOOKUPS: Final = LookupTypes(folded=frozenset())
_ROW_COLUMNS: Final = (
    "key", "name", "prefix", "public_values", "public_count", "restricted_values", "restricted_count", "state",
    "version", "changed_ms",
)  # fmt: skip
_READ_LOCKED: Final = """
    SELECT key, name, public_values, public_count, restricted_values, restricted_count, state, version, changed_ms
    FROM handles WHERE key = ANY ($1::bytea[]) ORDER BY key FOR UPDATE"""
READ: Final = """
    SELECT key, name, public_values, public_count, restricted_values, restricted_count, state, version, changed_ms
    FROM handles WHERE key = $1"""
FIND: Final = """
    SELECT h.* FROM unnest($1::bytea[]) AS asked (key) CROSS JOIN LATERAL (
        SELECT key, name, public_values, public_count, restricted_values, restricted_count, state, version, changed_ms
        FROM handles WHERE key = asked.key OFFSET 0) AS h"""
_INSERT: Final = """
    INSERT INTO handles (key, name, prefix, public_values, public_count, restricted_values, restricted_count, state,
        version, changed_ms)
    SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bytea[], $5::int[], $6::bytea[], $7::int[],
        $8::smallint[], $9::bigint[], $10::bigint[]) AS fresh (key) ORDER BY key
    ON CONFLICT (key) DO NOTHING RETURNING key"""
_KEEP_VERSIONS: Final = """
    INSERT INTO handle_versions (key, version, name, public_values, public_count, restricted_values,
        restricted_count, state, changed_ms, ended_ms)
    SELECT h.key, h.version, h.name, h.public_values, h.public_count, h.restricted_values, h.restricted_count, h.state,
        h.changed_ms, given.ended_ms
    FROM unnest($1::bytea[], $2::bigint[]) AS given (key, ended_ms)
    JOIN handles AS h ON h.key = given.key"""
_UPDATE: Final = """
    UPDATE handles SET name = given.name, public_values = given.public_values, public_count = given.public_count,
        restricted_values = given.restricted_values, restricted_count = given.restricted_count, state = given.state,
        version = given.version, changed_ms = given.changed_ms
    FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::int[], $5::bytea[], $6::int[], $7::smallint[], $8::bigint[],
        $9::bigint[]) AS given (key, name, public_values, public_count, restricted_values, restricted_count, state,
        version, changed_ms)
    WHERE handles.key = given.key"""
_INSERT_WITH_LOOKUPS: Final = f"""
    WITH fresh AS ({_INSERT}), entered AS (
        INSERT INTO handle_lookups (type, data, key)
        SELECT given.* FROM unnest($11::bytea[], $12::bytea[], $13::bytea[]) AS given (type, data, key)
        JOIN fresh ON fresh.key = given.key
        ON CONFLICT DO NOTHING
    )
    SELECT key FROM fresh"""  # noqa: S608 - statements of our own
_KEEP_VERSIONS_TELLING: Final = f"{_KEEP_VERSIONS} RETURNING key, public_values, public_count, state"
_ADD_LOOKUPS: Final = """
    INSERT INTO handle_lookups (type, data, key) SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[])
    ON CONFLICT DO NOTHING"""
_DROP_LOOKUPS: Final = """
    DELETE FROM handle_lookups AS l USING unnest($1::bytea[], $2::bytea[], $3::bytea[]) AS given (type, data, key)
    WHERE l.type = given.type AND l.data = given.data AND l.key = given.key"""
_LOOKUP_COLUMNS: Final = ("type", "data", "key")
_SAVE_PREFIX: Final = f"""
    INSERT INTO prefixes ({PREFIX_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
    ON CONFLICT (prefix) DO UPDATE SET name = excluded.name, homed = excluded.homed,
        authorisation_values = excluded.authorisation_values, authorisation_count = excluded.authorisation_count,
        organisation = excluded.organisation, status = excluded.status, status_text = excluded.status_text,
        frozen = excluded.frozen, moved_values = excluded.moved_values, moved_count = excluded.moved_count,
        has_ranges = prefixes.has_ranges OR excluded.has_ranges"""  # noqa: S608 - columns of our own
FIND_PREFIXES: Final = f"SELECT {PREFIX_COLUMNS} FROM prefixes WHERE prefix = ANY ($1::bytea[])"  # noqa: S608
_LOCK_PREFIX: Final = "SELECT FROM prefixes WHERE prefix = $1 FOR UPDATE"
_PUT_AUTHORISATION: Final = """
    UPDATE prefixes SET authorisation_values = $2, authorisation_count = $3 WHERE prefix = $1"""
LIST_PREFIX: Final = """
    SELECT key, name, public_values, public_count, restricted_values, restricted_count, state, version, changed_ms
    FROM handles WHERE prefix = $1 AND key > $2 AND key < $1 || '0'::bytea ORDER BY key LIMIT $3"""
"""With an end (0 follows the slash): a walk along the keys of all prefixes must not go on behind this one."""


class State(IntEnum):
    """Whether a row is a handle."""

    STORED = 0
    DELETED = 1
    """It has no values, and keeps its row for its version."""
    DRAFT = 2
    """Nobody but its owner knows of it yet."""
    SUSPENDED = 3
    """It keeps its values, and answers that it is suspended."""
    RETIRED = 4
    """For good; its values tell so."""


IN_FORCE: Final = frozenset({State.STORED, State.RETIRED})
"""States of handles whose values count."""


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
        """Whether the handle exists, in whatever state; a deleted one keeps its row."""
        return self.state != State.DELETED

    @property
    def in_force(self) -> bool:
        """Whether what it says counts: it exists, and is neither a draft nor suspended."""
        return self.state in IN_FORCE

    @property
    def public(self) -> ValueList:
        """What everybody may read, ready to be sent."""
        return ValueList(self.public_values, self.public_count)

    @property
    def restricted(self) -> ValueList:
        """The other values, their data sealed."""
        return ValueList(self.restricted_values or b"", self.restricted_count)


NewRow = tuple[bytes, bytes, bytes, bytes, int, bytes | None, int, int, int, int]
"""A row to insert: key, name, prefix, public values and count, sealed values and count, state, version, ms."""
LogEntry = tuple[bytes, bytes, int, int, int]
"""A row of the log: key, name, action, version, ms."""


class Writing:
    """What can be done inside one write transaction."""

    def __init__(
        self, connection: "PoolConnectionProxy[asyncpg.Record]", lookups: LookupTypes = NO_LOOKUPS
    ) -> None:
        """Prepare. lookups: types whose values are found again; none costs nothing."""
        self.connection = connection
        self.lookups = lookups

    async def find(self, keys: Sequence[bytes]) -> dict[bytes, Row]:
        """The rows of those keys that have one, without locking them."""
        return await find_rows(self.connection, keys)

    async def lock(self, keys: Iterable[bytes]) -> dict[bytes, Row]:
        """The rows of those keys that have one, locked until the transaction ends, in ascending order of keys."""
        return rows_by_key(await self.connection.fetch(_READ_LOCKED, sorted(keys)))

    async def insert(self, rows: Sequence[NewRow]) -> set[bytes]:
        """Insert rows, each key once, and say which were inserted; a key that has a row already is left alone."""
        ordered = sorted(rows, key=itemgetter(0))
        entries = sorted(self._entries_of_new(ordered))
        if len(ordered) >= COPY_ROWS_MIN and await self._copied(ordered, entries):
            return {row[0] for row in ordered}
        columns = columns_of(ordered, len(_ROW_COLUMNS))
        if entries:
            inserted = await self.connection.fetch(_INSERT_WITH_LOOKUPS, *columns, *columns_of(entries, 3))
        else:
            inserted = await self.connection.fetch(_INSERT, *columns)
        return {record[0] for record in inserted}

    async def update(self, rows: Sequence[Row]) -> None:
        """Write the contents of rows that this transaction has locked; what they were is kept as a version."""
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
        ended = [row.changed_ms for row in rows]
        if self.lookups:
            earlier = await self.connection.fetch(_KEEP_VERSIONS_TELLING, columns[0], ended)
            await self._renew_lookups(earlier, rows)
        else:
            await self.connection.execute(_KEEP_VERSIONS, columns[0], ended)
        status = await self.connection.execute(_UPDATE, *columns)
        assert status == f"UPDATE {len(rows)}", status

    async def add_lookups(self, entries: Iterable[Entry]) -> None:
        """Enter values by which handles are found; those that are there already stay."""
        ordered = sorted(entries)
        if ordered:
            await self.connection.execute(_ADD_LOOKUPS, *columns_of(ordered, 3))

    async def drop_lookups(self, entries: Iterable[Entry]) -> None:
        """Remove values by which handles were found."""
        ordered = sorted(entries)
        if ordered:
            await self.connection.execute(_DROP_LOOKUPS, *columns_of(ordered, 3))

    def entries_of(self, key: bytes, public_values: bytes, public_count: int, state: int) -> set[Entry]:
        """The values by which a row is found: none while it is not in force."""
        if state not in IN_FORCE:
            return set()
        return self.lookups.entries(key, ValueList(public_values, public_count))

    def _entries_of_new(self, rows: Sequence[NewRow]) -> set[Entry]:
        if not self.lookups:
            return set()
        return {entry for row in rows for entry in self.entries_of(row[0], row[3], row[4], row[7])}

    async def _renew_lookups(self, earlier: Iterable[Iterable[Any]], rows: Sequence[Row]) -> None:
        """Let what handles are found by follow what they become; mostly nothing changes."""
        old = {entry for record in earlier for entry in self.entries_of(*record)}
        new = {
            entry
            for row in rows
            for entry in self.entries_of(row.key, row.public_values, row.public_count, row.state)
        }
        await self.drop_lookups(old - new)
        await self.add_lookups(new - old)

    async def prefix_rows(self, keys: Sequence[bytes]) -> dict[bytes, PrefixRow]:
        """What the node knows of those folded prefixes of which it knows anything."""
        return prefix_rows_by_key(await self.connection.fetch(FIND_PREFIXES, keys))

    async def lock_prefix(self, key: bytes) -> None:
        """Keep others from changing what the node knows of a prefix, if it knows anything, until this ends."""
        await self.connection.execute(_LOCK_PREFIX, key)

    async def put_authorisation(self, key: bytes, record: ValueList) -> None:
        """Renew the authorisation copy of a prefix that the node knows."""
        await self.connection.execute(_PUT_AUTHORISATION, key, record.octets, record.count)

    async def save_prefix(self, row: PrefixRow) -> None:
        """Write what the node shall know of a prefix."""
        moved = row.moved or ValueList(b"", 0)
        await self.connection.execute(
            _SAVE_PREFIX,
            row.key,
            row.name,
            row.homed,
            row.authorisation.octets,
            row.authorisation.count,
            row.organisation,
            row.status,
            row.status_text,
            row.frozen,
            None if row.moved is None else moved.octets,
            moved.count,
            row.has_ranges,
        )

    async def _copied(self, rows: Sequence[NewRow], entries: Sequence[Entry]) -> bool:
        """Whether COPY could insert the rows; if not, none of them is inserted."""
        try:
            async with self.connection.transaction():
                await self.connection.execute(f"SET LOCAL lock_timeout = '{COPY_LOCK_WAIT}'")
                await self.connection.copy_records_to_table("handles", records=rows, columns=_ROW_COLUMNS)
                if entries:
                    await self.connection.copy_records_to_table(
                        "handle_lookups", records=entries, columns=_LOOKUP_COLUMNS
                    )
                await self.connection.execute("SET LOCAL lock_timeout TO DEFAULT")
        except (asyncpg.UniqueViolationError, asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            return False
        return True


async def find_rows(
    connection: "PoolConnectionProxy[asyncpg.Record]", keys: Sequence[bytes]
) -> dict[bytes, Row]:
    """The rows of those keys that have one.

    A lone key is asked for by itself: measured, Postgres takes 50 us for that and 350 us to plan the question for many.
    """
    asked = (READ, keys[0]) if len(keys) == 1 else (FIND, keys)
    return rows_by_key(await connection.fetch(*asked))


def rows_by_key(records: Iterable[Iterable[Any]]) -> dict[bytes, Row]:
    """Records with the columns of Row, by key."""
    return {row.key: row for row in rows_in_order(records)}


def rows_in_order(records: Iterable[Iterable[Any]]) -> list[Row]:
    """Records with the columns of Row."""
    return [Row(*record) for record in records]


def prefix_rows_by_key(records: Iterable[Iterable[Any]]) -> dict[bytes, PrefixRow]:
    """Records with PREFIX_COLUMNS, by key."""
    rows = (prefix_row(record) for record in records)
    return {row.key: row for row in rows}


def columns_of(rows: Sequence[Sequence[Any]], count: int) -> list[list[Any]]:
    """Rows turned into so many columns, for unnest."""
    return [[row[column] for row in rows] for column in range(count)]
