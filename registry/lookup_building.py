"""Building the look-ups of records that were stored before their types were searched for.

Writers enter what they write from the moment on that the settings name a type; a walk through all handles enters the
rest. How far it is, is kept with every transaction: it may end anywhere, and goes on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from registry.lookup_facts import Position, built_types, note_end, note_position, read_position
from registry.lookups import LookupTypes
from registry.store import Store

BATCH_ROWS: Final = 2_000
"""Handles of one transaction: some tens of milliseconds."""
DROP_ROWS: Final = 10_000

_READ: Final = f"""
    SELECT key, public_values, public_count, state FROM handles WHERE key > $1 ORDER BY key LIMIT {BATCH_ROWS}"""  # noqa: S608
_DROP: Final = f"""
    DELETE FROM handle_lookups WHERE (type, data, key) IN (
        SELECT type, data, key FROM handle_lookups WHERE type <> ALL ($1::bytea[]) LIMIT {DROP_ROWS})"""  # noqa: S608
_ESTIMATE: Final = """
    SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint FROM pg_class
    WHERE oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'handles'::regclass)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a walk has done."""

    handles: int
    """Handles that were looked at, in all its parts."""
    resumed: bool
    """Whether an earlier walk was gone on with."""


async def build(store: Store, types: LookupTypes, advanced: Callable[[int, int], None]) -> Built:
    """Enter the values of every handle, and forget those of other types.

    advanced: told after each transaction how many handles were looked at, and about how many there are.
    Raises StoreUnavailable; what was done until then stays done.
    """
    names = tuple(sorted(types.folded))
    position = await read_position(store)
    if position is None or position.types != names:
        position = Position(types=names)
    resumed = bool(position.handles)
    await _drop_others(store, names)
    async with store.connection() as connection:
        total = await connection.fetchval(_ESTIMATE)
    while True:
        advanced(position.handles, max(total, position.handles))
        following = await _enter_some(store, position)
        if following is None:
            return Built(handles=position.handles, resumed=resumed)
        position = following


async def _enter_some(store: Store, position: Position) -> Position | None:
    """Enter the values of the next handles; None when there are none, and every type is complete."""
    async with store.writing() as writing:
        rows = await writing.connection.fetch(_READ, position.after)
        await writing.add_lookups({entry for row in rows for entry in writing.entries_of(*row)})
        if not rows:
            await note_end(writing.connection, position.types)
            return None
        following = Position(
            types=position.types, after=rows[-1]["key"], handles=position.handles + len(rows)
        )
        await note_position(writing.connection, following)
        return following


async def _drop_others(store: Store, names: tuple[bytes, ...]) -> None:
    """Remove the entries of types that nobody searches for."""
    status = f"DELETE {DROP_ROWS}"
    while status == f"DELETE {DROP_ROWS}":
        async with store.connection() as connection:
            status = await connection.execute(_DROP, names)


async def unbuilt(store: Store, types: LookupTypes) -> frozenset[bytes]:
    """Types of which records that were stored earlier may lack their entries."""
    return types.folded - await built_types(store)
