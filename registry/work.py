"""Work: one write transaction on its way: what it wrote, who did it, and whom to tell once it is committed."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Final, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from protocol.handle import Handle
from protocol.value import ValueList
from registry.audit.entry import Detail, canonical_detail, digest_of
from registry.context import Context
from registry.outcomes import Origin
from registry.prefixes import PrefixRow, PrefixTable
from registry.writing import COPY_ROWS_MIN, Action, LogEntry, Writing, columns_of

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

Collected = Callable[[Connection, Sequence[Any]], Awaitable[None]]
"""Writes rows that were collected."""

ACTION_NAMES: Final = {
    Action.CREATE: "identifier.create",
    Action.UPDATE: "identifier.update",
    Action.DELETE: "identifier.delete",
    Action.HOME: "prefix.home",
    Action.UNHOME: "prefix.unhome",
}
TARGET_MAX: Final = 2_048  # characters; as long as a handle may be

_WRITE: Final = """
    WITH given AS MATERIALIZED (
        SELECT nextval('audit_entries') AS id, e.* FROM unnest($2::text[], $3::text[], $4::text[], $5::text[],
            $6::text[], $7::int[], $8::bytea[], $9::text[], $10::text[])
        WITH ORDINALITY AS e (actor, organisation, via, action, target, items, digest, detail, request_id, place)
    ), entries AS (
        INSERT INTO audit_log (id, at_ms, actor, organisation, via, action, target, items, digest, detail, request_id)
        SELECT id, $1, actor, organisation, via, action, target, items, digest, detail, request_id FROM given
    )
    INSERT INTO transaction_log (key, name, action, version, changed_ms, entry, position)
    SELECT r.key, r.name, r.action, r.version, r.changed_ms, given.id, r.position
    FROM unnest($11::bytea[], $12::bytea[], $13::smallint[], $14::bigint[], $15::bigint[], $16::bigint[], $17::int[])
        AS r (key, name, action, version, changed_ms, place, position)
    JOIN given ON given.place = r.place"""
_NUMBERS: Final = "SELECT nextval('audit_entries') FROM generate_series(1, $1::int)"
_AUDIT_COLUMNS: Final = (
    "id", "at_ms", "actor", "organisation", "via", "action", "target", "items", "digest", "detail", "request_id",
)  # fmt: skip
_LOG_COLUMNS: Final = ("key", "name", "action", "version", "changed_ms", "entry", "position")


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One entry of the audit log, with the rows of the transaction log that belong to it."""

    origin: Origin
    action: str
    target: str
    organisation: str | None
    detail: str
    rows: Sequence[LogEntry] = ()

    def columns(self) -> tuple[object, ...]:
        """As it is stored, without its number and time."""
        return (
            self.origin.actor,
            self.organisation,
            self.origin.via,
            self.action,
            self.target,
            len(self.rows),
            digest_of(self.rows) if self.rows else None,
            self.detail,
            self.origin.request_id,
        )


