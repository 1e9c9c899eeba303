"""Pages: everything below a prefix as it travels from one node to another, and how it is read.

Rows keep name, state, version and time; earlier versions, states, ranges and counters come along. Values that the
public may not read travel in the clear inside a page that is sealed for the receiver, whose node key seals them anew.
"""

import hashlib
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from protocol.value import ValueList
from registry.context import Context
from registry.store import Connection
from registry.writing import State

PAGE_ROWS_MAX: Final = 1_000
"""Rows of a page: below 100 ms of work on either side."""
PAGE_OCTETS_MAX: Final = 4_194_304
"""Octets of values in a page, but for its last row."""
NUMBER_MAX: Final = 1 << 53
"""Numbers below are exact in every JSON reader, and far above any version, time or counter."""

_ROWS: Final = """
    SELECT * FROM (
        SELECT key, name, public_values, public_count, restricted_values, restricted_count, state, version, changed_ms,
            sum(octet_length(public_values) + coalesce(octet_length(restricted_values), 0)) OVER (ORDER BY key)
                - octet_length(public_values) - coalesce(octet_length(restricted_values), 0) AS before
        FROM handles WHERE prefix = $1 AND key > $2 AND changed_ms >= $3 ORDER BY key LIMIT $4) AS page
    WHERE before <= $5 ORDER BY key"""
_STATES: Final = (
    "SELECT key, reason, successor, actor, since_ms FROM handle_states WHERE key = ANY ($1::bytea[])"
)
_EARLIER: Final = """
    SELECT * FROM (
        SELECT v.key, v.name, v.public_values, v.public_count, v.restricted_values, v.restricted_count, v.state,
            v.version, v.changed_ms, v.ended_ms,
            sum(octet_length(v.public_values) + coalesce(octet_length(v.restricted_values), 0))
                OVER (ORDER BY h.key, v.version)
                - octet_length(v.public_values) - coalesce(octet_length(v.restricted_values), 0) AS before
        FROM handles AS h JOIN handle_versions AS v ON v.key = h.key
        WHERE h.prefix = $1 AND h.key >= $2 AND h.version > 1 AND h.changed_ms >= $4
            AND (h.key > $2 OR v.version > $3) AND v.ended_ms >= $4
        ORDER BY h.key, v.version LIMIT $5) AS page
    WHERE before <= $6 ORDER BY key, version"""
_RANGES: Final = """
    SELECT id, head, tail, digits, first, last, reserved, pattern, actor, created, released
    FROM identifier_ranges WHERE prefix = $1 AND id COLLATE "C" > $2 ORDER BY id COLLATE "C" LIMIT $3"""
_SHAPES: Final = """
    SELECT head_octets, digits, tail_octets FROM identifier_range_shapes WHERE prefix = $1
    ORDER BY head_octets, digits, tail_octets"""
_COUNTERS: Final = (
    'SELECT series, next FROM identifier_counters WHERE prefix = $1 ORDER BY series COLLATE "C"'
)

Small = Annotated[int, Meta(ge=0, le=4_096)]
Count = Annotated[int, Meta(ge=0, lt=NUMBER_MAX)]
Text = Annotated[str, Meta(max_length=4_096, pattern="^[^\\u0000]*$")]
RangeId = Annotated[str, Meta(pattern="^rng_[a-z2-7]{20}$")]


class RowForm(msgspec.Struct, array_like=True, frozen=True):
    """A handle as it travels."""

    name: bytes
    public: bytes
    public_count: int
    restricted: bytes
    """In the clear."""
    restricted_count: int
    state: int
    version: int
    changed_ms: int
    why: tuple[Text, bytes | None, Text, Count] | None = None
    """Of a suspended or retired one: reason, successor, who, since when."""


class VersionForm(msgspec.Struct, array_like=True, frozen=True):
    """An earlier state of a handle as it travels."""

    row: RowForm
    ended_ms: int


class RangeForm(msgspec.Struct, array_like=True, frozen=True):
    """A reserved range of suffixes as it travels."""

    id: RangeId
    head: bytes
    tail: bytes
    digits: Annotated[int, Meta(ge=1, le=18)]
    first: Count
    last: Annotated[int, Meta(ge=-1, lt=NUMBER_MAX)]
    reserved: Count
    pattern: Text
    actor: Text
    created: datetime
    released: datetime | None


