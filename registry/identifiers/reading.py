"""Reading identifiers: as they are, as they were, and lists of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import asyncpg

from protocol.handle import Handle, Prefix
from protocol.value import HandleValue, ValueList
from protocol.valuetypes import AdminPermission
from registry.accounts.roles import Caller
from registry.context import Context
from registry.identifiers.access import NO_IDENTIFIER, NO_PREFIX, check_here, held_prefix
from registry.identifiers.states import STATE_OF, STORED_AS, IdentifierState
from registry.permission import KEY_TYPES
from registry.prefixes import PrefixRow
from registry.problem_types import NOT_FOUND, ApiProblem
from registry.record import type_of
from registry.reservations import ranges_holding
from registry.work import Connection
from registry.writing import Row, State

SCAN_MAX: Final = 5_000
"""Rows that one page looks at: where few of many match, a page may hold less than was asked for, or nothing."""
_PLAIN_STATES: Final = (State.STORED, State.DRAFT)
"""Of which nothing is kept beside the row."""

_BEGUN: Final = """
    SELECT asked.key, min(v.changed_ms) FROM unnest($1::bytea[]) AS asked (key)
    JOIN handle_versions AS v ON v.key = asked.key AND v.version > coalesce((
        SELECT max(d.version) FROM handle_versions AS d WHERE d.key = asked.key AND d.state = 1), 0)
    GROUP BY asked.key"""
_CIRCUMSTANCES: Final = "SELECT reason, successor, since_ms FROM handle_states WHERE key = $1"
_VERSION: Final = """
    SELECT key, name, public_values, public_count, restricted_values, restricted_count, state, version, changed_ms
    FROM handle_versions WHERE key = $1 AND version = $2"""
_AS_OF: Final = """
    SELECT key, name, public_values, public_count, restricted_values, restricted_count, state, version, changed_ms
    FROM handle_versions WHERE key = $1 AND changed_ms <= $2 AND ended_ms > $2 ORDER BY version DESC LIMIT 1"""
_VERSIONS: Final = """
    SELECT version, state, changed_ms, ended_ms FROM handle_versions WHERE key = $1 AND version < $2
    ORDER BY version DESC LIMIT $3"""
_BELOW: Final = "prefix = $1 AND key >= $2 AND key < $1 || '0'::bytea"
"""With an end (0 follows the slash), so that a walk along the keys of all prefixes would not leave this one either."""
LIST: Final = f"""
    SELECT key, name, state, version, changed_ms FROM (
        SELECT key, name, state, version, changed_ms FROM handles WHERE {_BELOW} ORDER BY key LIMIT $4
    ) AS seen WHERE state = ANY ($5::smallint[]) ORDER BY key LIMIT $3"""  # noqa: S608 - words of our own
_LIST_RARE: Final = f"""
    SELECT key, name, state, version, changed_ms FROM handles
    WHERE {_BELOW} AND state = $3 AND state > 1 ORDER BY key LIMIT $4"""  # noqa: S608
_SEEN_TO: Final = f"SELECT key FROM handles WHERE {_BELOW} ORDER BY key OFFSET $3 LIMIT 1"  # noqa: S608


@dataclass(frozen=True, slots=True, kw_only=True)
class Identifier:
    """An identifier as it is, or was at some time."""

    handle: Handle
    """As it was spelled when it was registered."""
    state: IdentifierState
    version: int
    changed_ms: int
    """Unix milliseconds since when it is so."""
    registered_ms: int | None = None
    """When it was registered; None for an earlier version."""
    values: ValueList | None = None
    """The public ones; None where they were not asked for."""
    restricted: Sequence[tuple[int, str]] = ()
    """Index and type of the others."""
    range_id: str | None = None
    reason: str | None = None
    successor: Handle | None = None
    since_ms: int | None = None
    """Since when the reason holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What is told of one state of an identifier in the list of them."""

    version: int
    state: IdentifierState | None
    """None: it was deleted."""
    since_ms: int
    until_ms: int | None = None
    """None for the present one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What a list tells of an identifier."""

    handle: Handle
    state: IdentifierState
    version: int
    changed_ms: int


class IdentifierReader:
    """Reads identifiers of one node. Every method raises ApiProblem 404 for what the caller may not see."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def read(self, handle: Handle, caller: Caller) -> Identifier:
        """An identifier as it is."""
        prefix = await self._prefix(handle, caller)
        row = await self._context.store.read(self._context.key_of(handle))
        if row is None or not row.stored:
            raise ApiProblem(NOT_FOUND, NO_IDENTIFIER)
        if row.version == 1 and row.state in _PLAIN_STATES and not prefix.has_ranges:
            return _identifier(row, registered_ms=row.changed_ms)
        async with self._context.store.connection() as connection:
            return await _with_circumstances(connection, row, prefix)

    async def read_version(self, handle: Handle, caller: Caller, version: int) -> Identifier:
        """An identifier as it was in one of its versions."""
        await self._prefix(handle, caller)
        key = self._context.key_of(handle)
        row = await self._context.store.read(key)
        if row is not None and row.version != version:
            row = await self._earlier(_VERSION, key, version)
        return _known(row, f"The identifier has no version {version}.")

    async def read_as_of(self, handle: Handle, caller: Caller, at: datetime) -> Identifier:
        """An identifier as it was at a time."""
        await self._prefix(handle, caller)
        key = self._context.key_of(handle)
        at_ms = int(at.timestamp() * 1_000)
        row = await self._context.store.read(key)
        if row is not None and row.changed_ms > at_ms:
            row = await self._earlier(_AS_OF, key, at_ms)
        return _known(row, "At that time there was no such identifier.")

    async def restricted(self, handle: Handle, caller: Caller) -> list[HandleValue]:
        """The values that are not public, their data in the clear.

        Keys and groups are told to nobody but who may appoint administrators.
        """
        await self._prefix(handle, caller)
        row = await self._context.store.read(self._context.key_of(handle))
        if row is None or not row.stored:
            raise ApiProblem(NOT_FOUND, NO_IDENTIFIER)
        opened = self._context.sealer.open(row.key, row.restricted) if row.restricted_count else ()
        appoints = AdminPermission.MODIFY_ADMIN in caller.actor().rights
        return [HandleValue.decode(value) for value in opened if appoints or type_of(value) not in KEY_TYPES]

    async def versions(
        self, handle: Handle, caller: Caller, *, below: int | None, limit: int
    ) -> tuple[list[Version], int | None]:
        """Versions, the latest first, and the number below which the next page begins."""
        await self._prefix(handle, caller)
        row = await self._context.store.read(self._context.key_of(handle))
        if row is None:
            raise ApiProblem(NOT_FOUND, NO_IDENTIFIER)
        found = []
        if below is None:
            found.append(Version(version=row.version, state=STATE_OF.get(row.state), since_ms=row.changed_ms))
        async with self._context.store.connection() as connection:
            records = await connection.fetch(
                _VERSIONS, row.key, row.version if below is None else below, limit + 1 - len(found)
            )
        found += [
            Version(version=version, state=STATE_OF.get(state), since_ms=since_ms, until_ms=until_ms)
            for version, state, since_ms, until_ms in records
        ]
        return found[:limit], found[limit - 1].version if len(found) > limit else None

    async def list(
        self,
        prefix: Prefix,
        caller: Caller,
        *,
        state: IdentifierState | None,
        start: bytes | None,
        limit: int,
    ) -> tuple[list[Listed], bytes | None]:
        """Identifiers of a prefix in order of their storage keys, and the key with which the next page begins.

        start: a storage key. A page may hold fewer than limit though more follow (SCAN_MAX).
        """
        table = await self._context.prefixes.around(Handle(prefix.key + b"/"))
        held_prefix(table, prefix.key, caller, words=NO_PREFIX)
        first = max(start or b"", prefix.key + b"/")
        async with self._context.store.connection() as connection:
            records, following = await _page(connection, prefix.key, first, state, limit)
        listed = [
            Listed(handle=Handle(name), state=STATE_OF[stored], version=version, changed_ms=changed_ms)
            for _, name, stored, version, changed_ms in records
        ]
        return listed, following

    async def _prefix(self, handle: Handle, caller: Caller) -> PrefixRow:
        table = await self._context.prefixes.around(handle)
        row = held_prefix(table, handle.prefix.key, caller)
        check_here(table, handle, None)
        return row

    async def _earlier(self, query: str, key: bytes, argument: int) -> Row | None:
        async with self._context.store.connection() as connection:
            record = await connection.fetchrow(query, key, argument)
        return None if record is None else Row(*record)


