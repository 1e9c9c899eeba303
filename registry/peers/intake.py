"""Intake: what another node sends below a prefix, checked as if it were registered here, and stored."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from msgspec.structs import astuple

from protocol.errors import HandleError, WireError
from protocol.handle import Handle
from protocol.value import ValueList
from registry.context import Context
from registry.peers.pages import NUMBER_MAX, Page, RestForm, RowForm, VersionForm
from registry.record import Refusal, check_total, parse_stored, split, stamp_octets, take_in
from registry.transaction import Transaction
from registry.writing import LIST_PREFIX, Action, State, Writing, rows_in_order

DROP_ROWS: Final = 1_000
"""Rows that are dropped in one transaction."""

_PUT_ROWS: Final = """
    INSERT INTO handles (key, name, prefix, public_values, public_count, restricted_values, restricted_count, state,
        version, changed_ms)
    SELECT given.key, given.name, $10, given.public_values, given.public_count, given.restricted_values,
        given.restricted_count, given.state, given.version, given.changed_ms
    FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::int[], $5::bytea[], $6::int[], $7::smallint[], $8::bigint[],
        $9::bigint[]) AS given (key, name, public_values, public_count, restricted_values, restricted_count, state,
        version, changed_ms) ORDER BY given.key
    ON CONFLICT (key) DO UPDATE SET name = excluded.name, public_values = excluded.public_values,
        public_count = excluded.public_count, restricted_values = excluded.restricted_values,
        restricted_count = excluded.restricted_count, state = excluded.state, version = excluded.version,
        changed_ms = excluded.changed_ms"""
_DROP_STATES: Final = "DELETE FROM handle_states WHERE key = ANY ($1::bytea[])"
_PUT_STATES: Final = """
    INSERT INTO handle_states (key, reason, successor, actor, since_ms)
    SELECT * FROM unnest($1::bytea[], $2::text[], $3::bytea[], $4::text[], $5::bigint[])"""
_PUT_VERSIONS: Final = """
    INSERT INTO handle_versions (key, name, public_values, public_count, restricted_values, restricted_count, state,
        version, changed_ms, ended_ms)
    SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::int[], $5::bytea[], $6::int[], $7::smallint[],
        $8::bigint[], $9::bigint[], $10::bigint[])
    ON CONFLICT (key, version) DO UPDATE SET name = excluded.name, public_values = excluded.public_values,
        public_count = excluded.public_count, restricted_values = excluded.restricted_values,
        restricted_count = excluded.restricted_count, state = excluded.state, changed_ms = excluded.changed_ms,
        ended_ms = excluded.ended_ms"""
_PUT_RANGES: Final = """
    INSERT INTO identifier_ranges (prefix, organisation, id, head, tail, digits, first, last, reserved, pattern, actor,
        created, released)
    SELECT $1, $2, given.* FROM unnest($3::text[], $4::bytea[], $5::bytea[], $6::smallint[], $7::bigint[],
        $8::bigint[], $9::bigint[], $10::text[], $11::text[], $12::timestamptz[], $13::timestamptz[]) AS given
    ON CONFLICT (id) DO UPDATE SET last = excluded.last, released = excluded.released
        WHERE identifier_ranges.prefix = excluded.prefix"""
_PUT_SHAPES: Final = """
    INSERT INTO identifier_range_shapes (prefix, head_octets, digits, tail_octets)
    SELECT $1, given.* FROM unnest($2::smallint[], $3::smallint[], $4::smallint[]) AS given ON CONFLICT DO NOTHING"""
_PUT_COUNTERS: Final = """
    INSERT INTO identifier_counters (prefix, series, next) SELECT $1, given.* FROM unnest($2::text[], $3::bigint[])
    AS given (series, next) ON CONFLICT (prefix, series) DO UPDATE SET next = excluded.next"""
_DROP_ROWS: Final = """
    WITH gone AS (
        SELECT key FROM handles WHERE prefix = $1 ORDER BY key LIMIT $2
    ), states AS (
        DELETE FROM handle_states USING gone WHERE handle_states.key = gone.key
    ), versions AS (
        DELETE FROM handle_versions USING gone WHERE handle_versions.key = gone.key
    ), rows AS (
        DELETE FROM handles USING gone WHERE handles.key = gone.key
    )
    SELECT count(*) FROM gone"""
_DROP_REST: Final = ("identifier_ranges", "identifier_range_shapes", "identifier_counters")


class PageRefused(WireError):
    """A page that does not hold what it should; the text says what is wrong with it."""


async def write_page(transaction: Transaction, prefix: bytes, page: Page, *, organisation: str | None) -> int:
    """Store a page below a folded prefix, in place of what is there of it, and say how many handles it held.

    Safe to repeat. organisation: who holds the prefix here. Raises PageRefused for anything that this node would not
    have stored itself.
    """
    if page.rows:
        await _write_rows(transaction, prefix, page.rows)
    if page.versions:
        await _write_versions(transaction, prefix, page.versions)
    if page.rest is not None:
        await _write_rest(transaction, prefix, page.rest, organisation)
    return len(page.rows)


async def _write_rows(transaction: Transaction, prefix: bytes, rows: Sequence[RowForm]) -> None:
    stored = {columns[0]: columns for columns in _checked(transaction.context, prefix, rows)}
    if len(stored) < len(rows):
        raise PageRefused("a page names a handle twice")
    connection = transaction.connection
    await connection.execute(_PUT_ROWS, *_columns(list(stored.values())), prefix)
    await connection.execute(_DROP_STATES, list(stored))
    writing = transaction.writing
    if writing.lookups:
        entries = (
            writing.entries_of(key, columns[2], columns[3], columns[6]) for key, columns in stored.items()
        )
        await writing.add_lookups({entry for found in entries for entry in found})
    why = [(key, *form.why) for key, form in zip(stored, rows, strict=True) if form.why is not None]
    if why:
        await connection.execute(_PUT_STATES, *_columns(why))
    transaction.record(
        [
            (
                key,
                columns[1],
                Action.DELETE if columns[6] == State.DELETED else Action.CREATE,
                columns[7],
                columns[8],
            )
            for key, columns in stored.items()
        ]
    )


async def _write_versions(transaction: Transaction, prefix: bytes, versions: Sequence[VersionForm]) -> None:
    rows = _checked(transaction.context, prefix, [version.row for version in versions])
    stored = {
        (columns[0], columns[7]): (*columns, _time(version.ended_ms))
        for columns, version in zip(rows, versions, strict=True)
    }
    await transaction.connection.execute(_PUT_VERSIONS, *_columns(list(stored.values())))


async def _write_rest(
    transaction: Transaction, prefix: bytes, rest: RestForm, organisation: str | None
) -> None:
    connection = transaction.connection
    if rest.ranges:
        await connection.execute(
            _PUT_RANGES, prefix, organisation, *_columns([astuple(form) for form in rest.ranges])
        )
    if rest.shapes:
        await connection.execute(_PUT_SHAPES, prefix, *_columns(rest.shapes))
    if rest.counters:
        await connection.execute(_PUT_COUNTERS, prefix, *_columns(rest.counters))


def _columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _checked(context: Context, prefix: bytes, rows: Sequence[RowForm]) -> Iterator[tuple[Any, ...]]:
    """The columns of rows, after everything about them has been checked."""
    for form in rows:
        try:
            yield _checked_row(context, prefix, form)
        except (Refusal, HandleError, UnicodeDecodeError) as error:
            raise PageRefused(f"a handle of the page cannot be stored: {error}") from None


def _checked_row(context: Context, prefix: bytes, form: RowForm) -> tuple[Any, ...]:
    handle = Handle.parse(form.name)
    form.name.decode("utf-8")
    if handle.is_prefix_record or handle.prefix.key != prefix or b"/" not in form.name:
        raise PageRefused("it does not belong below the prefix")
    if form.state not in State.__members__.values() or not 0 < form.version < NUMBER_MAX:
        raise PageRefused("it has a state or a version that there is not")
    key = context.key_of(handle)
    public, restricted = _values(form)
    sealed = context.sealer.seal(key, restricted)
    return (
        key,
        form.name,
        public.octets,
        public.count,
        sealed.octets if sealed.count else None,
        sealed.count,
        form.state,
        form.version,
        _time(form.changed_ms),
    )


def _values(form: RowForm) -> tuple[ValueList, Sequence[bytes]]:
    """The public and the restricted values, as this node parts them."""
    if form.state == State.DELETED:
        return ValueList(b"", 0), ()
    given = ValueList(form.public + form.restricted, form.public_count + form.restricted_count)
    take_in(given, stamp_octets(0))  # raises Refusal; the timestamps stay those of the other node
    values = parse_stored(given)
    check_total(values)
    return split(values)


def _time(milliseconds: int) -> int:
    if not 0 <= milliseconds < NUMBER_MAX:
        raise PageRefused("it has a time that there is not")
    return milliseconds


async def _drop_lookups(writing: Writing, prefix: bytes) -> None:
    """Remove what the rows are found by that are dropped next."""
    rows = rows_in_order(await writing.connection.fetch(LIST_PREFIX, prefix, b"", DROP_ROWS))
    entries = (writing.lookups.entries(row.key, row.public) for row in rows)
    await writing.drop_lookups({entry for found in entries for entry in found})


async def drop_some(transaction: Transaction, prefix: bytes) -> bool:
    """Drop a part of what is below a folded prefix that is not homed; False when nothing was left of it."""
    row = await transaction.prefix_row(prefix)
    assert row is None or not row.homed, "what is homed is never dropped"
    if transaction.writing.lookups:
        await _drop_lookups(transaction.writing, prefix)
    dropped: int = await transaction.connection.fetchval(_DROP_ROWS, prefix, DROP_ROWS)
    if dropped == DROP_ROWS:
        return True
    for table in _DROP_REST:
        await transaction.connection.execute(f"DELETE FROM {table} WHERE prefix = $1", prefix)  # noqa: S608
    return False
