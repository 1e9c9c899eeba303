"""Hearing: what nodes below tell this node: that they are alive, where they are, whom they file, what they counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

import msgspec

from protocol.errors import HandleError
from protocol.handle import Prefix
from protocol.site import Site
from registry.accounts.organisation import Review
from registry.accounts.organisation_rows import read_organisation
from registry.accounts.profile import Profile, profile_faults
from registry.allocation.lifecycle import Hosting, PrefixState
from registry.allocation.model import AllocatedPrefix
from registry.allocation.routes import RouteRefused, check_site
from registry.outcomes import SYSTEM, Origin
from registry.peers import neighbours
from registry.peers.messages import (
    FILINGS_MAX,
    FilingAnswer,
    FilingMessage,
    FilingState,
    HeartbeatAnswer,
    HeartbeatMessage,
    Received,
    ReportMessage,
)
from registry.peers.neighbours import Downstream, Home
from registry.peers.node_key import KeyUnusable, key_of_site
from registry.peers.probes import ProbeFailed, Prober
from registry.problem_types import NOT_FOUND, UNPROCESSABLE, ApiProblem
from registry.problem_types.peers import NODE_SITE, NODE_UNCONFIRMED
from registry.store import Connection
from registry.text import refused_character
from registry.transaction import Transaction

PREFIXES_AT_ONCE: Final = 200
SITES_AT_ONCE: Final = 10
DECISIONS_TOLD: Final = timedelta(days=7)
"""For how long a decision is told again and again, since answers can be lost; the node below ignores what it knows."""
REPORTED_LATE_MAX: Final = timedelta(days=400)
"""How old a day may be that is reported: a year of outage, and some."""
NUMBER_MAX: Final = 2**63 - 1
_FILING: Final = (
    "node, organisation, number, version, name, certificate, profile, state, reason, decided_by, received,"
    " decided"
)
_FILE: Final = """
    INSERT INTO filings AS kept (node, organisation, version, name, certificate, profile, state, reason, decided_by,
        received, decided)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'system', $9, $9)
    ON CONFLICT (node, organisation) DO UPDATE SET version = excluded.version, name = excluded.name,
        certificate = excluded.certificate, profile = excluded.profile, state = excluded.state,
        reason = excluded.reason, decided_by = excluded.decided_by, received = excluded.received,
        decided = excluded.decided
    WHERE kept.version < excluded.version"""
_REPORT: Final = """
    INSERT INTO reports (node, day, contents, received) VALUES ($1, $2, $3, $4)
    ON CONFLICT (node, day) DO UPDATE SET contents = excluded.contents, received = excluded.received"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filing:
    """An organisation that a node below has filed."""

    node: str
    organisation: str
    number: int
    version: int
    name: str
    certificate: str
    profile: str
    """JSON."""
    state: str
    reason: str
    decided_by: str
    received: datetime
    decided: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a node below counted in a day."""

    node: str
    day: date
    contents: str
    """JSON."""
    received: datetime


class Hearing:
    """What nodes below say."""

    def __init__(self, home: Home, prober: Prober) -> None:
        self._home = home
        self._prober = prober

    async def heartbeat(self, tx: Transaction, node: str, message: HeartbeatMessage) -> HeartbeatAnswer:
        """The node is alive; a site that differs from the known one is probed and then taken over.

        Raises ApiProblem.
        """
        below = await _known(tx.connection, node)
        fault = refused_character(message.software)
        if fault:
            raise ApiProblem(UNPROCESSABLE, f"The name of the software {fault}.")
        self._check_site(message.site, below)
        differs = message.site != below.site
        await tx.connection.execute(
            "UPDATE downstream_nodes SET last_seen = $2, version = $3, offered_site = $4 WHERE node = $1",
            node,
            tx.now,
            message.software,
            message.site if differs else None,
        )
        told = await tx.connection.fetch(
            "SELECT organisation, version, state, reason FROM filings WHERE node = $1 AND decided > $2"
            " AND decided_by <> 'system' ORDER BY decided DESC LIMIT $3",
            node,
            tx.now - DECISIONS_TOLD,
            FILINGS_MAX,
        )
        filings = [
            FilingAnswer(**(dict(record) | {"state": FilingState(record["state"])})) for record in told
        ]
        fault = (below.probe_fault or "") if differs else ""
        return HeartbeatAnswer(site=self._home.site.encode(), site_fault=fault, filings=filings)

    def _check_site(self, octets: bytes, below: Downstream) -> None:
        try:
            key = key_of_site(Site.decode(octets))
        except (HandleError, KeyUnusable) as error:
            raise ApiProblem(UNPROCESSABLE, f"The site record cannot be used: {error}.") from None
        if key != below.public_key:
            raise ApiProblem(NODE_SITE, "The site record names another key than the one that signs.")

    async def file(self, tx: Transaction, node: str, message: FilingMessage) -> FilingAnswer:
        """Take the filing of an organisation in: filed, or refused with what is wrong. Raises ApiProblem."""
        await _approved(tx.connection, node)
        faults = profile_faults(message.profile, today=tx.now.date())
        reason = "; ".join(f"{fault.pointer.lstrip('/')} {fault.detail}" for fault in faults)[
            : neighbours.TEXT_MAX
        ]
        state = FilingState.REFUSED if faults else FilingState.FILED
        document = msgspec.json.encode(message.profile).decode()
        await tx.connection.execute(
            _FILE,
            node,
            message.organisation,
            message.version,
            message.profile.name,
            message.profile.certificate,
            document,
            state.value,
            reason,
            tx.now,
        )
        kept = await self._filing(tx.connection, node, message.organisation)
        assert kept is not None
        tx.audit("filing.receive", message.organisation, detail={"node": node, "state": kept.state})
        return FilingAnswer(
            organisation=kept.organisation,
            version=kept.version,
            state=FilingState(kept.state),
            reason=kept.reason,
        )

    async def decide(
        self, tx: Transaction, node: str, organisation: str, *, state: FilingState, reason: str
    ) -> Filing:
        """Decide a filing otherwise; the node below hears of it with its next heartbeat. Raises ApiProblem (404)."""
        query = """
            UPDATE filings SET state = $3, reason = $4, decided_by = $5, decided = $6
            WHERE node = $1 AND organisation = $2"""
        await tx.connection.execute(query, node, organisation, state.value, reason, tx.origin.actor, tx.now)
        kept = await self._filing(tx.connection, node, organisation)
        if kept is None:
            raise ApiProblem(NOT_FOUND, "There is no such filing.")
        tx.audit("filing.decide", organisation, detail={"node": node, "state": state.value, "reason": reason})
        return kept

    async def report(self, tx: Transaction, node: str, message: ReportMessage) -> Received:
        """Keep what a node counted in a day. Raises ApiProblem."""
        await _approved(tx.connection, node)
        if not tx.now.date() - REPORTED_LATE_MAX <= message.day <= tx.now.date() + timedelta(days=1):
            raise ApiProblem(UNPROCESSABLE, f"The day is not one of the last {REPORTED_LATE_MAX.days}.")
        contents = msgspec.json.encode(message).decode()
        await tx.connection.execute(_REPORT, node, message.day, contents, tx.now)
        return Received()

    async def filings(self, *, node: str | None, before: int | None, limit: int) -> Sequence[Filing]:
        """Filings, the latest first."""
        values: list[Any] = [NUMBER_MAX if before is None else before, limit]
        condition = "number < $1"
        if node is not None:
            condition += " AND node = $3"
            values.append(node)
        query = f"SELECT {_FILING} FROM filings WHERE {condition} ORDER BY number DESC LIMIT $2"  # noqa: S608
        async with self._home.store.connection() as connection:
            return [Filing(**record) for record in await connection.fetch(query, *values)]

    async def reports(self, node: str, *, before: date | None, limit: int) -> Sequence[Report]:
        """Reports of a node, the latest first."""
        query = """
            SELECT node, day, contents, received FROM reports WHERE node = $1 AND ($2::date IS NULL OR day < $2)
            ORDER BY day DESC LIMIT $3"""
        async with self._home.store.connection() as connection:
            return [Report(**record) for record in await connection.fetch(query, node, before, limit)]

    async def take_sites(self) -> None:
        """Let the records of nodes that have changed name their new sites, once these answer."""
        query = (
            "SELECT node FROM downstream_nodes WHERE offered_site IS NOT NULL AND state = 'known' LIMIT $1"
        )
        async with self._home.store.connection() as connection:
            found = [record["node"] for record in await connection.fetch(query, SITES_AT_ONCE)]
            nodes = [await neighbours.downstream(connection, node) for node in found]
        for below in nodes:
            if below is not None and below.offered_site is not None:
                await self._take_site(below, below.offered_site)

    async def _take_site(self, below: Downstream, octets: bytes) -> None:
        site = Site.decode(octets)
        served = await self._served_by(below)
        fault = ""
        try:
            for prefix in [allocated.prefix for allocated in served] or [Prefix.parse(self._home.terms.node)]:
                if served:
                    await self._prober.check(site, prefix, served=True)
                else:
                    check_site(site, prefix, self._home.terms.openings)
        except (ProbeFailed, RouteRefused) as error:
            fault = str(error)[: neighbours.TEXT_MAX]
        origin = Origin(actor=f"node:{below.node}", organisation=below.organisation, via="node")
        try:
            async with self._home.operations.transaction(origin) as tx:
                for allocated in served if not fault else ():
                    reason = "the node has changed its site"
                    await self._home.allocation.change_route(
                        tx, allocated.prefix, site, reason=reason, proved=True
                    )
                await self._note_site(tx, below, octets, fault)
        except ApiProblem as problem:
            async with self._home.operations.transaction(SYSTEM) as tx:
                await self._note_site(tx, below, octets, problem.detail)

    async def _note_site(self, tx: Transaction, below: Downstream, octets: bytes, fault: str) -> None:
        """Take a site over; one with a fault is forgotten until the node says so again."""
        query = """
            UPDATE downstream_nodes SET offered_site = NULL, probed = $3, probe_fault = nullif($4, ''),
                site = CASE WHEN $4 = '' THEN $2 ELSE site END
            WHERE node = $1 AND offered_site = $2"""
        await tx.connection.execute(query, below.node, octets, tx.now, fault[: neighbours.TEXT_MAX])
        if not fault:
            tx.audit("node.change_site", below.node, organisation=below.organisation)

    async def _served_by(self, below: Downstream) -> list[AllocatedPrefix]:
        """The prefixes that are delegated to a node."""
        if below.organisation is None:
            return []
        page = await self._home.allocation.prefixes(
            organisation=below.organisation, state=PrefixState.ACTIVE, limit=PREFIXES_AT_ONCE
        )
        return [
            allocated
            for allocated in page.items
            if allocated.hosting is Hosting.DELEGATED and _is_of(allocated.site, below)
        ]

    async def _filing(self, connection: Connection, node: str, organisation: str) -> Filing | None:
        query = f"SELECT {_FILING} FROM filings WHERE node = $1 AND organisation = $2"  # noqa: S608
        record = await connection.fetchrow(query, node, organisation)
        return None if record is None else Filing(**record)


async def _known(connection: Connection, node: str) -> Downstream:
    below = await neighbours.downstream(connection, node)
    if below is None:
        raise ApiProblem(NOT_FOUND, "There is no such node below this one.")
    return below


async def _approved(connection: Connection, node: str) -> None:
    """Raises ApiProblem unless the node's organisation was approved: strangers could fill the disk otherwise."""
    below = await _known(connection, node)
    organisation = None
    if below.organisation is not None:
        organisation = await read_organisation(connection, below.organisation)
    if organisation is None or organisation.suspended or organisation.review is not Review.APPROVED:
        raise ApiProblem(NODE_UNCONFIRMED, "The organisation of the node is not approved.")


def _is_of(site: Site, below: Downstream) -> bool:
    return {server.public_key for server in site.servers} == {below.public_key}


def profile_of(filing: Filing) -> Profile:
    """The profile that was filed."""
    return msgspec.json.decode(filing.profile, type=Profile)
