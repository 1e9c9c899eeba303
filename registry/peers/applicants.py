"""Applicants: nodes below introduce themselves, apply for prefixes, and are allocated one once they serve it.

What a message says is stored when it first comes; asked again, the node is told how far it has come. What people decide
(the review of the organisation and of the application) is looked up, so that it counts whoever has decided it where.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from protocol.errors import StoreUnavailable, WireError
from protocol.handle import ROOT_PREFIX_OCTETS, Prefix
from protocol.site import Site
from protocol.value import ValueList
from registry.accounts.organisation import Review
from registry.accounts.organisation_rows import read_organisation
from registry.allocation import tables
from registry.allocation.lifecycle import ApplicationState as Decision
from registry.allocation.lifecycle import Hosting
from registry.allocation.model import Application, Wish
from registry.outcomes import Origin
from registry.peers import neighbours
from registry.peers.messages import ApplicationAnswer, ApplicationMessage, ApplicationState
from registry.peers.neighbours import Downstream, Home
from registry.peers.node_key import key_of_site
from registry.peers.parcels import record_of
from registry.peers.probes import ProbeFailed, Prober
from registry.problem_types import NOT_FOUND, UNPROCESSABLE, ApiProblem
from registry.problem_types.peers import NODE_APPLICATION
from registry.store import Connection
from registry.transaction import Transaction

APPLICATIONS_OPEN_MAX: Final = 10
"""Of one node: it needs one prefix, perhaps a few."""
STRANGERS_MAX: Final = 1_000
"""Nodes that no organisation has confirmed: anybody with a key of his own can be one, and each takes some kilobytes."""
STRANGERS_KEPT: Final = timedelta(days=30)
APPLICATIONS_MAX: Final = 100
"""Of one node, whatever became of them."""
ORGANISATIONS_NEW_MAX: Final = 1_000
"""Of nodes whose organisation is not reviewed yet, all together: strangers cannot fill the reviewers' list."""
AT_ONCE: Final = 20
"""Applications looked at in one round."""
LOOK_AGAIN: Final = timedelta(seconds=2)
PROBE_AGAIN: Final = timedelta(seconds=15)
_COLUMNS: Final = (
    "node, id, joins, organisation, wanted, application, prefix, state, reason, next_at, created, changed"
)
_SEEN: Final = """
    INSERT INTO downstream_nodes (node, public_key, site, claim, state, first_seen, last_seen, proved)
    VALUES ($1, $2, $3, $4, 'known', $5, $5, $5)
    ON CONFLICT (node) DO UPDATE SET last_seen = excluded.last_seen, proved = excluded.proved,
        claim = coalesce(excluded.claim, downstream_nodes.claim)"""
_INSERT: Final = f"""
    INSERT INTO node_applications (node, id, joins, organisation, wanted, state, next_at, created, changed)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $7) RETURNING {_COLUMNS}"""  # noqa: S608 - columns of our own
_SAVE: Final = """
    UPDATE node_applications SET organisation = $3, application = $4, prefix = $5, state = $6, reason = $7,
        next_at = $8, changed = $9
    WHERE node = $1 AND id = $2"""
_OF_NODE: Final = """
    SELECT count(*) FILTER (WHERE state IN ('organisation', 'prefix', 'offered', 'ready', 'joined')), count(*)
    FROM node_applications WHERE node = $1"""
_STRANGERS: Final = """
    SELECT count(*) FROM (SELECT FROM downstream_nodes WHERE organisation IS NULL LIMIT $1) AS strangers"""
_FORGET_STRANGERS: Final = """
    WITH forgotten AS (
        DELETE FROM downstream_nodes WHERE organisation IS NULL AND state = 'known' AND last_seen < $1 RETURNING node)
    DELETE FROM node_applications USING forgotten WHERE node_applications.node = forgotten.node"""
_WAITING: Final = """
    SELECT count(*) FROM (SELECT FROM node_applications WHERE state = 'organisation' LIMIT $1) AS waiting"""
_DUE: Final = f"""
    SELECT {_COLUMNS} FROM node_applications WHERE state IN ('organisation', 'prefix', 'offered', 'ready')
        AND next_at <= $1 ORDER BY next_at LIMIT $2"""  # noqa: S608


