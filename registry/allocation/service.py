"""Allocation: everything that this node does with prefixes, as front ends and other packages call it.

Writes take a transaction, so that whoever calls decides what else belongs to it; reads take a connection of their own.
Who may do what is for the caller to check; what may be done at all is checked here.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from protocol.handle import Prefix
from protocol.site import Site
from protocol.value import ValueList
from registry.allocation import acts, allocating, applications, commands, jobs, keys, tables
from registry.allocation.lifecycle import ApplicationAct, ApplicationState, PrefixState
from registry.allocation.model import AllocatedPrefix, Application, HistoryEntry, Job, Page, Wish
from registry.allocation.routes import PinnedUrl, pin_url
from registry.allocation.terms import NO_APPLICATION, NO_PREFIX, Terms
from registry.operations import Operations
from registry.outcomes import SYSTEM, Identity
from registry.prefixes import PrefixRow
from registry.problem_types import NOT_FOUND, ApiProblem
from registry.settings import RegistrySettings
from registry.transaction import Transaction
from registry.work import Connection
from registry.writing import Writing

JOBS_PERIOD_S: Final = 1.0
ROUTES_PERIOD_S: Final = 5.0
ROUTES_AT_ONCE: Final = 100
"""Records that are renewed in one transaction."""


class Allocation:
    """Applications and prefixes of one node."""

    def __init__(self, operations: Operations, terms: Terms) -> None:
        self._operations = operations
        self._store = operations.context.store
        self.terms = terms
        self._routes_renewed = False
        self._drains: dict[str, datetime] = {}

    @classmethod
    def of(cls, operations: Operations, settings: RegistrySettings, site: Site) -> "Allocation":
        """The service of an open node. site: the node's own."""
        return cls(operations, Terms.of(settings, site))

    # Applications.

    async def apply(self, tx: Transaction, wish: Wish, *, proved: bool = False) -> Application:
        """Apply for a prefix; see applications.apply."""
        return await applications.apply(tx, self.terms, wish, proved=proved)

    async def review(self, tx: Transaction, id_: str, *, approve: bool, reason: str) -> Application:
        """Decide an application; see applications.review."""
        return await applications.review(tx, self.terms, id_, approve=approve, reason=reason)

    def check_application(self, application: Application, act: ApplicationAct) -> None:
        """Raises ApiProblem (409) when the application's state does not allow the act."""
        applications.next_state(application, act)

    async def withdraw(self, tx: Transaction, id_: str, *, reason: str = "") -> Application:
        """Take an application back."""
        return await applications.withdraw(tx, id_, reason=reason)

    async def note_proof(self, tx: Transaction, id_: str) -> Application:
        """Note that the node of the application's site has proved that it holds its key."""
        return await applications.note_proof(tx, id_)

    async def application(self, id_: str, tx: Transaction | None = None) -> Application:
        """An application. Raises ApiProblem (404). tx: in which it is locked, by whoever is about to change it."""
        async with self._reading(tx) as connection:
            found = await tables.application(connection, id_, lock=tx is not None)
        if found is None:
            raise ApiProblem(NOT_FOUND, NO_APPLICATION)
        return found

    async def applications(
        self,
        *,
        organisation: str | None = None,
        state: ApplicationState | None = None,
        before: int | None = None,
        limit: int,
    ) -> Page[Application]:
        """Applications, newest first. before: the number of the last one that was seen."""
        async with self._store.connection() as connection:
            return await tables.list_applications(
                connection, organisation=organisation, state=state, before=before, limit=limit
            )

    # Prefixes: acts.

    async def allocate(
        self, tx: Transaction, id_: str, *, reason: str = "", proved: bool = False
    ) -> AllocatedPrefix:
        """Allocate what an approved application asked for; see allocating.allocate."""
        return await allocating.allocate(tx, self.terms, id_, reason=reason, proved=proved)

    async def suspend(self, tx: Transaction, prefix: Prefix, *, reason: str) -> AllocatedPrefix:
        """Answer nothing below the prefix any more but that it is suspended; see acts.suspend."""
        return await acts.suspend(tx, self.terms, prefix, reason=reason)

    async def resume(self, tx: Transaction, prefix: Prefix, *, reason: str) -> AllocatedPrefix:
        """Answer again as before the suspension."""
        return await acts.resume(tx, prefix, reason=reason)

    async def revoke(self, tx: Transaction, prefix: Prefix, *, reason: str) -> AllocatedPrefix:
        """End the allocation; see acts.revoke."""
        return await acts.revoke(tx, self.terms, prefix, reason=reason)

    async def transfer(
        self, tx: Transaction, prefix: Prefix, organisation: str, *, reason: str
    ) -> AllocatedPrefix:
        """Give a prefix to another organisation; see jobs.transfer."""
        return await jobs.transfer(tx, prefix, organisation, reason=reason)

    async def purge(self, tx: Transaction, prefix: Prefix, *, reason: str) -> AllocatedPrefix:
        """Delete what is left below a revoked prefix; see jobs.purge."""
        return await jobs.purge(tx, self.terms, prefix, reason=reason)

    async def change_route(
        self, tx: Transaction, prefix: Prefix, site: Site, *, reason: str, proved: bool = False
    ) -> AllocatedPrefix:
        """Let a delegated prefix be served at other addresses; see acts.change_route."""
        return await acts.change_route(tx, self.terms, prefix, site, reason=reason, proved=proved)

    async def switch_to_delegated(
        self, tx: Transaction, prefix: Prefix, site: Site, *, reason: str
    ) -> AllocatedPrefix:
        """Let the holder's own node serve a prefix that this node hosted; see acts.switch_to_delegated."""
        return await acts.switch_to_delegated(tx, self.terms, prefix, site, reason=reason)

    async def switch_to_hosted(self, tx: Transaction, prefix: Prefix, *, reason: str) -> AllocatedPrefix:
        """Let this node serve a prefix that the holder's own node served; see acts.switch_to_hosted."""
        return await acts.switch_to_hosted(tx, self.terms, prefix, reason=reason)

    async def make_administrator_key(self, tx: Transaction, prefix: Prefix) -> tuple[Identity, str]:
        """Give the administrator of a hosted prefix a fresh key; see keys.make_administrator_key."""
        return await keys.make_administrator_key(tx, prefix)

    async def assign(self, tx: Transaction, prefix: Prefix, organisation: str) -> None:
        """Let an organisation hold a prefix that this node serves in its own name; see commands.assign."""
        await commands.assign(tx, prefix, organisation)

    async def note_probe(self, tx: Transaction, prefix: Prefix, *, fault: str | None) -> None:
        """Store what a probe of the prefix's node found wrong just now; None when all was well."""
        await tables.note_probe(tx.connection, prefix.key, tx.now, fault)

    # Prefixes: reading.

    async def prefix(self, prefix: Prefix, tx: Transaction | None = None) -> AllocatedPrefix:
        """An allocated prefix. Raises ApiProblem (404).

        tx: in which it is locked, by whoever is about to change it: so that holder and version are still those that
        were checked.
        """
        async with self._reading(tx) as connection:
            found = await tables.allocation(connection, prefix.key, lock=tx is not None)
        if found is None:
            raise ApiProblem(NOT_FOUND, NO_PREFIX)
        return found

    async def prefixes(
        self,
        *,
        organisation: str | None = None,
        among: Collection[bytes] | None = None,
        state: PrefixState | None = None,
        parent: Prefix | None = None,
        after: bytes | None = None,
        limit: int,
    ) -> Page[AllocatedPrefix]:
        """Allocated prefixes in order of their folded names.

        among: folded prefixes beside which none is given. after: the folded name of the last one that was seen.
        """
        async with self._store.connection() as connection:
            return await tables.list_allocations(
                connection,
                organisation=organisation,
                among=None if among is None else sorted(among),
                state=state,
                parent=parent,
                after=after,
                limit=limit,
            )

    async def history(self, prefix: Prefix, *, before: int | None = None, limit: int) -> Page[HistoryEntry]:
        """What was done to a prefix, the latest first. before: the last version that was seen."""
        async with self._store.connection() as connection:
            return await tables.history(connection, prefix.key, before=before, limit=limit)

    async def work(
        self, prefix: Prefix, tx: Transaction | None = None
    ) -> tuple[PrefixRow | None, Job | None]:
        """What the node knows of a prefix, and the latest work on all of its records."""
        async with self._reading(tx) as connection:
            rows = await Writing(connection).prefix_rows([prefix.key])
            return rows.get(prefix.key), await tables.last_job(connection, prefix)

    @asynccontextmanager
    async def _reading(self, tx: Transaction | None) -> AsyncIterator[Connection]:
        """The connection of the transaction, which must not wait for a second one, or a connection of its own."""
        if tx is not None:
            yield tx.connection
            return
        async with self._store.connection() as connection:
            yield connection

    # What other packages ask of the rules.

    def check_site(self, site: Site, prefix: Prefix) -> None:
        """Raises ApiProblem (422) for a site that may not serve the prefix; see routes.check_site."""
        self.terms.check_route(site, prefix)

    async def pin_url(
        self, url: str, prefix: Prefix | None, *, schemes: tuple[str, ...] = ("https",)
    ) -> PinnedUrl:
        """Check a URL that somebody else gave us, and resolve its host once. Raises RouteRefused."""
        return await pin_url(url, prefix, self.terms.openings, schemes=schemes)

    def future_record(self, prefix: Prefix, site: Site) -> ValueList:
        """The public values that the record of a prefix will have once it is allocated to this site."""
        return allocating.future_record(self.terms, prefix, site)

    # What runs beside the requests.

    def tasks(self) -> tuple[tuple[Callable[[], Awaitable[None]], float], ...]:
        """What the daemon repeats, and after how many seconds."""
        return ((self.run_jobs, JOBS_PERIOD_S), (self.renew_routes, ROUTES_PERIOD_S))

    async def run_jobs(self) -> None:
        """Go on with the work on all records of prefixes, where there is any."""
        await jobs.run_jobs(self._operations, self._drains)

    async def renew_routes(self) -> None:
        """Once after a start: let the records of all hosted prefixes name our site as it is now."""
        while not self._routes_renewed:
            async with self._operations.transaction(SYSTEM) as tx:
                stale = await tables.served_by_another_site(tx.connection, self.terms.site, ROUTES_AT_ONCE)
                for allocated in sorted(stale, key=lambda allocated: allocated.prefix.key):
                    await acts.renew_route(tx, self.terms, allocated.prefix)
                self._routes_renewed = not stale
