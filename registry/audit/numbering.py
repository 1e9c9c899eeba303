"""Numbering: give the entries of the audit their numbers and their chain, in the order in which they were committed.

An entry whose transaction lies below the oldest one that still runs is complete: nothing can appear before it any more.
So the entries are walked in the order (xact, id), page by page, and no number is ever filled in later.

Transaction numbers belong to a cluster. In a database that was restored into another one they begin anew, below those
of the entries that came along; what has a number is therefore looked up and not concluded from its place.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import asyncpg
import msgspec
import structlog
from asyncpg.pool import PoolConnectionProxy

from registry.audit.entry import ENTRY_COLUMNS, Entry, LogDigest, link
from registry.audit.head import HEAD_FACT, Head

BATCH_ENTRIES_MAX: Final = 1_000
"""Entries numbered by one transaction: their hashes hold up the event loop for some ten milliseconds."""
CHANNEL: Final = "handlegrid_changes"
"""Listeners are told here, once per batch, the number of the last entry."""
ADOPTION: Final = "audit.adopt"
"""The entry that takes in rows of the transaction log from before there were entries."""
WALK_WAIT_S: Final = 86_400.0
"""How long a statement may take that looks through everything, as it does once after a restore."""
SESSION_SETTINGS: Final = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
"""Every page is read along an index and every number looked up, also while statistics say that tables are empty."""

_COLUMNS: Final = ", ".join(f"a.{column}" for column in ENTRY_COLUMNS)
_SNAPSHOT: Final = """
    SELECT pg_snapshot_xmin(now)::text::bigint, pg_snapshot_xmax(now)::text::bigint FROM pg_current_snapshot() AS now"""
_UNNUMBERED: Final = """
    NOT EXISTS (SELECT FROM audit_chain AS c WHERE c.xact = a.xact AND c.id = a.id)"""
_NEXT: Final = f"""
    SELECT {_COLUMNS} FROM audit_log AS a WHERE a.xact >= $1 AND a.xact < $2 AND {_UNNUMBERED}
    ORDER BY a.xact, a.id LIMIT {BATCH_ENTRIES_MAX}"""  # noqa: S608 - words of our own
_RESTORED: Final = f"""
    SELECT {_COLUMNS} FROM audit_log AS a WHERE (a.xact < $1 OR a.xact >= $2) AND {_UNNUMBERED}
    ORDER BY a.xact, a.id LIMIT {BATCH_ENTRIES_MAX}"""  # noqa: S608 - words of our own
_PLACE: Final = f"""
    WITH head AS (
        INSERT INTO node VALUES ('{HEAD_FACT}', $6)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value
    ), links AS (
        INSERT INTO audit_chain (number, xact, id, chain, log_number)
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bigint[])
    )
    SELECT pg_notify('{CHANNEL}', $7)"""  # noqa: S608 - words of our own
_PUT_HEAD: Final = "UPDATE node SET value = $2 WHERE name = $1"
_LAST: Final = "SELECT number, chain, log_number FROM audit_chain ORDER BY number DESC LIMIT 1"
_WAITING: Final = f"""
    SELECT count(*), min(at_ms) FROM (
        SELECT a.at_ms FROM audit_log AS a WHERE a.xact >= $1 AND {_UNNUMBERED} LIMIT $2) AS waiting
    """  # noqa: S608 - words of our own
_ADOPT: Final = """
    UPDATE transaction_log AS t SET entry = $1, position = given.position FROM (
        SELECT ctid, row_number() OVER (ORDER BY key, version) - 1 AS position FROM transaction_log WHERE entry = 0
    ) AS given WHERE t.ctid = given.ctid"""
_ADOPTED: Final = """
    SELECT key, name, action, version, changed_ms FROM transaction_log WHERE entry = $1 ORDER BY position"""
_ADOPTION: Final = f"""
    INSERT INTO audit_log (id, at_ms, actor, via, action, target, items, digest)
    VALUES ($1, $2, 'system', 'system', '{ADOPTION}', 'transaction_log', $3, $4)"""  # noqa: S608 - words of our own

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
AnyConnection: TypeAlias = "Connection | PoolConnectionProxy[asyncpg.Record]"

log = structlog.get_logger(__name__)


class Numbering:
    """Numbers the entries of one database; nobody else does so meanwhile."""

    def __init__(self, connection: Connection, *, wall_clock: Callable[[], float]) -> None:
        self._connection = connection
        self._wall_clock = wall_clock
        self.head = Head()
        self.position = 0
        """Every entry of a transaction below this one has its number."""

    async def start(self) -> Head:
        """Find out where numbering has to go on; after a restore, number what came along."""
        self.head = await self._find_head()
        self.position = self.head.position
        if self.head.number == 0:
            await self._adopt()
        xmin, xmax = await self._snapshot()
        if self.position > xmax:
            log.warning("audit_of_another_cluster", position=self.position, transactions=xmax)
            await self._number_restored(xmin, xmax)
        return self.head

    async def step(self) -> int:
        """Number the next batch; gives how many entries it had, 0 when nothing is complete."""
        xmin, _ = await self._snapshot()
        if xmin <= self.position:
            return 0
        wait_s = None if self.position else WALK_WAIT_S
        records = await self._connection.fetch(_NEXT, self.position, xmin, timeout=wait_s)
        full = len(records) == BATCH_ENTRIES_MAX
        position = records[-1][0] if full else xmin
        if records:
            await self._place(records, position)
        self.position = position
        return len(records)

    async def waiting(self, entries_max: int) -> tuple[int, int | None]:
        """How many entries have no number yet, counted up to entries_max, and the time of the oldest in ms."""
        return await count_waiting(self._connection, self.position, entries_max)

    async def read_position(self) -> None:
        """Take note of how far somebody else has numbered."""
        fact = await read_fact(self._connection)
        self.position = fact.position if fact else 0

    async def _find_head(self) -> Head:
        """The head as it was stored. One that does not agree with the chain is a fault which verification tells.

        Numbering goes on behind whichever is longer, since a number must never be given twice.
        """
        stored = await read_fact(self._connection)
        last = await self._connection.fetchrow(_LAST)
        if last is None and stored is None:
            return Head()
        if last is not None and stored is not None and (last[0], last[1]) == (stored.number, stored.chain):
            return stored
        log.error("audit_head_differs", stored=stored and stored.number, chain=last and last[0])
        if last is None:
            assert stored is not None
            return stored
        head = stored or Head(chain=last[1])
        if last[0] > head.number:
            head = msgspec.structs.replace(head, number=last[0], log_number=last[2])
        return head

    async def _snapshot(self) -> tuple[int, int]:
        record = await self._connection.fetchrow(_SNAPSHOT)
        assert record is not None
        return record[0], record[1]

    async def _number_restored(self, xmin: int, xmax: int) -> None:
        while True:
            records = await self._connection.fetch(_RESTORED, xmin, xmax, timeout=WALK_WAIT_S)
            if records:
                await self._place(records, self.position)
            if len(records) < BATCH_ENTRIES_MAX:
                break
        self.position = xmin
        self.head = msgspec.structs.replace(self.head, position=xmin)
        await self._connection.execute(_PUT_HEAD, HEAD_FACT, self.head.encode())

    async def _place(self, records: Sequence[asyncpg.Record], position: int) -> None:
        number, chain, log_number = self.head.number, self.head.chain, self.head.log_number
        chains, log_numbers = [], []
        for record in records:
            entry = Entry(*record)
            chain = link(chain, entry)
            log_number += entry.items
            chains.append(chain)
            log_numbers.append(log_number)
        last = number + len(records)
        head = Head(
            number=last,
            chain=chain,
            log_number=log_number,
            position=position,
            numbered_ms=int(self._wall_clock() * 1_000),
        )
        await self._connection.execute(
            _PLACE,
            range(number + 1, last + 1),
            [record[0] for record in records],
            [record[1] for record in records],
            chains,
            log_numbers,
            head.encode(),
            str(last),
        )
        self.head = head

    async def _adopt(self) -> None:
        """Take in the rows of the transaction log that belong to no entry: those of an earlier version."""
        async with self._connection.transaction():
            first = "SELECT EXISTS (SELECT FROM transaction_log WHERE entry = 0)"
            if not await self._connection.fetchval(first):
                return
            entry: int = await self._connection.fetchval("SELECT nextval('audit_entries')")
            await self._connection.execute(_ADOPT, entry, timeout=WALK_WAIT_S)
            digest = LogDigest()
            rows = await self._connection.cursor(_ADOPTED, entry)
            while page := await rows.fetch(BATCH_ENTRIES_MAX):
                digest.add(page)
            await self._connection.execute(
                _ADOPTION, entry, int(self._wall_clock() * 1_000), digest.rows, digest.octets()
            )


async def count_waiting(connection: AnyConnection, position: int, entries_max: int) -> tuple[int, int | None]:
    """How many entries from a transaction on have no number, counted up to entries_max, and the oldest's time in ms."""
    record = await connection.fetchrow(_WAITING, position, entries_max)
    assert record is not None
    return record[0], record[1]


async def read_fact(connection: AnyConnection) -> Head | None:
    """The head as it is stored; None when there is none, or something else in its place."""
    octets = await connection.fetchval("SELECT value FROM node WHERE name = $1", HEAD_FACT)
    try:
        return None if octets is None else Head.decode(octets)
    except ValueError:
        log.error("audit_head_unreadable")
        return None
