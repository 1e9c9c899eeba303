"""What a node has noted of its look-ups: which types are complete, and how far a walk is that completes them.

A type is complete when every record has its entries: from the beginning in a new database, else after a walk through
all handles. Where the settings do not name a type, it is not written down, and both notes about it end.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from registry.lookups import LookupTypes
from registry.store import Connection, Store

_BUILT_FACT: Final = "lookups_built"
_POSITION_FACT: Final = "lookups_position"
_PUT: Final = "INSERT INTO node VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
_FORGET: Final = "DELETE FROM node WHERE name = $1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a walk is."""

    types: tuple[bytes, ...]
    """Folded and sorted: what it enters."""
    after: bytes = b""
    """Key of the last handle that was looked at."""
    handles: int = 0
    """How many were looked at."""


async def built_types(store: Store) -> frozenset[bytes]:
    """The folded types by whose values every record can be found. Raises StoreUnavailable."""
    stored = await store.fact(_BUILT_FACT)
    return frozenset(msgspec.msgpack.decode(stored, type=tuple[bytes, ...]) if stored else ())


async def read_position(store: Store) -> Position | None:
    """How far a walk is that has not come to its end. Raises StoreUnavailable."""
    stored = await store.fact(_POSITION_FACT)
    return msgspec.msgpack.decode(stored, type=Position) if stored else None


async def note_position(connection: Connection, position: Position) -> None:
    """Keep how far a walk is, in the transaction of what it has entered."""
    await connection.execute(_PUT, _POSITION_FACT, msgspec.msgpack.encode(position))


async def note_end(connection: Connection, types: tuple[bytes, ...]) -> None:
    """A walk has come to its end: these types are complete."""
    await connection.execute(_PUT, _BUILT_FACT, msgspec.msgpack.encode(types))
    await connection.execute(_FORGET, _POSITION_FACT)


async def note_types(store: Store, lookups: LookupTypes, *, is_new: bool) -> None:
    """A node starts whose settings name these types. is_new: whether nothing is stored yet."""
    built, position = await built_types(store), await read_position(store)
    kept = lookups.folded if is_new else built & lookups.folded
    if kept != built:
        await store.put_fact(_BUILT_FACT, msgspec.msgpack.encode(tuple(sorted(kept))))
    if position is not None and frozenset(position.types) != lookups.folded:
        async with store.connection() as connection:
            await connection.execute(_FORGET, _POSITION_FACT)
