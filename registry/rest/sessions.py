"""Sessions of the record API: challenges that cost nothing to give, and who has answered one.

The id of a session holds when it was given and a random part, under a keyed digest; the nonce of its challenge is
another digest of the same. So a challenge is kept nowhere until it is answered: no flood of requests can fill anything,
and any process of the node, before or after a restart, knows the challenges of the others. Who has answered is in the
database, where every process finds it.
"""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NoBase64
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from protocol.challenge import Challenge
from protocol.handle import Handle
from registry.node import Node
from registry.outcomes import Identity
from registry.seal import Sealer
from registry.store import Connection, Store

CHALLENGE_S: Final = 300
"""How long a challenge may be answered: time for a person to choose a key file in a browser."""
CLOCKS_S: Final = 5
"""By how much the clocks of two hosts with one database may differ."""
IDLE: Final = timedelta(minutes=30)
"""A session ends when it is not used for so long, as at deployed servers."""
ABSOLUTE: Final = timedelta(hours=12)
"""And after a working day: whoever lost the right to his key would otherwise keep a session alive for ever."""
USE_NOTED: Final = timedelta(minutes=1)
"""A use is noted when the last one is older, so that a session in use is not a write with every request."""
SESSIONS_MAX: Final = 100
"""Of one identity; the next one ends the oldest. Clients that answer a challenge with each request open many."""
CLEAN_S: Final = 60.0
"""Between two times that what has ended is removed."""

NONCE_OCTETS: Final = 16
_RANDOM_OCTETS: Final = 16
_TAG_OCTETS: Final = 12
_ID_OCTETS: Final = 4 + _RANDOM_OCTETS + _TAG_OCTETS
_TAG: Final = b"session id of the record API"
_NONCE: Final = b"challenge of the record API"

_FIND: Final = "SELECT key_index, name, opened, last_used, ended FROM http_sessions WHERE lookup = $1"
_OPEN: Final = """
    INSERT INTO http_sessions (lookup, key_index, name, opened, last_used, ended)
    VALUES ($1, $2, $3, $4, $4, false) ON CONFLICT (lookup) DO NOTHING"""
_TRIM: Final = """
    UPDATE http_sessions SET ended = true WHERE lookup IN (
        SELECT lookup FROM http_sessions WHERE sha256(name) = sha256($1) AND key_index = $2 AND NOT ended
        ORDER BY opened DESC OFFSET $3)"""
_USE: Final = "UPDATE http_sessions SET last_used = $2 WHERE lookup = $1 AND NOT ended"
_END: Final = "UPDATE http_sessions SET ended = true WHERE lookup = $1"
_CLEAN: Final = """
    DELETE FROM http_sessions WHERE last_used < $1 OR (ended AND opened < $2)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionChallenge:
    """A challenge, by whose id a session is known once it is answered."""

    session_id: str = field(repr=False)
    nonce: bytes
    given_s: int
    """Unix time."""

    def with_cnonce(self, cnonce: bytes) -> Challenge:
        """What an answer signs: the nonce and what the client has added."""
        return Challenge(self.nonce, cnonce)

    @property
    def lookup(self) -> bytes:
        """What the database knows the session by."""
        return hashlib.sha256(self.session_id.encode()).digest()


class HttpSessions:
    """The sessions of one node. Every method that asks the database raises StoreUnavailable."""

    def __init__(self, store: Store, sealer: Sealer, wall_clock: Callable[[], float]) -> None:
        self._store = store
        self._sealer = sealer
        self._wall_clock = wall_clock

    @classmethod
    def of(cls, node: Node) -> Self:
        """Return the sessions of an open node."""
        context = node.operations.context
        return cls(node.store, context.sealer, context.wall_clock)

    def challenge(self) -> SessionChallenge:
        """A new challenge."""
        given_s = int(self._wall_clock())
        body = given_s.to_bytes(4, "big") + secrets.token_bytes(_RANDOM_OCTETS)
        session_id = _spell(body + self._tag(body))
        return SessionChallenge(session_id=session_id, nonce=self._nonce(body), given_s=given_s)

    def read(self, session_id: str) -> SessionChallenge | None:
        """The challenge of an id that this node has given at some time; None for any other text."""
        try:
            octets = urlsafe_b64decode(session_id.encode("ascii") + b"=")
        except (NoBase64, ValueError):
            return None
        if (
            len(octets) != _ID_OCTETS or _spell(octets) != session_id
        ):  # an id has one spelling, and so one row
            return None
        body, tag = octets[:-_TAG_OCTETS], octets[-_TAG_OCTETS:]
        if not hmac.compare_digest(tag, self._tag(body)):
            return None
        given_s = int.from_bytes(body[:4], "big")
        return SessionChallenge(session_id=session_id, nonce=self._nonce(body), given_s=given_s)

    def is_fresh(self, challenge: SessionChallenge) -> bool:
        """Whether a challenge may still be answered for the first time."""
        return -CLOCKS_S <= self._wall_clock() - challenge.given_s <= CHALLENGE_S

    async def holder(self, challenge: SessionChallenge) -> Identity | None:
        """Who has answered a challenge and may still refer to that; the use is noted. None when nobody may."""
        async with self._store.connection() as connection:
            now = self._now()
            found = await self._find(connection, challenge, now)
            if found is None:
                return None
            if now - found.last_used > USE_NOTED:
                await connection.execute(_USE, challenge.lookup, now)
            return found.identity

    async def open(self, challenge: SessionChallenge, identity: Identity) -> bool:
        """Note that somebody has answered a challenge.

        False when it may not be answered any more: too old, ended, or answered by somebody else.
        """
        now = self._now()
        async with self._store.connection() as connection, connection.transaction():
            if self.is_fresh(challenge):
                name = identity.handle.octets
                done = await connection.execute(_OPEN, challenge.lookup, identity.index, name, now)
                if done.endswith(" 1"):
                    await connection.execute(_TRIM, name, identity.index, SESSIONS_MAX)
                    return True
            found = await self._find(connection, challenge, now)
            return found is not None and found.identity == identity

    async def is_waiting(self, challenge: SessionChallenge) -> bool:
        """Whether a challenge may still be answered and never was."""
        if not self.is_fresh(challenge):
            return False
        async with self._store.connection() as connection:
            return await connection.fetchrow(_FIND, challenge.lookup) is None

    async def end(self, challenge: SessionChallenge) -> None:
        """End a session; its challenge is not answered again."""
        async with self._store.connection() as connection:
            await connection.execute(_END, challenge.lookup)

    async def clean(self) -> None:
        """Remove what has ended, once its challenge has too."""
        now = self._now()
        async with self._store.connection() as connection:
            await connection.execute(_CLEAN, now - IDLE, now - timedelta(seconds=2 * CHALLENGE_S))

    async def _find(
        self, connection: Connection, challenge: SessionChallenge, now: datetime
    ) -> "_Session | None":
        row = await connection.fetchrow(_FIND, challenge.lookup)
        if row is None or row["ended"] or now - row["last_used"] > IDLE or now - row["opened"] > ABSOLUTE:
            return None
        return _Session(Identity(index=row["key_index"], handle=Handle(row["name"])), row["last_used"])

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._wall_clock(), UTC)

    def _tag(self, body: bytes) -> bytes:
        return self._sealer.digest(_TAG, body)[:_TAG_OCTETS]

    def _nonce(self, body: bytes) -> bytes:
        return self._sealer.digest(_NONCE, body)[:NONCE_OCTETS]


@dataclass(frozen=True, slots=True)
class _Session:
    identity: Identity
    last_used: datetime


def _spell(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode()
