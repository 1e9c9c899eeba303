"""Accounts: the service of the package, made once when a node starts; front ends hold this and nothing below it."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from registry.accounts.authentication import Authentication
from registry.accounts.identities import Identities
from registry.accounts.key import VALIDITY_MAX, ApiKey
from registry.accounts.keys import Keys, NewKey, ShownKey
from registry.accounts.organisation import Filing, FilingState, Organisation
from registry.accounts.organisations import Organisations
from registry.accounts.passwords import Passwords
from registry.accounts.people import PURGE_ROWS_MAX, People, PersonalField
from registry.accounts.person import Purpose
from registry.accounts.references import References, find_references
from registry.accounts.roles import ROLE_RIGHTS, Caller, Right, Role
from registry.accounts.sessions import Sessions
from registry.accounts.user import User
from registry.accounts.users import Users
from registry.operations import Operations
from registry.outcomes import SYSTEM, Identity
from registry.problem_types import CONFLICT, NOT_FOUND, ApiProblem
from registry.store import Connection
from registry.transaction import Transaction

PURGE_INTERVAL_S: Final = 300.0
"""Seconds between two purges of personal data and sessions whose time is over."""
OPERATOR_KEY_NAME: Final = "operator of this node"

HOST: Final = Caller(id="operator", organisation=None, rights=frozenset(Right), kind="user")
"""Who works at the node's own host; commands there are asked no further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who a caller is, told to himself."""

    caller: Caller
    user: User | None
    key: ApiKey | None


class Accounts:
    """Organisations, people, users, sessions, API keys and identities of one node."""

    def __init__(
        self,
        operations: Operations,
        *,
        passwords: Passwords | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Put the parts together. passwords: hashing at another cost than usual, for tests."""
        context = operations.context
        passwords = passwords or Passwords()
        self._operations = operations
        self._authentication = Authentication(
            context.store, wall_clock=context.wall_clock, monotonic=monotonic
        )
        self.people = People(context.sealer)
        self.organisations = Organisations(self.people)
        self.users = Users(self.people, context.sealer, passwords)
        self.sessions = Sessions(operations, self.users, passwords)
        self.keys = Keys()
        self.identities = Identities(context, monotonic)

    async def authenticate(self, token: str) -> Caller | None:
        """The holder of a bearer token; None for one that is unknown, expired, revoked or barred.

        Believed for half a second; else one statement. Raises StoreUnavailable.
        """
        return await self._authentication.caller(token)

    async def is_identity_barred(self, identity: Identity) -> bool:
        """Whether the owner of an identity `index:handle` is suspended or gone. Raises StoreUnavailable."""
        return await self.identities.is_barred(identity)

    async def holder(self, connection: Connection, caller: Caller) -> Holder:
        """Who the caller is."""
        if caller.kind == "key":
            key = await self.keys.get(connection, caller, caller.id)
            return Holder(caller=caller, user=None, key=key)
        user = await self.users.get(connection, caller, caller.id)
        return Holder(caller=caller, user=user, key=None)

    async def personal(
        self, connection: Connection, caller: Caller, person: str, *, organisation: str | None = None
    ) -> Sequence[PersonalField]:
        """What is known of a person of an organisation. Raises ApiProblem (404), the same for unknown and foreign ones.

        The caller audits that it was read.
        """
        found = await self.people.find(connection, person)
        if found is None or found.organisation != organisation or not caller.sees(organisation):
            raise ApiProblem(NOT_FOUND, "There is no such person.")
        return await self.people.read(connection, person)

    async def erase_person(self, tx: Transaction, caller: Caller, person: str, *, organisation: str) -> None:
        """Forget a legal representative or contact. Raises ApiProblem: 404, and 409 for who is a user."""
        for known in await self.personal(tx.connection, caller, person, organisation=organisation):
            if known.purpose == Purpose.SIGN_IN.value:
                raise ApiProblem(CONFLICT, "This person is a user.", remedy="Remove the user instead.")
        await self.people.erase(tx, person, organisation=organisation)

    async def references(
        self, organisation: str, *, subject: str | None, after: bytes | None, limit: int
    ) -> References:
        """What still names identities of an organisation, or of one subject of it; see find_references."""
        return await find_references(
            self._operations.context, organisation, subject=subject, after=after, limit=limit
        )

    async def set_filing(
        self,
        tx: Transaction,
        organisation: str,
        *,
        state: FilingState,
        reason: str = "",
        at: datetime | None = None,
    ) -> Organisation:
        """Note where the filing of an organisation with the node above stands. Raises ApiProblem (404)."""
        found = await self.organisations.lock(tx, HOST, organisation)
        return await self.organisations.set_filing(
            tx, found, Filing(state=state, reason=reason, at=at or tx.now)
        )

    async def make_operator_key(self, tx: Transaction, *, name: str = OPERATOR_KEY_NAME) -> ShownKey:
        """A key with the rights of an operator, for commands on the node's own host, which keep it (0600)."""
        rights = ROLE_RIGHTS[Role.OPERATOR]
        new = NewKey(organisation=None, name=name, rights=rights, validity=VALIDITY_MAX)
        return await self.keys.create(tx, HOST, new)

    async def purge(self) -> None:
        """Delete personal data whose retention is over, and sessions that have ended; the daemon repeats it."""
        purged = PURGE_ROWS_MAX
        while purged == PURGE_ROWS_MAX:
            async with self._operations.transaction(SYSTEM) as tx:
                purged = await self.people.purge(tx)
                await tx.connection.execute("DELETE FROM sessions WHERE expires <= $1", tx.now)

    def tasks(self) -> tuple[tuple[Callable[[], Awaitable[None]], float], ...]:
        """What the daemon repeats, and after how many seconds."""
        return ((self.purge, PURGE_INTERVAL_S),)
