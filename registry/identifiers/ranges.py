"""Ranges: suffixes that are reserved for whoever will register them later, however many with one row.

A line that is off the network prints suffixes of its range, and registers ("activates") them when it is back. Until
then nobody knows of them, and nobody else can register them. Here are what a range is and all SQL about them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from registry.reservations import SHAPES
from registry.work import Connection

SHAPES_MAX: Final = 64
"""Shapes below one prefix: each is a way to take a suffix apart, which every registration there tries."""

_COLUMNS: Final = (
    "id, prefix, head, tail, digits, first, last, reserved, pattern, organisation, actor, created, released"
)
_INSERT: Final = f"""
    INSERT INTO identifier_ranges ({_COLUMNS})
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"""  # noqa: S608 - columns of our own
_READ: Final = f"SELECT {_COLUMNS} FROM identifier_ranges WHERE id = ANY ($1::text[])"  # noqa: S608
_LIST: Final = f"""
    SELECT {_COLUMNS} FROM identifier_ranges WHERE prefix = $1 AND id > $2 ORDER BY id LIMIT $3"""  # noqa: S608
_LAST_AT_OR_BELOW: Final = f"""
    SELECT {_COLUMNS} FROM identifier_ranges
    WHERE prefix = $1 AND head = $2 AND tail = $3 AND digits = $4 AND first <= $5 AND last >= first
    ORDER BY first DESC LIMIT 1"""  # noqa: S608
_LOCK_SERIES: Final = """
    INSERT INTO identifier_counters AS c (prefix, series, next) VALUES ($1, $2, 1)
    ON CONFLICT (prefix, series) DO UPDATE SET next = c.next RETURNING next"""
_ADVANCE: Final = "UPDATE identifier_counters SET next = greatest(next, $3) WHERE prefix = $1 AND series = $2"
_SHRINK: Final = "UPDATE identifier_ranges SET last = $2, released = $3 WHERE id = $1"
_ADD_SHAPE: Final = "INSERT INTO identifier_range_shapes VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
_HIGHEST: Final = """
    SELECT key FROM handles
    WHERE prefix = $1 AND key BETWEEN $2 AND $3 AND octet_length(key) = octet_length($2)
        AND encode(substring(key FROM $4 FOR $5), 'escape') ~ '^[0-9]+$' AND substring(key FROM $4 + $5) = $6
    ORDER BY key DESC LIMIT 1"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Suffixes that differ in their number alone, as storage keys: head, so many digits, tail."""

    prefix: bytes
    """Folded."""
    head: bytes
    tail: bytes
    digits: int

    def key(self, number: int) -> bytes:
        """The storage key of the identifier with this number."""
        return self.prefix + b"/" + self.head + b"%0*d" % (self.digits, number) + self.tail

    def number(self, key: bytes) -> int | None:
        """The number of a storage key, or None when it is no such identifier."""
        start = len(self.prefix) + 1 + len(self.head)
        end = start + self.digits
        written = key[start:end]
        fits = len(key) == end + len(self.tail) and written.isdigit()
        return int(written) if fits and self.key(int(written)) == key else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Reserved suffixes."""

    id: str
    extent: Extent
    first: int
    last: int
    """Below first when the whole range was released."""
    reserved: int
    """Numbers that there were before any was released."""
    pattern: str
    """With its date in place, as its holder spelled it."""
    organisation: str | None
    actor: str
    created: datetime
    released: datetime | None = None

    @property
    def count(self) -> int:
        """How many suffixes it holds now."""
        return self.last - self.first + 1

    def holds(self, key: bytes) -> bool:
        """Whether an identifier, by its storage key, is one of the range."""
        number = self.extent.number(key)
        return number is not None and self.first <= number <= self.last


async def read_ranges(connection: Connection, ids: Iterable[str], *, lock: str = "") -> dict[str, Range]:
    """The ranges of these ids that there are.

    lock: "FOR KEY SHARE" while suffixes are activated, so that nothing is released meanwhile; "FOR UPDATE" to release.
    """
    records = await connection.fetch(f"{_READ} ORDER BY id {lock}", sorted(set(ids)))
    ranges = map(_range, records)
    return {found.id: found for found in ranges}


async def list_ranges(connection: Connection, prefix: bytes, *, after: str, limit: int) -> list[Range]:
    """Ranges of a folded prefix in order of their ids."""
    return [_range(record) for record in await connection.fetch(_LIST, prefix, after, limit)]


async def overlapping(connection: Connection, extent: Extent, first: int, last: int) -> Range | None:
    """The range with the highest numbers that has one of those from first to last."""
    record = await connection.fetchrow(
        _LAST_AT_OR_BELOW, extent.prefix, extent.head, extent.tail, extent.digits, last
    )
    found = None if record is None else _range(record)
    return found if found is not None and found.last >= first else None


async def highest_registered(connection: Connection, extent: Extent, first: int, last: int) -> int | None:
    """The highest number from first to last that has a handle, be it a deleted one; None when none has."""
    if last < first:
        return None
    digits_at = len(extent.prefix) + 1 + len(extent.head) + 1  # SQL counts from 1
    key = await connection.fetchval(
        _HIGHEST, extent.prefix, extent.key(first), extent.key(last), digits_at, extent.digits, extent.tail
    )
    return None if key is None else extent.number(key)


async def lock_series(connection: Connection, prefix: bytes, series: str) -> int:
    """The next number of a series; until the transaction ends nobody else takes numbers or reserves in it."""
    following: int = await connection.fetchval(_LOCK_SERIES, prefix, series)
    return following


async def advance_series(connection: Connection, prefix: bytes, series: str, following: int) -> None:
    """Let a series go on with this number, or a later one."""
    await connection.execute(_ADVANCE, prefix, series, following)


async def insert_range(connection: Connection, row: Range) -> None:
    """Store a new range."""
    extent = row.extent
    await connection.execute(
        _INSERT,
        row.id,
        extent.prefix,
        extent.head,
        extent.tail,
        extent.digits,
        row.first,
        row.last,
        row.reserved,
        row.pattern,
        row.organisation,
        row.actor,
        row.created,
        row.released,
    )


async def shrink_range(connection: Connection, identity: str, last: int, released: datetime) -> None:
    """Let a range end earlier."""
    await connection.execute(_SHRINK, identity, last, released)


async def add_shape(connection: Connection, extent: Extent) -> bool:
    """Note the shape of a range; False when the prefix has too many."""
    shape = (len(extent.head), extent.digits, len(extent.tail))
    shapes = {tuple(record) for record in await connection.fetch(SHAPES, extent.prefix)}
    if shape in shapes:
        return True
    if len(shapes) >= SHAPES_MAX:
        return False
    await connection.execute(_ADD_SHAPE, extent.prefix, *shape)
    return True


def _range(record: asyncpg.Record) -> Range:
    return Range(
        id=record["id"],
        extent=Extent(
            prefix=record["prefix"], head=record["head"], tail=record["tail"], digits=record["digits"]
        ),
        first=record["first"],
        last=record["last"],
        reserved=record["reserved"],
        pattern=record["pattern"],
        organisation=record["organisation"],
        actor=record["actor"],
        created=record["created"],
        released=record["released"],
    )