class Work:
    """What one transaction does. It is written and announced by whoever opened it."""

    def __init__(self, context: Context, writing: Writing, origin: Origin) -> None:
        self.context = context
        self.writing = writing
        self.origin = origin
        self.now_ms = context.now_ms()
        """Unix milliseconds, the same for everything in this transaction."""
        self.moving = False
        """Whether this is the work for which prefixes are frozen, and which may therefore write below them."""
        self._acts: list[Act] = []
        self._collected: dict[Collected, list[Any]] = {}
        self._keys: list[bytes] = []
        self._prefixes: set[bytes] = set()

    @property
    def connection(self) -> Connection:
        """The connection of the transaction, for statements about what is no handle."""
        return self.writing.connection

    @property
    def now(self) -> datetime:
        """The time of the transaction, in UTC."""
        return datetime.fromtimestamp(self.now_ms / 1_000, UTC)

    def audit(
        self,
        action: str,
        target: str,
        *,
        organisation: str | None = None,
        detail: Mapping[str, Detail] | None = None,
        origin: Origin | None = None,
    ) -> None:
        """Enter an act into the audit log. action: such as prefix.suspend; detail: no secrets, no personal data."""
        by = origin or self.origin
        self._acts.append(
            Act(
                origin=by,
                action=action,
                target=target[:TARGET_MAX],
                organisation=organisation or by.organisation,
                detail=canonical_detail(detail or {}),
            )
        )

    def record(
        self, rows: Sequence[LogEntry], *, origin: Origin | None = None, holder: str | None = None
    ) -> None:
        """Enter changes of handles, one act for each kind of change, and announce them once they are committed.

        holder: the organisation whose prefix they are below; the act is in its audit, whoever did it.
        """
        by = origin or self.origin
        for action, group in groupby(sorted(rows, key=_action_of), key=_action_of):
            changed = list(group)
            self._acts.append(
                Act(
                    origin=by,
                    action=ACTION_NAMES[Action(action)],
                    target=target_text(changed[0][1]),
                    organisation=by.organisation or holder,
                    detail="{}",
                    rows=changed,
                )
            )
        self._keys += [row[0] for row in rows]

    def announce_handles(self, keys: Iterable[bytes]) -> None:
        """End what is cached of these storage keys, once the transaction is committed."""
        self._keys += keys

    def announce_prefix(self, prefix_key: bytes) -> None:
        """End every cached answer below a folded prefix, once the transaction is committed."""
        self._prefixes.add(prefix_key)

    async def table(self, handle: Handle) -> PrefixTable:
        """What is known of the prefixes around a handle, as this transaction sees it."""
        changed = bool(self._prefixes)
        return await self.context.prefixes.around(handle, self.writing.prefix_rows, uncommitted=changed)

    async def prefix_row(self, prefix_key: bytes) -> PrefixRow | None:
        """What the node knows of a folded prefix, as this transaction sees it.

        Who changes it holds the lock of its allocation or of its record already; a lock of its own would be one more
        to wait for in a circle.
        """
        return (await self.writing.prefix_rows([prefix_key])).get(prefix_key)

    async def save_prefix(self, row: PrefixRow) -> None:
        """Write what the node shall know of a prefix."""
        self._prefixes.add(row.key)
        await self.writing.save_prefix(row)

    def collect(self, write: Collected, row: Any) -> None:
        """Have the rows that many acts of this transaction add written by one call, before the commit.

        What it raises undoes the transaction.
        """
        self._collected.setdefault(write, []).append(row)

    async def renew_authorisation(self, prefix_key: bytes, record: ValueList) -> None:
        """Let the copy of a prefix record be that record; nothing else of what is known of the prefix changes."""
        self._prefixes.add(prefix_key)
        await self.writing.put_authorisation(prefix_key, record)

    async def write_log(self) -> None:
        """Write the entries, after what was collected; the last thing before the commit."""
        for write, collected in self._collected.items():
            await write(self.connection, collected)
        rows = sum(len(act.rows) for act in self._acts)
        if not self._acts:
            return
        if rows < COPY_ROWS_MIN and len(self._acts) < COPY_ROWS_MIN:
            await self._write_small()
        else:
            await self._write_large()

    async def _write_small(self) -> None:
        acts = columns_of([act.columns() for act in self._acts], 9)
        rows = [
            (*row, place, position)
            for place, act in enumerate(self._acts, 1)
            for position, row in enumerate(act.rows)
        ]
        await self.connection.execute(_WRITE, self.now_ms, *acts, *columns_of(rows, 7))

    async def _write_large(self) -> None:
        numbers = [record[0] for record in await self.connection.fetch(_NUMBERS, len(self._acts))]
        acts = [
            (number, self.now_ms, *act.columns()) for number, act in zip(numbers, self._acts, strict=True)
        ]
        rows = [
            (*row, number, position)
            for number, act in zip(numbers, self._acts, strict=True)
            for position, row in enumerate(act.rows)
        ]
        await self.connection.copy_records_to_table("audit_log", records=acts, columns=_AUDIT_COLUMNS)
        if rows:
            await self.connection.copy_records_to_table("transaction_log", records=rows, columns=_LOG_COLUMNS)

    def count(self) -> Counter[Action]:
        """How many handles this changed, by what was done to them."""
        return Counter(Action(row[2]) for act in self._acts for row in act.rows)

    def announce(self) -> None:
        """Let every process of this host know; after the commit, before the answer."""
        if self._keys or self._prefixes:
            self.context.announce(self._keys, self._prefixes)


def target_text(name: bytes) -> str:
    """A handle as the audit log names it: readable, and what text in the database can hold."""
    return name.decode("utf-8", "replace").replace("\0", "%00")[:TARGET_MAX]


def _action_of(row: LogEntry) -> int:
    return row[2]
