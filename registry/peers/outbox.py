"""Outbox: what this node has to tell a node above, kept until it was answered; the latest contents of a subject count.

Contents are read when a message is sent, not when it is put in: what waited through an outage is still true.
"""

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from registry.peers import neighbours
from registry.peers.exchange import Peer, PeerFailed, PeerRefused
from registry.peers.neighbours import Home
from registry.store import Connection

AT_ONCE: Final = 50
"""Messages taken up in one round."""
WAIT_MIN_S: Final = 2.0
WAIT_MAX_S: Final = 600.0
"""Between two attempts; a node above that was down for a day finds its children within ten minutes."""
REFUSED_WAIT_S: Final = 3_600.0
"""Before a message is sent again that was refused for good: perhaps the node above is of another mind then."""
LEASE: Final = timedelta(seconds=90)
_COLUMNS: Final = "node, kind, subject, version, attempts, next_at, sent, fault, created"
_PUT: Final = """
    INSERT INTO outbox AS kept (node, kind, subject, version, next_at, created) VALUES ($1, $2, $3, $4, $5, $5)
    ON CONFLICT (node, kind, subject) DO UPDATE SET version = excluded.version, attempts = 0, fault = '', sent = NULL,
        next_at = excluded.next_at
    WHERE kept.version < excluded.version"""
_CLAIM: Final = f"""
    UPDATE outbox SET next_at = $2 WHERE (node, kind, subject) IN (
        SELECT node, kind, subject FROM outbox WHERE sent IS NULL AND next_at <= $1 ORDER BY next_at LIMIT $3
        FOR UPDATE SKIP LOCKED) RETURNING {_COLUMNS}"""  # noqa: S608 - columns of our own
_SENT: Final = """
    UPDATE outbox SET sent = $5, attempts = 0, fault = '' WHERE node = $1 AND kind = $2 AND subject = $3
        AND version = $4"""
_AGAIN: Final = """
    UPDATE outbox SET attempts = $5, next_at = $6, fault = $7 WHERE node = $1 AND kind = $2 AND subject = $3
        AND version = $4"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One message that waits, or was answered."""

    node: str
    kind: str
    subject: str
    version: int
    attempts: int
    next_at: datetime
    sent: datetime | None
    fault: str
    created: datetime


Deliver = Callable[[Peer, Letter], Awaitable[timedelta | None]]
"""Sends a letter and does what the answer says; gives after how long it is to be sent again, or None for never.
Raises PeerFailed."""


async def put(
    connection: Connection, *, node: str, kind: str, subject: str, version: int, now: datetime
) -> None:
    """Have a message sent; one of the same subject with a lower version need not be sent any more."""
    await connection.execute(_PUT, node, kind, subject, version, now)


class Outbox:
    """Sends what waits."""

    def __init__(self, home: Home, deliveries: Mapping[str, Deliver]) -> None:
        self._home = home
        self._deliveries = dict(deliveries)

    async def send(self) -> None:
        """Send what is due, in the order in which it fell due; to a node that does not answer nothing more."""
        now = self._home.now()
        async with self._home.store.connection() as connection:
            records = await connection.fetch(_CLAIM, now, now + LEASE, AT_ONCE)
        letters = sorted((Letter(**record) for record in records), key=lambda letter: letter.created)
        silent: dict[str, str] = {}
        for letter in letters:
            if letter.node in silent:
                await self._later(letter, silent[letter.node])
                continue
            fault = await self._send(letter)
            if fault:
                silent[letter.node] = fault

    async def page(self, *, limit: int) -> list[Letter]:
        """Messages that wait, the longest first; of those that are repeated, the ones that fail."""
        query = f"""
            SELECT {_COLUMNS} FROM outbox WHERE sent IS NULL AND (kind <> 'heartbeat' OR attempts > 0)
            ORDER BY next_at, created LIMIT $1"""  # noqa: S608 - columns of our own
        async with self._home.store.connection() as connection:
            return [Letter(**record) for record in await connection.fetch(query, limit)]

    async def _send(self, letter: Letter) -> str:
        """Why the node above did not answer; empty when it did, whatever it said."""
        async with self._home.store.connection() as connection:
            above = await neighbours.upstream(connection, letter.node)
        if above is None:  # forgotten meanwhile
            return ""
        fault = ""
        try:
            peer = await neighbours.peer_above(self._home, above)
            again = await self._deliveries[letter.kind](peer, letter)
            await self._sent(letter, again)
        except PeerRefused as error:
            log.warning("letter_refused", kind=letter.kind, subject=letter.subject, reason=str(error))
            await self._later(letter, str(error), wait_s=None if error.retry else REFUSED_WAIT_S)
        except PeerFailed as error:
            fault = str(error)
            await self._later(letter, fault)
        async with self._home.store.connection() as connection:
            await neighbours.note_contact(connection, letter.node, self._home.now(), fault)
        return fault

    async def _sent(self, letter: Letter, again: timedelta | None) -> None:
        key = (letter.node, letter.kind, letter.subject, letter.version)
        now = self._home.now()
        async with self._home.store.connection() as connection:
            if again is None:
                await connection.execute(_SENT, *key, now)
            else:
                await connection.execute(_AGAIN, *key, 0, now + again, "")

    async def _later(self, letter: Letter, fault: str, *, wait_s: float | None = None) -> None:
        attempts = letter.attempts + 1
        if wait_s is None:
            wait_s = min(WAIT_MAX_S, WAIT_MIN_S * 2 ** min(attempts, 12))
        at = self._home.now() + timedelta(seconds=wait_s * random.uniform(0.5, 1.0))
        key = (letter.node, letter.kind, letter.subject, letter.version)
        async with self._home.store.connection() as connection:
            await connection.execute(_AGAIN, *key, attempts, at, fault[: neighbours.TEXT_MAX])
