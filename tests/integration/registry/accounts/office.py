"""Accounts on a real database, with passwords that cost little."""

from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import timedelta

from registry.accounts.organisation import Organisation
from registry.accounts.passwords import Passwords
from registry.accounts.person import Person
from registry.accounts.profile import CertificateType, Industry, OrganisationKind, Profile, Region
from registry.accounts.roles import ROLE_RIGHTS, Caller, Role
from registry.accounts.service import Accounts
from registry.accounts.sessions import SignedIn
from registry.accounts.user import SignIn, User
from registry.outcomes import Origin
from registry.store import Connection
from registry.transaction import Transaction
from tests.integration.registry.bench import Bench

PASSWORD = "correct horse battery"
OPERATOR = Caller(id="usr_operator", organisation=None, rights=ROLE_RIGHTS[Role.OPERATOR], kind="user")
REVIEWER = Caller(id="usr_reviewer", organisation=None, rights=ROLE_RIGHTS[Role.REVIEWER], kind="user")
CODES = ("91350100M000100Y43", "91110000600037341L", "9144030071526726XG")


def profile(number: int = 0, **changes: object) -> Profile:
    """A right profile; number: of its certificate."""
    plain: dict[str, object] = {
        "name": "示例水泵厂",
        "kind": OrganisationKind.PRIVATELY_CONTROLLED,
        "certificate_type": CertificateType.USCC,
        "certificate_number": CODES[number],
        "region": Region(province="310000", city="310100", district="310115"),
        "industry": Industry(section="C", division="34"),
    }
    return Profile(**{**plain, **changes})  # type: ignore[arg-type]


class Office:
    """The accounts of one node, and short words for what tests do with them."""

    def __init__(self, bench: Bench, passwords: Passwords | None = None) -> None:
        self.bench = bench
        self.monotonic_s = 0.0
        self.passwords = passwords or Passwords(time_cost=1, memory_kib=64)
        self.accounts = Accounts(
            bench.operations, passwords=self.passwords, monotonic=lambda: self.monotonic_s
        )

    def pass_time(self, time: timedelta) -> None:
        """Let time go by, on both clocks."""
        self.bench.now_s += time.total_seconds()
        self.monotonic_s += time.total_seconds()

    def acting(self, caller: Caller = OPERATOR) -> AbstractAsyncContextManager[Transaction]:
        """A transaction in which somebody acts."""
        return self.bench.operations.transaction(caller.origin("request-1"))

    def reading(self) -> AbstractAsyncContextManager[Connection]:
        """A connection to read with."""
        return self.bench.store.connection()

    async def organisation(
        self, number: int = 0, *, approved: bool = True, contact: Person | None = None
    ) -> Organisation:
        """An organisation."""
        async with self.acting() as tx:
            made = await self.accounts.organisations.create(tx, profile(number), contact=contact)
        if not approved:
            return made
        async with self.acting(REVIEWER) as tx:
            return await self.accounts.organisations.review(tx, made, approve=True, reason="")

    async def user(
        self,
        organisation: str | None = None,
        role: Role = Role.ENTERPRISE_ADMINISTRATOR,
        *,
        login: str = "li.lei",
        by: Caller = OPERATOR,
    ) -> User:
        """A user with PASSWORD."""
        hashed = await self.accounts.users.hash_password(PASSWORD, login)
        async with self.acting(by) as tx:
            return await self.accounts.users.create(
                tx,
                by,
                organisation=organisation,
                role=role,
                login=login,
                person=Person(name="李雷", email="li.lei@plant.example"),
                password_hash=hashed,
            )

    async def sign_in(
        self, organisation: str | None, login: str = "li.lei", password: str = PASSWORD
    ) -> SignedIn:
        """Sign in as the API does."""
        shown = SignIn(organisation=organisation, login=login, password=password)
        anonymous = Origin(actor="anonymous", via="api", request_id="request-2")
        async with AsyncExitStack() as stack:
            opening = self.bench.operations.transaction(anonymous)
            return await self.accounts.sessions.sign_in(shown, lambda: stack.enter_async_context(opening))

    async def caller(self, organisation: str | None, login: str = "li.lei") -> Caller:
        """Somebody who has signed in."""
        signed_in = await self.sign_in(organisation, login)
        found = await self.accounts.authenticate(signed_in.token)
        assert found is not None
        return found

    async def audited(self) -> list[tuple[str, str, str]]:
        """Actor, action and target of every entry."""
        async with self.reading() as connection:
            records = await connection.fetch("SELECT actor, action, target FROM audit_log ORDER BY xact, id")
        return [(record[0], record[1], record[2]) for record in records]
