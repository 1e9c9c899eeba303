"""A node's allocation on a test database, and short words for what tests do with it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

from protocol.client.selection import Opening
from protocol.handle import Prefix
from protocol.site import Site, single_server_site
from protocol.valuetypes import ALL_PERMISSIONS, PublicKey
from registry.allocation.lifecycle import Hosting
from registry.allocation.model import AllocatedPrefix, Application, Wish
from registry.allocation.rules import DEFAULT_RULES, NameRules
from registry.allocation.service import Allocation
from registry.allocation.terms import Terms
from registry.outcomes import Origin, Principal
from registry.transaction import Transaction
from tests.integration.registry.bench import Bench

KEY = PublicKey(b"RSA_PUB_KEY", (65_537, 1 << 2_047 | 1)).encode()
OTHER_KEY = PublicKey(b"RSA_PUB_KEY", (65_537, 1 << 2_047 | 3)).encode()
ACME = "org_" + "a" * 20
RIVAL = "org_" + "b" * 20
DRAFTED = "org_" + "c" * 20
APPLICANT = Origin(actor="usr_applicant", organisation=ACME, via="api")
REVIEWER = Origin(actor="usr_reviewer", via="api")
OPERATOR = Origin(actor="usr_operator", via="api")
SEVEN = Prefix.parse("88.100.7")

_ORGANISATION = """
    INSERT INTO organisations (id, version, review, suspended_reason, profile, certificate, created, changed)
    VALUES ($1, 1, $2, $3, '{}', $1, now(), now())"""


def a_site(address: str = "8.8.8.8", *, key: bytes = KEY, serial: int = 1) -> Site:
    """The site of some enterprise's node."""
    return single_server_site(
        addresses=(address,),
        tcp_port=2_641,
        udp_port=2_641,
        http_port=8_000,
        https=False,
        primary=True,
        public_key=key,
        serial=serial,
    )


def principal(organisation: str = ACME) -> Principal:
    """Somebody who may do everything for an organisation."""
    return Principal(id="usr_editor", organisation=organisation, rights=ALL_PERMISSIONS)


class Office:
    """One node that allocates."""

    def __init__(self, bench: Bench, terms: Terms) -> None:
        self.bench = bench
        self.allocation = Allocation(bench.operations, terms)

    @classmethod
    async def open(
        cls, dsn: str, *, homes: tuple[str, ...] = ("88.100",), openings: tuple[Opening, ...] = ()
    ) -> Self:
        """Open a node that homes prefixes, and approve two organisations."""
        bench = await Bench.open(dsn, homes=homes)
        rules = NameRules(levels=DEFAULT_RULES)
        terms = Terms(node=homes[0], site=a_site("1.1.1.1"), names=rules, openings=openings)
        office = cls(bench, terms)
        for organisation, review in ((ACME, "approved"), (RIVAL, "approved"), (DRAFTED, "draft")):
            await office.execute(_ORGANISATION, organisation, review, None)
        return office

    @asynccontextmanager
    async def writing(self, origin: Origin = OPERATOR) -> AsyncIterator[Transaction]:
        """One transaction."""
        async with self.bench.operations.transaction(origin) as tx:
            yield tx

    async def execute(self, query: str, *arguments: Any) -> None:
        """Run a statement of the test's own."""
        async with self.bench.store.connection() as connection:
            await connection.execute(query, *arguments)

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        """Rows of a question of the test's own."""
        async with self.bench.store.connection() as connection:
            return list(await connection.fetch(query, *arguments))

    async def apply(
        self,
        label: str | None = "7",
        *,
        organisation: str = ACME,
        parent: str | None = "88.100",
        site: Site | None = None,
        proved: bool = False,
    ) -> Application:
        """Apply for a prefix; with a site for a delegated one."""
        wish = Wish(
            organisation=organisation,
            parent=None if parent is None else Prefix.parse(parent),
            label=label,
            hosting=Hosting.HOSTED if site is None else Hosting.DELEGATED,
            site=site,
            purpose="pumps",
        )
        async with self.writing(APPLICANT) as tx:
            return await self.allocation.apply(tx, wish, proved=proved)

    async def approve(self, application: Application) -> Application:
        """Approve an application."""
        async with self.writing(REVIEWER) as tx:
            return await self.allocation.review(tx, application.id, approve=True, reason="fine")

    async def approved(self, label: str | None = "7", **wish: Any) -> Application:
        """Apply for a prefix and have it approved."""
        return await self.approve(await self.apply(label, **wish))

    async def allocate(self, application: Application) -> AllocatedPrefix:
        """Allocate what an application asked for."""
        async with self.writing() as tx:
            return await self.allocation.allocate(tx, application.id)

    async def allocated(self, label: str | None = "7", **wish: Any) -> AllocatedPrefix:
        """Apply, approve and allocate."""
        return await self.allocate(await self.approved(label, **wish))

    async def suspend(self, prefix: Prefix = SEVEN, reason: str = "unpaid") -> AllocatedPrefix:
        """Suspend a prefix."""
        async with self.writing() as tx:
            return await self.allocation.suspend(tx, prefix, reason=reason)

    async def resume(self, prefix: Prefix = SEVEN, reason: str = "paid") -> AllocatedPrefix:
        """Resume a prefix."""
        async with self.writing() as tx:
            return await self.allocation.resume(tx, prefix, reason=reason)

    async def revoke(self, prefix: Prefix = SEVEN, reason: str = "closed") -> AllocatedPrefix:
        """Revoke a prefix."""
        async with self.writing() as tx:
            return await self.allocation.revoke(tx, prefix, reason=reason)

    async def transfer(self, organisation: str = RIVAL, prefix: Prefix = SEVEN) -> AllocatedPrefix:
        """Give a prefix to another organisation, and wait until its records are handed over."""
        async with self.writing() as tx:
            given = await self.allocation.transfer(tx, prefix, organisation, reason="sold")
        await self.allocation.run_jobs()
        return given

    async def acts(self) -> list[tuple[str, str, str | None]]:
        """Action, target and organisation of every entry of the audit log about applications and prefixes."""
        query = """
            SELECT action, target, organisation FROM audit_log
            WHERE action LIKE 'prefix.%' OR action LIKE 'application.%' ORDER BY xact, id"""
        return [tuple(row) for row in await self.fetch(query)]