async def registered_at(connection: Connection, rows: Sequence[Row]) -> dict[bytes, int]:
    """When the handles of these rows were registered: key -> Unix milliseconds.

    Of one that was deleted and registered again, the last time; of one whose first versions were not kept, the
    earliest time that is known.
    """
    known = {row.key: row.changed_ms for row in rows}
    changed = [row.key for row in rows if row.version > 1]
    if changed:
        known |= {record[0]: record[1] for record in await connection.fetch(_BEGUN, changed)}
    return known


async def _page(
    connection: Connection, prefix: bytes, first: bytes, state: IdentifierState | None, limit: int
) -> tuple[Sequence[asyncpg.Record], bytes | None]:
    if state not in (None, IdentifierState.ACTIVE):
        rare = await connection.fetch(_LIST_RARE, prefix, first, STORED_AS[state], limit + 1)
        return rare[:limit], rare[limit]["key"] if len(rare) > limit else None
    states = [int(stored) for known, stored in STORED_AS.items() if state in (None, known)]
    records = await connection.fetch(LIST, prefix, first, limit + 1, SCAN_MAX, states)
    if len(records) > limit:
        return records[:limit], records[limit]["key"]
    return records, await connection.fetchval(_SEEN_TO, prefix, first, SCAN_MAX)


async def _with_circumstances(connection: Connection, row: Row, prefix: PrefixRow) -> Identifier:
    """An identifier with what is kept beside its row."""
    registered = await registered_at(connection, [row])
    ranges = await ranges_holding(connection, prefix.key, [row.key]) if prefix.has_ranges else {}
    reason, successor, since_ms = None, None, None
    if row.state not in _PLAIN_STATES:
        record = await connection.fetchrow(_CIRCUMSTANCES, row.key)
        if record is not None:
            reason, successor, since_ms = record
    return replace(
        _identifier(row, registered_ms=registered[row.key]),
        range_id=ranges[0][0] if ranges else None,
        reason=reason,
        successor=None if successor is None else Handle(successor),
        since_ms=since_ms,
    )


def _known(row: Row | None, words: str) -> Identifier:
    if row is None or not row.stored:
        raise ApiProblem(NOT_FOUND, words)
    return _identifier(row)


def _identifier(row: Row, registered_ms: int | None = None) -> Identifier:
    restricted = [(value.index, value.type) for value in row.restricted] if row.restricted_count else ()
    return Identifier(
        handle=Handle(row.name),
        state=STATE_OF[row.state],
        version=row.version,
        changed_ms=row.changed_ms,
        registered_ms=registered_ms,
        values=row.public,
        restricted=restricted,
    )