@dataclass(frozen=True, slots=True, kw_only=True)
class Applicant:
    """One application of a node below."""

    node: str
    id: str
    joins: bool
    organisation: str | None
    wanted: str | None
    application: str | None
    """app_…, once the organisation is approved."""
    prefix: bytes | None
    state: ApplicationState
    reason: str
    next_at: datetime
    created: datetime
    changed: datetime


class Applicants:
    """What nodes below apply for."""

    def __init__(self, home: Home, prober: Prober) -> None:
        self._home = home
        self._prober = prober

    async def receive(self, tx: Transaction, node: str, message: ApplicationMessage) -> ApplicationAnswer:
        """Take an application in, or say how far it has come. Raises ApiProblem."""
        site = self._site(message.site)
        await self._greet(tx, node, site, message)
        known = await _applicant(tx.connection, node, message.id)
        if known is None:
            known = await self._take_in(tx, node, message)
        elif (known.joins, known.wanted) != (message.joins, message.wanted):
            raise ApiProblem(NODE_APPLICATION, "The same id came with other contents.")
        return await self._answer(tx.connection, known, site)

    async def ready(self, tx: Transaction, node: str, id_: str) -> ApplicationAnswer:
        """The node serves the prefix that it was offered: it is probed, and the prefix goes live. Raises ApiProblem."""
        known = await _applicant(tx.connection, node, id_)
        below = await neighbours.downstream(tx.connection, node)
        if known is None or below is None:
            raise ApiProblem(NOT_FOUND, "There is no such application.")
        if known.state is ApplicationState.OFFERED:
            known = replace(known, state=ApplicationState.READY, next_at=tx.now)
            await _save(tx, known)
        return await self._answer(tx.connection, known, Site.decode(below.site))

    async def advance(self) -> None:
        """Look at what people have decided meanwhile, and at nodes that say they are ready."""
        async with self._home.store.connection() as connection:
            due = [_of(record) for record in await connection.fetch(_DUE, self._home.now(), AT_ONCE)]
        for applicant in due:
            await self._advance(applicant)

    async def forget_strangers(self) -> None:
        """Forget nodes that no organisation has confirmed in all the time since they were last heard of."""
        async with self._home.store.connection() as connection:
            await connection.execute(_FORGET_STRANGERS, self._home.now() - STRANGERS_KEPT)

    async def _advance(self, applicant: Applicant) -> None:
        try:
            if applicant.state is ApplicationState.READY:
                await self._probe(applicant)
            async with self._home.operations.transaction(_origin(applicant)) as tx:
                locked = await _applicant(tx.connection, applicant.node, applicant.id, lock=True)
                if locked is not None and locked.state is applicant.state:
                    await _save(tx, await self._next(tx, locked))
        except ProbeFailed as error:
            await self._put_off(applicant, str(error), PROBE_AGAIN)
        except ApiProblem as problem:
            await self._refused(applicant, problem)
        except StoreUnavailable:
            return

    async def _probe(self, applicant: Applicant) -> None:
        """Raises ProbeFailed unless the node serves the prefix that it is to have."""
        assert applicant.prefix is not None
        async with self._home.store.connection() as connection:
            below = await neighbours.downstream(connection, applicant.node)
        assert below is not None, "an applicant is a node that we know"
        await self._prober.probe_prefix(below, Prefix(applicant.prefix))

    async def _next(self, tx: Transaction, applicant: Applicant) -> Applicant:
        match applicant.state:
            case ApplicationState.ORGANISATION:
                return await self._with_organisation(tx, applicant)
            case ApplicationState.PREFIX:
                return await self._with_prefix(tx, applicant)
            case ApplicationState.READY:
                return await self._allocated(tx, applicant)
            case _:
                return replace(applicant, next_at=tx.now + LOOK_AGAIN)

    async def _with_organisation(self, tx: Transaction, applicant: Applicant) -> Applicant:
        """Apply for the prefix as soon as the organisation is approved, and has confirmed that the node is its own."""
        below = await neighbours.downstream(tx.connection, applicant.node)
        assert below is not None
        holder = below.organisation
        organisation = None if holder is None else await read_organisation(tx.connection, holder)
        later = replace(applicant, organisation=holder, next_at=tx.now + LOOK_AGAIN)
        if organisation is None:
            return replace(later, reason="the organisation has not confirmed that the node is its own")
        if organisation.review is Review.REJECTED:
            return replace(later, state=ApplicationState.REJECTED, reason=organisation.reason)
        if organisation.suspended or organisation.review is not Review.APPROVED:
            return replace(later, reason=f"the organisation is {organisation.state}")
        wish = Wish(
            organisation=organisation.id,
            parent=self._parent(),
            label=applicant.wanted,
            hosting=Hosting.DELEGATED,
            site=Site.decode(below.site),
            purpose="for a node of the organisation's own",
        )
        made = await self._home.allocation.apply(tx, wish, proved=True)
        return replace(later, application=made.id, state=ApplicationState.PREFIX, reason="")

    async def _with_prefix(self, tx: Transaction, applicant: Applicant) -> Applicant:
        """Offer the prefix as soon as the application for it is approved."""
        application = await self._application(tx.connection, applicant)
        later = replace(applicant, next_at=tx.now + LOOK_AGAIN)
        match application.state:
            case Decision.APPROVED | Decision.ALLOCATED:
                assert application.prefix is not None
                allocated = application.state is Decision.ALLOCATED
                state = ApplicationState.ALLOCATED if allocated else ApplicationState.OFFERED
                return replace(later, state=state, prefix=application.prefix.octets, reason="")
            case Decision.REJECTED | Decision.WITHDRAWN:
                reason = application.reason or f"the application was {application.state.value}"
                return replace(later, state=ApplicationState.REJECTED, reason=reason)
            case Decision.APPLIED:
                return later

    async def _allocated(self, tx: Transaction, applicant: Applicant) -> Applicant:
        """Let the prefix go live: the node has proved itself by its signature and was probed just now."""
        application = await self._application(tx.connection, applicant)
        if application.state is not Decision.ALLOCATED:
            allocated = await self._home.allocation.allocate(tx, application.id, proved=True)
            await self._home.allocation.note_probe(tx, allocated.prefix, fault=None)
        return replace(applicant, state=ApplicationState.ALLOCATED, reason="")

    async def _application(self, connection: Connection, applicant: Applicant) -> Application:
        assert applicant.application is not None
        found = await tables.application(connection, applicant.application)
        assert found is not None, "applications are kept"
        return found

    async def _greet(self, tx: Transaction, node: str, site: Site, message: ApplicationMessage) -> None:
        """Know the node from now on; its signature has proved that it holds the key of its site."""
        below = await neighbours.downstream(tx.connection, node, lock=True)
        self._home.terms.check_route(site, self._parent() or Prefix(ROOT_PREFIX_OCTETS))
        await tx.connection.execute(_SEEN, node, key_of_site(site), message.site, message.claim, tx.now)
        if below is None:
            if await tx.connection.fetchval(_STRANGERS, STRANGERS_MAX + 1) > STRANGERS_MAX:
                raise ApiProblem(NODE_APPLICATION, "Too many nodes wait for an organisation to confirm them.")
            tx.audit("node.introduce", node)
        elif below.site != message.site:
            query = "UPDATE downstream_nodes SET offered_site = $2 WHERE node = $1"
            await tx.connection.execute(query, node, message.site)

    async def _take_in(self, tx: Transaction, node: str, message: ApplicationMessage) -> Applicant:
        counted = await tx.connection.fetchrow(_OF_NODE, node)
        assert counted is not None
        open_, all_ = counted
        if open_ >= APPLICATIONS_OPEN_MAX or all_ >= APPLICATIONS_MAX:
            raise ApiProblem(
                NODE_APPLICATION, f"{open_} applications of the node are open, {all_} were made."
            )
        below = await neighbours.downstream(tx.connection, node)
        assert below is not None
        if message.joins:
            if message.claim is None:
                raise ApiProblem(UNPROCESSABLE, "Who joins names the organisation that it belongs to.")
            state, holder = ApplicationState.JOINED, below.organisation
        else:
            state, holder = ApplicationState.ORGANISATION, await self._holder(tx, below, message)
        record = await tx.connection.fetchrow(
            _INSERT, node, message.id, message.joins, holder, message.wanted, state.value, tx.now
        )
        assert record is not None
        tx.audit("node.apply", message.id, organisation=holder, detail={"node": node, "joins": message.joins})
        return _of(record)

    async def _holder(self, tx: Transaction, below: Downstream, message: ApplicationMessage) -> str | None:
        """The organisation that a node applies for: its own, one that has to confirm it, or a new one."""
        if below.organisation is not None or message.claim is not None:
            return below.organisation
        if message.organisation is None:
            raise ApiProblem(UNPROCESSABLE, "An application names an organisation, or describes one.")
        if await tx.connection.fetchval(_WAITING, ORGANISATIONS_NEW_MAX) >= ORGANISATIONS_NEW_MAX:
            raise ApiProblem(NODE_APPLICATION, "Too many organisations of nodes wait for their review.")
        made = await self._home.accounts.organisations.create(tx, message.organisation)
        query = "UPDATE downstream_nodes SET organisation = $2 WHERE node = $1"
        await tx.connection.execute(query, below.node, made.id)
        return made.id

    async def _answer(self, connection: Connection, applicant: Applicant, site: Site) -> ApplicationAnswer:
        prefix = None if applicant.prefix is None else Prefix(applicant.prefix)
        values: ValueList | None = None
        if prefix is not None and applicant.state in (ApplicationState.OFFERED, ApplicationState.READY):
            values = self._home.allocation.future_record(prefix, site)
        elif prefix is not None and applicant.state is ApplicationState.ALLOCATED:
            values = await self._present_record(prefix)
        return ApplicationAnswer(
            id=applicant.id,
            state=applicant.state,
            reason=applicant.reason,
            prefix=None if prefix is None else str(prefix),
            record=None if values is None else record_of(values),
        )

    async def _present_record(self, prefix: Prefix) -> ValueList | None:
        row = (await self._home.store.find([prefix.record.key])).get(prefix.record.key)
        return None if row is None or not row.stored else row.public

    async def _put_off(self, applicant: Applicant, reason: str, wait: timedelta) -> None:
        async with self._home.operations.transaction(_origin(applicant)) as tx:
            await _save(tx, replace(applicant, reason=reason, next_at=tx.now + wait))

    async def _refused(self, applicant: Applicant, problem: ApiProblem) -> None:
        if problem.type.retry or problem.type.status >= 500:
            await self._put_off(applicant, problem.detail, PROBE_AGAIN)
            return
        async with self._home.operations.transaction(_origin(applicant)) as tx:
            await _save(tx, replace(applicant, state=ApplicationState.REJECTED, reason=problem.detail))

    def _parent(self) -> Prefix | None:
        """Below which prefix this node allocates: its first one; the root below none."""
        name = Prefix.parse(self._home.terms.node)
        return None if name.octets.startswith(b"0.") else name

    def _site(self, octets: bytes) -> Site:
        try:
            return Site.decode(octets)
        except WireError as error:
            raise ApiProblem(UNPROCESSABLE, f"The site record cannot be read: {error}.") from None


async def _applicant(connection: Connection, node: str, id_: str, *, lock: bool = False) -> Applicant | None:
    query = f"SELECT {_COLUMNS} FROM node_applications WHERE node = $1 AND id = $2"  # noqa: S608
    record = await connection.fetchrow(query + (" FOR UPDATE" if lock else ""), node, id_)
    return None if record is None else _of(record)


async def _save(tx: Transaction, applicant: Applicant) -> None:
    await tx.connection.execute(
        _SAVE,
        applicant.node,
        applicant.id,
        applicant.organisation,
        applicant.application,
        applicant.prefix,
        applicant.state.value,
        applicant.reason[: neighbours.TEXT_MAX],
        applicant.next_at,
        tx.now,
    )


def _of(record: Any) -> Applicant:
    fields = dict(record)
    return Applicant(**(fields | {"state": ApplicationState(record["state"])}))


def _origin(applicant: Applicant) -> Origin:
    return Origin(actor=f"node:{applicant.node}", organisation=applicant.organisation, via="node")
