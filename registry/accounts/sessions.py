"""Sessions: signing in with lock-out, and what a user sees and ends of his sessions."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from registry.accounts.passwords import FAILURES_FREE, Passwords, lock_s
from registry.accounts.tokens import Token, TokenKind, new_token
from registry.accounts.user import SignIn
from registry.accounts.users import Users
from registry.ids import new_id
from registry.operations import Operations
from registry.outcomes import Origin
from registry.problem_types import NOT_FOUND, ApiProblem
from registry.problem_types.accounts import SIGN_IN_REFUSED
from registry.store import Connection
from registry.transaction import Transaction

ABSOLUTE: Final = timedelta(hours=12)
"""A session ends after a working day, used or not."""
IDLE: Final = timedelta(hours=1)
"""And after an hour without a request."""
SESSIONS_MAX: Final = 20
"""Of one user; the next one ends the oldest."""
ANONYMOUS: Final = "anonymous"
CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="handlegrid"'}
REFUSAL: Final = "Organisation, login or password is wrong, or the user is locked or suspended."

_CLAIM: Final = """
    SELECT u.id, u.organisation, u.password, u.failures FROM users AS u
    LEFT JOIN organisations AS o ON o.id = u.organisation
    WHERE u.{column} = $1 AND u.state = 'active' AND o.suspended_reason IS NULL
        AND (u.locked_until IS NULL OR u.locked_until <= $2)
    FOR UPDATE OF u"""
_CLAIM_BY_LOGIN: Final = _CLAIM.format(column="login_digest")
_CLAIM_BY_ID: Final = _CLAIM.format(column="id")
_COUNT_FAILURE: Final = "UPDATE users SET failures = $2, locked_until = $3 WHERE id = $1"
_FORGIVE: Final = """
    UPDATE users SET failures = 0, locked_until = NULL, last_sign_in = $2, password = coalesce($4, password)
    WHERE id = $1 AND password = $3 AND state = 'active'"""
_IS_BARRED: Final = "SELECT suspended_reason IS NOT NULL FROM organisations WHERE id = $1 FOR SHARE"
_INSERT: Final = """
    INSERT INTO sessions (id, lookup, digest, user_id, created, last_used, expires)
    VALUES ($1, $2, $3, $4, $5, $5, $6)"""
_TRIM: Final = """
    DELETE FROM sessions WHERE id IN (
        SELECT id FROM sessions WHERE user_id = $1 ORDER BY created DESC, id OFFSET $2)"""
_LIST: Final = (
    "SELECT id, created, last_used, expires FROM sessions WHERE user_id = $1 ORDER BY created DESC, id"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session of a user."""

    id: str
    created: datetime
    last_used: datetime
    expires: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """A new session with its token, which is shown once."""

    session: Session
    user: str
    organisation: str | None
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """A user whose password is about to be checked; the attempt counts as a failure until it has succeeded."""

    user: str
    organisation: str | None
    password: str = field(repr=False)
    failures: int


class Sessions:
    """Signing in and out."""

    def __init__(self, operations: Operations, users: Users, passwords: Passwords) -> None:
        self._operations = operations
        self._users = users
        self._passwords = passwords

    async def sign_in(
        self, shown: SignIn, begin: Callable[[], Awaitable[Transaction]], *, source: str = ""
    ) -> SignedIn:
        """Open a session for who knows login and password.

        begin: opens the transaction of the session, once the password is checked. source: the client's network.
        Raises ApiProblem: 401, the same and after a similar time whether the login is unknown, the user barred or
        locked, or the password wrong; 429 when too many sign in at once.
        """
        digest = self._users.digest(shown.organisation, shown.login)
        with self._passwords.turn(source):
            claim = await self._prove(await self._claim(_CLAIM_BY_LOGIN, digest), shown.password)
            fresh = None
            if self._passwords.is_outdated(claim.password):
                fresh = await self._passwords.hash(shown.password)
        tx = await begin()
        barred = await tx.connection.fetchval(_IS_BARRED, claim.organisation)
        forgiven = await tx.connection.execute(_FORGIVE, claim.user, tx.now, claim.password, fresh)
        if barred or forgiven != "UPDATE 1":  # suspended, or given another password, since we looked
            raise ApiProblem(SIGN_IN_REFUSED, REFUSAL, headers=CHALLENGE)
        return await self._open(tx, claim)

    async def check_password(self, user: str, password: str) -> None:
        """Whether somebody who is signed in still knows his password. Raises ApiProblem as sign_in does."""
        with self._passwords.turn():
            claim = await self._prove(await self._claim(_CLAIM_BY_ID, user), password)
        async with self._operations.transaction(_anonymous()) as tx:
            await tx.connection.execute(_COUNT_FAILURE, claim.user, 0, None)

    async def page(self, connection: Connection, user: str) -> list[Session]:
        """The sessions of a user, the latest first, expired ones left out by their time alone."""
        return [Session(**record) for record in await connection.fetch(_LIST, user)]

    async def end(self, tx: Transaction, user: str, session: str) -> None:
        """End one session of this user. Raises ApiProblem (404) for any other."""
        query = "DELETE FROM sessions WHERE id = $1 AND user_id = $2"
        if await tx.connection.execute(query, session, user) != "DELETE 1":
            raise ApiProblem(NOT_FOUND, "There is no such session.")
        tx.audit("session.end", session)

    async def _claim(self, query: str, who: bytes | str) -> _Claim | None:
        """Count an attempt before it is tried, so that many at once are no more than many in a row."""
        async with self._operations.transaction(_anonymous()) as tx:
            record = await tx.connection.fetchrow(query, who, tx.now)
            if record is None:
                return None
            user, organisation, password, failures = record
            wait_s = lock_s(failures + 1)
            until = tx.now + timedelta(seconds=wait_s) if wait_s else None
            await tx.connection.execute(_COUNT_FAILURE, user, failures + 1, until)
        return _Claim(user=user, organisation=organisation, password=password, failures=failures + 1)

    async def _prove(self, claim: _Claim | None, password: str) -> _Claim:
        """Raises ApiProblem unless this is the password; where there is nobody, a hash takes the same time."""
        if claim is None:
            await self._passwords.hash(password)
        elif await self._passwords.verify(claim.password, password):
            return claim
        elif claim.failures >= FAILURES_FREE:
            await self._note_lock(claim)
        raise ApiProblem(SIGN_IN_REFUSED, REFUSAL, headers=CHALLENGE)

    async def _note_lock(self, claim: _Claim) -> None:
        async with self._operations.transaction(_anonymous()) as tx:
            detail: dict[str, Any] = {"failures": claim.failures, "seconds": int(lock_s(claim.failures))}
            tx.audit("user.lock", claim.user, organisation=claim.organisation, detail=detail)

    async def _open(self, tx: Transaction, claim: _Claim) -> SignedIn:
        token: Token = new_token(TokenKind.SESSION)
        session = Session(id=new_id("ses"), created=tx.now, last_used=tx.now, expires=tx.now + ABSOLUTE)
        row = (session.id, token.lookup, token.digest, claim.user, tx.now, session.expires)
        await tx.connection.execute(_INSERT, *row)
        await tx.connection.execute(_TRIM, claim.user, SESSIONS_MAX)
        who = Origin(
            actor=claim.user,
            organisation=claim.organisation,
            via=tx.origin.via,
            request_id=tx.origin.request_id,
        )
        tx.audit("session.create", session.id, organisation=claim.organisation, origin=who)
        return SignedIn(session=session, user=claim.user, organisation=claim.organisation, token=token.text)


def _anonymous() -> Origin:
    return Origin(actor=ANONYMOUS, via="api")
