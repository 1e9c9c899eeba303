"""Authentication: from a bearer token to its holder, for every request of the API.

One statement by a unique index, and its result is believed for half a second: so a key, user or organisation that is
suspended gets in nowhere a second later, and a client that asks a thousand times a second costs two reads.
"""

import asyncio
import hmac
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from registry.accounts.roles import ROLE_RIGHTS, Caller, Right, Role
from registry.accounts.sessions import IDLE
from registry.accounts.tokens import TokenKind, digest_of, parse_token
from registry.store import Connection, Store

BELIEVED_S: Final = 0.5
"""How long a result is believed, so that what ends counts within a second, in every process."""
HOLDERS_MAX: Final = 10_000
"""Tokens that are remembered, of some 300 octets each; who uses more at once reads more often."""
USED_EVERY: Final = timedelta(minutes=1)
"""How exactly the last use is known: one write a minute for each token."""

_READ_KEY: Final = """
    SELECT k.digest, k.previous_digest, k.previous_until, k.expires, k.last_used,
        k.id, k.organisation, k.rights, k.prefixes, k.test
    FROM api_keys AS k LEFT JOIN organisations AS o ON o.id = k.organisation
    WHERE k.lookup = $1 AND k.state = 'active' AND o.suspended_reason IS NULL"""
_READ_SESSION: Final = """
    SELECT s.digest, s.expires, s.last_used, s.id, u.id, u.organisation, u.role
    FROM sessions AS s JOIN users AS u ON u.id = s.user_id LEFT JOIN organisations AS o ON o.id = u.organisation
    WHERE s.lookup = $1 AND u.state = 'active' AND o.suspended_reason IS NULL"""
_KEY_USED: Final = (
    "UPDATE api_keys SET last_used = $2 WHERE id = $1 AND (last_used IS NULL OR last_used <= $3)"
)
_SESSION_USED: Final = "UPDATE sessions SET last_used = $2 WHERE id = $1 AND last_used <= $3"


class Authentication:
    """Tells who holds a token."""

    def __init__(
        self, store: Store, *, wall_clock: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        self._store = store
        self._wall_clock = wall_clock
        self._monotonic = monotonic
        self._holders: dict[bytes, tuple[float, Caller]] = {}
        self._reading: dict[bytes, asyncio.Task[Caller | None]] = {}

    async def caller(self, token: str) -> Caller | None:
        """The holder of a token; None for one that is unknown, expired, revoked or barred. Raises StoreUnavailable."""
        digest = digest_of(token)
        kept = self._holders.get(digest)
        if kept is not None and self._monotonic() < kept[0]:
            return kept[1]
        parsed = parse_token(token)
        if parsed is None:
            return None
        reading = self._reading.get(digest)
        if reading is None:
            reading = asyncio.create_task(self._read(digest, *parsed))
            self._reading[digest] = reading
            reading.add_done_callback(lambda _: self._reading.pop(digest, None))
        return await asyncio.shield(reading)

    async def _read(self, digest: bytes, kind: TokenKind, lookup: str) -> Caller | None:
        read_s = self._monotonic()
        now = datetime.fromtimestamp(self._wall_clock(), UTC)
        async with self._store.connection() as connection:
            if kind is TokenKind.SESSION:
                caller = await _session_holder(connection, digest, lookup, now)
            else:
                caller = await _key_holder(connection, digest, lookup, now)
        self._remember(digest, read_s, caller)
        return caller

    def _remember(self, digest: bytes, read_s: float, caller: Caller | None) -> None:
        self._holders.pop(digest, None)
        if caller is None:
            return
        if len(self._holders) >= HOLDERS_MAX:  # the one that was read longest ago
            del self._holders[next(iter(self._holders))]
        self._holders[digest] = (read_s + BELIEVED_S, caller)


async def _key_holder(connection: Connection, digest: bytes, lookup: str, now: datetime) -> Caller | None:
    record = await connection.fetchrow(_READ_KEY, lookup)
    if record is None:
        return None
    present, previous, previous_until, expires, last_used, *key = record
    is_present = hmac.compare_digest(present, digest)
    is_previous = hmac.compare_digest(previous or bytes(len(digest)), digest) and now < (
        previous_until or now
    )
    if not (is_present or is_previous) or now >= expires:
        return None
    if last_used is None or now - last_used >= USED_EVERY:
        await connection.execute(_KEY_USED, key[0], now, now - USED_EVERY)
    return _key_caller(key)


def _key_caller(key: Sequence[Any]) -> Caller:
    identity, organisation, rights, prefixes, test = key
    return Caller(
        id=identity,
        organisation=organisation,
        rights=frozenset(map(Right, rights)),
        prefixes=None if prefixes is None else frozenset(prefixes),
        kind="key",
        test=test,
    )


async def _session_holder(connection: Connection, digest: bytes, lookup: str, now: datetime) -> Caller | None:
    record = await connection.fetchrow(_READ_SESSION, lookup)
    if record is None:
        return None
    present, expires, last_used, session, user, organisation, role = record
    if not hmac.compare_digest(present, digest) or now >= expires or now - last_used >= IDLE:
        return None
    if now - last_used >= USED_EVERY:
        await connection.execute(_SESSION_USED, session, now, now - USED_EVERY)
    rights = ROLE_RIGHTS[Role(role)]
    return Caller(id=user, organisation=organisation, rights=rights, kind="user", session=session)
