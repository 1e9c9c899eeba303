"""Resealing: everything that is sealed in the database, opened and sealed again with the key that seals now.

Rows are taken in small transactions, in the order of their keys, and none that somebody else has locked is waited for.
What a row is sealed with is told by the row itself, so that nothing has to be remembered between two runs: whatever
ends one, each row is sealed with the old key or the new one. A row's version, time and log are left alone, since
nothing about it has changed.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg

from protocol.value import ValueList
from registry.accounts.people import binding
from registry.api.idempotency import purpose_of
from registry.initialise import KEY_CHECK, KEY_CHECK_FACT
from registry.seal import SealBroken, Sealer
from registry.store import Store

BATCH_ROWS: Final = 500
"""Rows of one transaction: some milliseconds, for which a writer of one of them waits."""
ROUNDS_MAX: Final = 20
"""Looks at rows that others hold, ROUND_PAUSE_S apart."""
ROUND_PAUSE_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedTable:
    """Where sealed octets stand."""

    name: str
    keys: Mapping[str, tuple[str, Any]]
    """The columns of its primary key: their type, and a value that is below all others."""
    sealed: str
    """The column of what is sealed."""
    number: str
    """SQL: the number of the key with which a row is sealed; nothing for a row that is not."""
    reseal: Callable[[Sealer, asyncpg.Record], bytes]
    """What a row's column shall be, from its keys, `sealed` and `count`. Raises SealBroken."""
    where: str = "true"
    """SQL: whether a row has anything sealed."""
    count: str = "0"
    """SQL: how many values are sealed."""

    @property
    def find(self) -> str:
        """SQL: some rows sealed with key $1, from behind the given keys on, locked; not those that others hold."""
        names = ", ".join(self.keys)
        behind = ", ".join(f"${at}::{kind}" for at, (kind, _) in enumerate(self.keys.values(), 2))
        return f"""
            SELECT {names}, {self.sealed} AS sealed, {self.count} AS count FROM {self.name}
            WHERE {self.where} AND {self.number} = $1 AND ({names}) > ({behind})
            ORDER BY {names} LIMIT {BATCH_ROWS} FOR UPDATE SKIP LOCKED"""  # noqa: S608 - names of our own tables

    @property
    def put(self) -> str:
        """SQL: the rows' columns, from an array for each key and one of what is sealed."""
        arrays = ", ".join(f"${at}::{kind}[]" for at, (kind, _) in enumerate(self.keys.values(), 1))
        same = " AND ".join(f"{self.name}.{name} = given.{name}" for name in self.keys)
        return f"""
            UPDATE {self.name} SET {self.sealed} = given.fresh
            FROM unnest({arrays}, ${len(self.keys) + 1}::bytea[]) AS given ({", ".join(self.keys)}, fresh)
            WHERE {same}"""  # noqa: S608 - names of our own tables

    @property
    def tally(self) -> str:
        """SQL: how many rows are sealed with which key."""
        return f"""
            SELECT {self.number} AS number, count(*) AS rows FROM {self.name}
            WHERE {self.where} AND {self.number} IS NOT NULL GROUP BY 1"""  # noqa: S608 - names of our own tables

    @property
    def left(self) -> str:
        """SQL: how many rows are sealed with key $1."""
        return f"SELECT count(*) FROM {self.name} WHERE {self.where} AND {self.number} = $1"  # noqa: S608


def _record_resealed(sealer: Sealer, row: asyncpg.Record) -> bytes:
    key = row["key"]
    return sealer.seal(key, sealer.open(key, ValueList(row["sealed"], row["count"]))).octets


def _resealed(purpose: Callable[[asyncpg.Record], bytes]) -> Callable[[Sealer, asyncpg.Record], bytes]:
    def reseal(sealer: Sealer, row: asyncpg.Record) -> bytes:
        bound = purpose(row)
        return sealer.seal_octets(bound, sealer.open_octets(bound, row["sealed"]))

    return reseal


