"""Verification: walk the whole audit, compute everything again, and tell what does not agree.

Numbered entries never change, so they are read page by page up to the number that is the last at the beginning, without
a transaction that would stay open for all of it. What has been added besides is found by counting, in one snapshot.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import asyncpg

from protocol.errors import SettingsError
from registry.audit.checkpoints import Checkpoint, read_checkpoints
from registry.audit.entry import ENTRY_COLUMNS, FIRST_LINK
from registry.audit.faults import FaultKind, Faults, Report
from registry.audit.head import Head, format_time
from registry.audit.numbering import WALK_WAIT_S, Connection, read_fact
from registry.audit.walks import ChainWalk, Claim, LogWalk
from registry.store import ACQUIRE_WAIT_S, STATEMENT_WAIT_S, outages

PAGE_ENTRIES: Final = 1_000

_LOWEST: Final = -(2**63)
"""Of what a number can be in the database."""
_PAGE: Final = f"""
    SELECT c.number, c.xact, c.id, c.chain, c.log_number, {", ".join(f"a.{column}" for column in ENTRY_COLUMNS)}
    FROM audit_chain AS c LEFT JOIN audit_log AS a ON a.xact = c.xact AND a.id = c.id
    WHERE c.number BETWEEN $1 AND $2 ORDER BY c.number LIMIT {PAGE_ENTRIES}"""  # noqa: S608 - words of our own
_LAST: Final = "SELECT number, chain, log_number FROM audit_chain ORDER BY number DESC LIMIT 1"
_TRANSACTIONS: Final = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
_UNNUMBERED: Final = """
    SELECT a.xact, a.id, a.at_ms, a.items, a.digest FROM audit_log AS a
    WHERE NOT EXISTS (SELECT FROM audit_chain AS c WHERE c.xact = a.xact AND c.id = a.id) ORDER BY a.xact, a.id"""
_COUNTS: Final = """
    SELECT (SELECT coalesce(sum(items), 0) FROM audit_log) = (SELECT count(*) FROM transaction_log)"""
_STRAYS: Final = """
    SELECT t.entry, count(*) FROM transaction_log AS t
    WHERE NOT EXISTS (SELECT FROM audit_log AS a WHERE a.id = t.entry) GROUP BY t.entry ORDER BY t.entry"""


class AuditSettings(Protocol):
    """What verifying the audit of a node takes from its settings."""

    def dsn(self) -> str:
        """Where the database is."""

    def checkpoints_file(self) -> Path:
        """Where heads of the chain were noted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a verification is."""

    entries: int
    entries_total: int
    log_rows: int
    faults: int


async def verify_node(settings: AuditSettings, progress: Callable[[Progress], None]) -> Report:
    """Verify the audit of a node against the checkpoints that it noted; whether it runs or not.

    Raises StoreUnavailable, or SettingsError for a database without an audit or checkpoints that cannot be read.
    """
    path = settings.checkpoints_file()
    try:
        checkpoints = read_checkpoints(path)
    except OSError as error:
        raise SettingsError([f"audit_checkpoints_file: cannot read {path}: {error.strerror}"]) from None
    with outages():
        connection = await asyncpg.connect(
            settings.dsn(), timeout=ACQUIRE_WAIT_S, command_timeout=STATEMENT_WAIT_S
        )
        try:
            return await verify(connection, checkpoints=checkpoints, progress=progress)
        except asyncpg.UndefinedTableError:
            fault = "database: it has no audit; a node that was started once with this version makes one"
            raise SettingsError([fault]) from None
        finally:
            connection.terminate()


async def verify(
    connection: Connection,
    *,
    checkpoints: Sequence[Checkpoint] = (),
    progress: Callable[[Progress], None] = lambda _: None,
) -> Report:
    """Verify the whole audit of a database; the node may be running.

    checkpoints: heads that were noted outside the database. progress: told after every page.
    Changes nothing. Raises what asyncpg raises when the database is gone.
    """
    return await _Verification(connection, checkpoints, progress).run()


class _Verification:
    """One walk."""

    def __init__(
        self, connection: Connection, checkpoints: Sequence[Checkpoint], progress: Callable[[Progress], None]
    ) -> None:
        self._connection = connection
        self._progress = progress
        self._faults = Faults()
        self._chain = ChainWalk(self._faults, checkpoints)
        self._log = LogWalk(connection, self._faults)
        self._checkpoints = len(checkpoints)
        self._waiting = 0

    async def run(self) -> Report:
        started_s = time.monotonic()
        async with self._connection.transaction(isolation="repeatable_read", readonly=True):
            last = await self._connection.fetchrow(_LAST)
            head = await read_fact(self._connection)
            await self._look_for_additions(head)
        _compare_head(head, last, self._faults)
        await self._walk(last[0] if last else 0)
        await self._look_for_strays()
        return Report(
            entries=self._chain.entries,
            log_rows=self._log.rows,
            waiting=self._waiting,
            checkpoints=self._checkpoints,
            number=last[0] if last else 0,
            chain=last[1] if last else FIRST_LINK,
            elapsed_s=time.monotonic() - started_s,
            faults=self._faults.shown,
            faults_total=self._faults.total,
        )

    async def _look_for_additions(self, head: Head | None) -> None:
        """Entries without a number: rightly where their transactions are too young, wrongly before and beyond."""
        begin = head.position if head else 0
        end = await self._connection.fetchval(_TRANSACTIONS)
        restored = begin > end  # into another cluster, and no node has run since
        claims = []
        found = self._connection.cursor(_UNNUMBERED, timeout=WALK_WAIT_S)
        async for xact, number, at_ms, items, digest in found:
            if restored or begin <= xact < end:
                self._waiting += 1
                claims.append(Claim(number=None, id=number, items=items, digest=digest))
            else:
                message = f"an entry of {format_time(at_ms)} (xact {xact}, id {number}) was added afterwards"
                self._faults.add(FaultKind.ENTRY_ADDED, None, message)
            if len(claims) == PAGE_ENTRIES:
                await self._log.check(claims)
                claims = []
        await self._log.check(claims)

    async def _walk(self, last: int) -> None:
        first = _LOWEST
        while first <= last and (records := await self._connection.fetch(_PAGE, first, last)):
            first = records[-1][0] + 1
            claims = [claim for claim in map(self._chain.follow, records) if claim is not None]
            await self._log.check(claims)
            self._progress(
                Progress(
                    entries=self._chain.entries,
                    entries_total=last,
                    log_rows=self._log.rows,
                    faults=self._faults.total,
                )
            )
        self._chain.end(last)

    async def _look_for_strays(self) -> None:
        if await self._connection.fetchval(_COUNTS, timeout=WALK_WAIT_S) and not self._log.is_faulty:
            return
        for entry, count in await self._connection.fetch(_STRAYS, timeout=WALK_WAIT_S):
            message = f"{count} rows of transaction_log belong to no entry (entry {entry})"
            self._faults.add(FaultKind.LOG_ADDED, None, message)


def _compare_head(head: Head | None, last: asyncpg.Record | None, faults: Faults) -> None:
    noted = (head.number, head.chain, head.log_number) if head else (0, FIRST_LINK, 0)
    found = tuple(last) if last else (0, FIRST_LINK, 0)
    if noted != found:
        message = f"the chain ends with entry {found[0]}, but the node has noted entry {noted[0]}"
        if noted[0] == found[0]:
            message = f"the chain ends with entry {found[0]}, but the node has noted it otherwise"
        faults.add(FaultKind.HEAD_DIFFERS, found[0], message)
