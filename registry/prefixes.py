"""Prefixes that this node homes, with their authorisation copies: kept in memory, read again when they change."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from protocol.generations import Generations
from protocol.handle import ROOT_PREFIX_OCTETS, Handle
from protocol.value import ValueList
from registry.store import PrefixRow, Store

_UNREAD: Final = -1


@dataclass(frozen=True, slots=True)
class PrefixTable:
    """The prefixes at one moment."""

    rows: dict[bytes, PrefixRow]
    homed: frozenset[bytes]
    """Folded prefixes whose handles the node holds."""

    def authorisation(self, prefix_key: bytes) -> ValueList | None:
        """The local copy of 0.NA/<prefix>, or None when we were given none."""
        row = self.rows.get(prefix_key)
        return None if row is None else row.authorisation


class Prefixes:
    """The table, read from the database at first use and whenever any process of this host has changed it."""

    def __init__(self, store: Store, generations: Generations) -> None:
        self._store = store
        self._generations = generations
        self._table = PrefixTable({}, frozenset())
        self._generation = _UNREAD
        self._reading = asyncio.Lock()

    async def table(self) -> PrefixTable:
        """The prefixes now. Raises StoreUnavailable."""
        if self._generation == self._generations.prefix_table:
            return self._table
        async with self._reading:
            generation = self._generations.prefix_table  # before the read, lest a change is missed
            if self._generation != generation:
                rows = {row.key: row for row in await self._store.prefixes()}
                homed = frozenset(key for key, row in rows.items() if row.homed)
                self._table, self._generation = PrefixTable(rows, homed), generation
        return self._table

    @property
    def last_read(self) -> PrefixTable:
        """The table as the operation at hand read it; for use inside a transaction, which must not wait for a second
        connection: with every connection in a transaction that waits for another one, none would come.
        """
        return self._table

    def holds_any(self, prefix_keys: Iterable[bytes]) -> bool:
        """Whether the table, as last read, has one of these folded prefixes."""
        return any(key in self._table.rows for key in prefix_keys)


def authorising_prefix(handle: Handle) -> bytes:
    """The folded prefix P whose record 0.NA/P says who may create the handle: its own prefix; for a prefix record the
    parent, and 0.NA for one label and for the reserved prefixes that begin with 0.
    """
    if not handle.is_prefix_record:
        return handle.prefix.key
    name = handle.suffix.upper()
    head, dot, _ = name.rpartition(b".")
    return ROOT_PREFIX_OCTETS if not dot or name.startswith(b"0.") else head