_RECORDS: Final[dict[str, Any]] = {
    "sealed": "restricted_values",
    "number": "sealing_key(restricted_values)",
    "where": "restricted_count > 0",
    "count": "restricted_count",
    "reseal": _record_resealed,
}
TABLES: Final = (
    SealedTable(name="handles", keys={"key": ("bytea", b"")}, **_RECORDS),
    SealedTable(name="handle_versions", keys={"key": ("bytea", b""), "version": ("bigint", -1)}, **_RECORDS),
    SealedTable(
        name="personal_fields",
        keys={"person": ("text", ""), "field": ("text", "")},
        sealed="sealed",
        number="get_byte(sealed, 0)",
        reseal=_resealed(lambda row: binding(row["person"], row["field"])),
    ),
    SealedTable(
        name="idempotency_keys",
        keys={"caller": ("text", ""), "key": ("text", "")},
        sealed="body",
        number="CASE WHEN sealed THEN get_byte(body, 0) END",
        reseal=_resealed(lambda row: purpose_of(row["caller"], row["key"])),
    ),
    SealedTable(
        name="node",
        keys={"name": ("text", "")},
        sealed="value",
        number=f"CASE WHEN name = '{KEY_CHECK_FACT}' THEN get_byte(value, 0) END",
        reseal=_resealed(lambda _: KEY_CHECK),
    ),
)
"""Every place of sealed octets; a test compares it with what the tables hold."""


@dataclass(slots=True, kw_only=True)
class Resealed:
    """How far a pass is."""

    total: int
    """Rows that were sealed with another key at its beginning."""
    done: int = 0
    broken: set[tuple[Any, ...]] = field(default_factory=set)
    """Table and keys of rows that do not open: damaged, or moved by somebody."""
    held: int = 0
    """Rows that others held to the end; the next pass takes them."""


async def tally(store: Store) -> dict[int, dict[str, int]]:
    """How many rows of which table are sealed with which key. Takes a look at every sealed row."""
    found: dict[int, dict[str, int]] = {}
    for table in TABLES:
        async with store.connection() as connection:
            for number, rows in await connection.fetch(table.tally):
                found.setdefault(number, {})[table.name] = rows
    return found


async def remaining(store: Store, number: int) -> int:
    """How many rows are sealed with this key."""
    rows = 0
    async with store.connection() as connection:
        for table in TABLES:
            rows += await connection.fetchval(table.left, number)
    return rows


async def reseal(
    store: Store, sealer: Sealer, *, seals: int, advanced: Callable[[Resealed], None]
) -> Resealed:
    """Seal again what is not sealed with the key that seals. advanced: told after every transaction.

    Raises StoreUnavailable; what was done until then stays done.
    """
    numbers = {number: sum(rows.values()) for number, rows in (await tally(store)).items() if number != seals}
    state = Resealed(total=sum(numbers.values()))
    walk = _Walk(store, sealer, state, advanced)
    advanced(state)
    for number in sorted(numbers):
        state.held += await walk.whole(number)
    return state


class _Walk:
    """One pass through everything."""

    def __init__(
        self, store: Store, sealer: Sealer, state: Resealed, advanced: Callable[[Resealed], None]
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._state = state
        self._advanced = advanced

    async def whole(self, number: int) -> int:
        """Seal again what is sealed with one key; gives how many rows were held by others to the end."""
        others = len(self._state.broken)
        for look in range(ROUNDS_MAX):
            if look:
                await asyncio.sleep(ROUND_PAUSE_S)
            for table in TABLES:
                await self._through(table, number)
            held = await remaining(self._store, number) - (len(self._state.broken) - others)
            if held <= 0:
                return 0
        return held

    async def _through(self, table: SealedTable, number: int) -> None:
        behind: tuple[Any, ...] = tuple(lowest for _, lowest in table.keys.values())
        while True:
            async with self._store.writing() as writing:
                rows = await writing.connection.fetch(table.find, number, *behind)
                fresh = self._sealed_again(table, rows)
                if fresh:
                    columns = [list(column) for column in zip(*fresh, strict=True)]
                    await writing.connection.execute(table.put, *columns)
            if fresh:
                self._state.done += len(fresh)
                self._advanced(self._state)
            if len(rows) < BATCH_ROWS:
                return
            behind = _keys_of(table, rows[-1])

    def _sealed_again(self, table: SealedTable, rows: list[asyncpg.Record]) -> list[tuple[Any, ...]]:
        """Keys and new contents of the rows that open."""
        fresh = []
        for row in rows:
            keys = _keys_of(table, row)
            try:
                fresh.append((*keys, table.reseal(self._sealer, row)))
            except SealBroken:
                self._state.broken.add((table.name, *keys))
        return fresh


def _keys_of(table: SealedTable, row: asyncpg.Record) -> tuple[Any, ...]:
    return tuple(row[name] for name in table.keys)
