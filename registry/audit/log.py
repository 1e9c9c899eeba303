"""AuditLog: reading the numbered entries of the audit, the latest first, and what each of them changed."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import asyncpg

from registry.audit.entry import ENTRY_COLUMNS, Entry
from registry.audit.head import Head
from registry.audit.numbering import count_waiting, read_fact
from registry.store import Store

SCAN_MAX: Final = 20_000
"""Entries that one page looks at: some twenty milliseconds. A page can be short, and others still follow it."""
WAITING_MAX: Final = 10_000
"""How far entries without a number are counted."""

_MS_MIN: Final = -(2**63)
_MS_MAX: Final = 2**63 - 1
_POSITION: Final = struct.Struct(">qq")
_COLUMNS: Final = ", ".join(f"a.{column}" for column in ENTRY_COLUMNS)
_NUMBER: Final = """
    CROSS JOIN LATERAL (
        SELECT number, chain FROM audit_chain AS c WHERE c.xact = a.xact AND c.id = a.id OFFSET 0) AS link"""
_WINDOW_OF_ALL: Final = f"""
    SELECT * FROM audit_log WHERE $1::text IS NULL AND at_ms >= $2 AND (at_ms, id) < ($3, $4)
    ORDER BY at_ms DESC, id DESC LIMIT {SCAN_MAX}"""  # noqa: S608 - words of our own
_WINDOW_OF_ONE: Final = f"""
    SELECT * FROM audit_log WHERE organisation = $1 AND at_ms >= $2 AND (at_ms, id) < ($3, $4)
    ORDER BY at_ms DESC, id DESC LIMIT {SCAN_MAX}"""  # noqa: S608 - words of our own
_CHOICE: Final = """
    ($5::text IS NULL OR a.actor = $5) AND ($6::text IS NULL OR a.target = $6)
    AND ($7::text IS NULL OR a.action = $7 OR starts_with(a.action, $7 || '.'))"""
_READ: Final = f"""
    SELECT c.number, c.chain, {_COLUMNS} FROM audit_chain AS c JOIN audit_log AS a ON a.xact = c.xact AND a.id = c.id
    WHERE c.number = $1"""  # noqa: S608 - words of our own
_CHANGES: Final = """
    SELECT position, name, action, version, changed_ms FROM transaction_log
    WHERE entry = $1 AND position > $2 ORDER BY position LIMIT $3"""


class Position(NamedTuple):
    """Where a page ends: what the next one begins behind."""

    at_ms: int = _MS_MAX
    id: int = _MS_MAX

    def octets(self) -> bytes:
        """As a cursor carries it."""
        return _POSITION.pack(self.at_ms, self.id)

    @classmethod
    def of(cls, octets: bytes) -> "Position":
        """The position that was carried. Raises ValueError for other octets."""
        if len(octets) != _POSITION.size:
            raise ValueError("the octets are no position")
        return cls(*_POSITION.unpack(octets))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which entries."""

    organisation: str | None = None
    """None for those of all, and of the node itself."""
    actor: str | None = None
    target: str | None = None
    action: str | None = None
    """Such as prefix.suspend, or its beginning: prefix."""
    since_ms: int = _MS_MIN
    until_ms: int = _MS_MAX
    """The instant itself excluded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedEntry:
    """An entry with its place in the chain."""

    number: int
    chain: bytes
    entry: Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPage:
    """Entries, the latest first."""

    entries: Sequence[NumberedEntry]
    next: Position | None
    """None when no others follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One handle that an entry changed."""

    position: int
    """From 0 within its entry."""
    name: bytes
    action: int
    """See registry.writing.Action."""
    version: int
    changed_ms: int


class AuditLog:
    """The numbered entries of one node. Every method raises StoreUnavailable when the database does not answer."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list(self, choice: Choice, *, after: Position | None, limit: int) -> EntryPage:
        """The next entries of a choice, the latest first.

        after: where the page before ended. A page may hold fewer than limit, even none, while others follow: each looks
        at SCAN_MAX entries at most.
        """
        begin = min(after or Position(), Position(choice.until_ms, _MS_MIN))
        window = _WINDOW_OF_ALL if choice.organisation is None else _WINDOW_OF_ONE
        bounds = (choice.organisation, choice.since_ms, *begin)
        async with self._store.connection() as connection:
            records = await connection.fetch(
                f"SELECT link.number, link.chain, {_COLUMNS} FROM ({window}) AS a {_NUMBER} WHERE {_CHOICE}"  # noqa: S608
                " ORDER BY a.at_ms DESC, a.id DESC LIMIT $8",
                *bounds,
                choice.actor,
                choice.target,
                choice.action,
                limit + 1,
            )
            entries = [_numbered(record) for record in records[:limit]]
            if len(records) > limit:
                last = entries[-1].entry
                return EntryPage(entries=entries, next=Position(last.at_ms, last.id))
            end = await connection.fetchrow(
                f"SELECT at_ms, id FROM ({window}) AS a OFFSET {SCAN_MAX - 1}",  # noqa: S608
                *bounds,
            )
        return EntryPage(entries=entries, next=None if end is None else Position(*end))

    async def read(self, number: int) -> NumberedEntry | None:
        """The entry of a number, or None."""
        async with self._store.connection() as connection:
            record = await connection.fetchrow(_READ, number)
        return None if record is None else _numbered(record)

    async def changes(self, entry: Entry, *, after: int, limit: int) -> Sequence[Change]:
        """Handles that an entry changed, in their order, behind a position (-1 for the first page)."""
        async with self._store.connection() as connection:
            records = await connection.fetch(_CHANGES, entry.id, after, limit)
        return [
            Change(position=position, name=name, action=action, version=version, changed_ms=changed_ms)
            for position, name, action, version, changed_ms in records
        ]

    async def head(self) -> tuple[Head, int]:
        """The last entry that has a number, and how many have none yet, counted to WAITING_MAX."""
        async with self._store.connection() as connection:
            head = await read_fact(connection) or Head()
            waiting, _ = await count_waiting(connection, head.position, WAITING_MAX)
        return head, waiting


def _numbered(record: asyncpg.Record) -> NumberedEntry:
    number, chain, *columns = record
    return NumberedEntry(number=number, chain=chain, entry=Entry(*columns))