class RestForm(msgspec.Struct, array_like=True, frozen=True):
    """What is reserved below a prefix: ranges (a page of them), their shapes, and counters of series."""

    ranges: list[RangeForm]
    shapes: list[tuple[Small, Small, Small]]
    """Octets of the head, digits, octets of the tail."""
    counters: list[tuple[Text, Count]]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A part of what is below a prefix."""

    rows: list[RowForm] = []
    versions: list[VersionForm] = []
    rest: RestForm | None = None
    position: bytes = b""
    """Where the next page begins."""
    is_last: bool = False


def version_position(key: bytes, version: int) -> bytes:
    """The position behind one version of a handle."""
    return version.to_bytes(8, "big") + key


async def read_rows(
    connection: Connection, context: Context, prefix: bytes, *, position: bytes, since_ms: int
) -> Page:
    """The page of handles behind a position, those that changed since then; b"" and 0 for all from the start."""
    limits = (PAGE_ROWS_MAX, PAGE_OCTETS_MAX)
    records = await connection.fetch(_ROWS, prefix, position, since_ms, *limits)
    keys = [record["key"] for record in records if record["state"] in (State.SUSPENDED, State.RETIRED)]
    found = await connection.fetch(_STATES, keys) if keys else []
    why = {key: tuple(rest) for key, *rest in found}
    rows = [_row_form(context, record, why.get(record["key"])) for record in records]
    end = records[-1]["key"] if records else position
    return Page(rows=rows, position=end, is_last=not records)


async def read_versions(
    connection: Connection, context: Context, prefix: bytes, *, position: bytes, since_ms: int
) -> Page:
    """The page of earlier versions behind a position, of handles that changed since then."""
    key, version = position[8:], int.from_bytes(position[:8], "big")
    limits = (PAGE_ROWS_MAX, PAGE_OCTETS_MAX)
    records = await connection.fetch(_EARLIER, prefix, key, version, since_ms, *limits)
    versions = [VersionForm(_row_form(context, record, None), record["ended_ms"]) for record in records]
    end = version_position(records[-1]["key"], records[-1]["version"]) if records else position
    return Page(versions=versions, position=end, is_last=not records)


async def read_rest(connection: Connection, prefix: bytes, *, position: bytes) -> Page:
    """The page of reservations behind a position."""
    ranges = await connection.fetch(_RANGES, prefix, position.decode("ascii", "replace"), PAGE_ROWS_MAX)
    rest = RestForm([RangeForm(*record) for record in ranges], [], [])
    if not position:
        shapes = [(head, digits, tail) for head, digits, tail in await connection.fetch(_SHAPES, prefix)]
        counters = [(series, next_) for series, next_ in await connection.fetch(_COUNTERS, prefix)]
        rest = RestForm(rest.ranges, shapes, counters)
    end = ranges[-1]["id"].encode() if ranges else position
    return Page(rest=rest, position=end, is_last=len(ranges) < PAGE_ROWS_MAX)


def _row_form(context: Context, record: Any, why: Any) -> RowForm:
    restricted = b""
    if record["restricted_count"]:
        sealed = ValueList(record["restricted_values"], record["restricted_count"])
        restricted = b"".join(context.sealer.open(record["key"], sealed))
    return RowForm(
        record["name"],
        record["public_values"],
        record["public_count"],
        restricted,
        record["restricted_count"],
        record["state"],
        record["version"],
        record["changed_ms"],
        why,
    )


async def digest(connection: Connection, context: Context, prefix: bytes) -> tuple[int, bytes]:
    """How many handles there are below a prefix, deleted ones among them, and SHA-256 over all of it in order."""
    count, sum_ = 0, hashlib.sha256()
    page = Page()
    while not page.is_last:
        page = await read_rows(connection, context, prefix, position=page.position, since_ms=0)
        count += len(page.rows)
        for row in page.rows:
            sum_.update(msgspec.msgpack.encode(row))
    page = Page()
    while not page.is_last:
        page = await read_versions(connection, context, prefix, position=page.position, since_ms=0)
        for version in page.versions:
            sum_.update(msgspec.msgpack.encode(version))
    page = Page()
    while not page.is_last:
        page = await read_rest(connection, prefix, position=page.position)
        sum_.update(msgspec.msgpack.encode(page.rest))
    return count, sum_.digest()
