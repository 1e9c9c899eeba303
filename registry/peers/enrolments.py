"""Enrolment: this node asks a node above for a prefix, or joins it, and goes on asking until it has an answer.

An enrolment is stored before anything is sent, under an id that the message carries: whatever stops in between, the
same message goes out again and says the same.
"""

import json
import random
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from protocol.errors import HandleError, InvalidHandle
from protocol.handle import Prefix
from protocol.jsonform import site_from_json
from protocol.site import Site
from protocol.value import ValueList
from registry.accounts.organisation_rows import read_organisation
from registry.allocation.allocating import put_identity
from registry.allocation.routes import RouteRefused
from registry.delegation import Authorisation, accept_in
from registry.ids import new_id
from registry.initialise import administrator_of
from registry.outcomes import Origin
from registry.peers import neighbours
from registry.peers.exchange import PeerFailed, PeerRefused, PeerUnreachable, place_of_url
from registry.peers.intake import PageRefused
from registry.peers.messages import ApplicationAnswer, ApplicationMessage, ApplicationState
from registry.peers.neighbours import Home, Upstream
from registry.peers.node_key import KeyUnusable, key_id_of, key_of_site
from registry.peers.parcels import values_of
from registry.problem_types import NOT_FOUND, ApiProblem
from registry.problem_types.peers import NODE_APPLICATION, NODE_SITE, NODE_UNREACHABLE
from registry.store import Connection
from registry.transaction import Transaction

SITE_PATH: Final = "/api/site"
APPLICATIONS_PATH: Final = "/api/v1/node/applications"
WAIT_MIN_S: Final = 1.0
WAIT_MAX_S: Final = 60.0
"""Between two questions while people decide, and between two attempts while the node above does not answer."""
BARE_LABEL_MAX: Final = 128
OPEN: Final = frozenset({"sending", "applied", "homed"})

_COLUMNS: Final = (
    "id, node, organisation, claim, wanted, joins, state, reason, prefix, attempts, next_at, created, changed"
)
_INSERT: Final = f"""
    INSERT INTO enrolments (id, node, organisation, claim, wanted, joins, state, prefix, next_at, created, changed)
    VALUES ($1, $2, $3, $4, $5, $6, 'sending', $7, $8, $8, $8) RETURNING {_COLUMNS}"""  # noqa: S608 - our columns
_SAVE: Final = """
    UPDATE enrolments SET state = $2, reason = $3, prefix = $4, attempts = $5, next_at = $6, changed = $7
    WHERE id = $1"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """What we asked a node above for, and how far it has come."""

    id: str
    node: str
    organisation: str | None
    """Ours, which will hold the prefix."""
    claim: str | None
    """The organisation's id at the node above."""
    wanted: str | None
    joins: bool
    state: str
    """sending, applied, homed, allocated, joined, rejected."""
    reason: str
    prefix: bytes | None
    attempts: int
    next_at: datetime
    created: datetime
    changed: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What an operator asks for."""

    url: str
    """Of the node above: https://host[:port]."""
    node: str | None = None
    """Its key id, where it is known; else the key that it tells at the first contact is believed."""
    organisation: str | None = None
    claim: str | None = None
    label: str | None = None
    joins: bool = False
    held: str | None = None
    """With joins: a prefix that this node serves and was given by that node by other means."""


class Enrolments:
    """The enrolments of this node."""

    def __init__(self, home: Home) -> None:
        self._home = home

    async def pin(self, url: str, expected: str | None) -> tuple[str, Site]:
        """The key id and the site of the node at a URL. Raises ApiProblem (422).

        expected: the key id that it must have. A node whose key is pinned must still have that key.
        """
        try:
            place = await place_of_url(url, rule=self._home.plain_http)
            octets = await self._home.client.fetch(place, SITE_PATH)
            site = site_from_json(json.loads(octets)["site"])
            node = key_id_of(key_of_site(site))
        except RouteRefused as error:
            raise ApiProblem(NODE_SITE, f"{error}.") from None
        except PeerUnreachable as error:
            raise ApiProblem(NODE_UNREACHABLE, f"{error}.") from None
        except (KeyUnusable, HandleError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ApiProblem(NODE_UNREACHABLE, f"{place.authority} tells no site record: {error}.") from None
        if expected is not None and expected != node:
            raise ApiProblem(NODE_SITE, f"The node at {place.authority} has the key {node}, not {expected}.")
        await self._check_pinned(url, node)
        return node, site

    async def _check_pinned(self, url: str, node: str) -> None:
        async with self._home.store.connection() as connection:
            known = await neighbours.upstreams(connection)
        for above in known:
            if above.url == url and above.node != node:
                text = f"The node at {url} had the key {above.node} at the first contact, and has {node} now."
                remedy = "If its operator has really given it another key, forget the node above first."
                raise ApiProblem(NODE_SITE, text, remedy=remedy)
        if node == self._home.key.id:
            raise ApiProblem(NODE_SITE, "That is this node itself.")

    async def enrol(self, tx: Transaction, wanted: Wanted, node: str, site: Site) -> Enrolment:
        """Store what is wanted from the node above that `pin` found; it is sent from now on. Raises ApiProblem."""
        if wanted.organisation is not None:
            if await read_organisation(tx.connection, wanted.organisation) is None:
                raise ApiProblem(NOT_FOUND, "There is no such organisation.")
        elif wanted.claim is None:
            raise ApiProblem(
                NODE_APPLICATION, "Name an organisation of this node, or its id at the node above."
            )
        if wanted.joins and wanted.claim is None:
            raise ApiProblem(
                NODE_APPLICATION, "To join, name the id that the organisation has at the node above."
            )
        key = key_of_site(site)
        await neighbours.pin_upstream(
            tx.connection, node=node, url=wanted.url, key=key, site=site, now=tx.now
        )
        record = await tx.connection.fetchrow(
            _INSERT,
            new_id("enr"),
            node,
            wanted.organisation,
            wanted.claim,
            wanted.label,
            wanted.joins,
            await self._held(tx, wanted),
            tx.now,
        )
        assert record is not None
        made = Enrolment(**record)
        tx.audit("node.enrol", made.id, organisation=wanted.organisation, detail={"node": node})
        return made

    async def _held(self, tx: Transaction, wanted: Wanted) -> bytes | None:
        if wanted.held is None:
            return None
        try:
            prefix = Prefix.parse(wanted.held)
        except InvalidHandle as error:
            raise ApiProblem(NODE_APPLICATION, str(error)) from None
        row = await tx.prefix_row(prefix.key)
        if row is None or not row.homed:
            raise ApiProblem(NODE_APPLICATION, f"This node does not serve {prefix}.")
        return prefix.key

    async def get(self, id_: str) -> Enrolment:
        """An enrolment. Raises ApiProblem (404)."""
        query = f"SELECT {_COLUMNS} FROM enrolments WHERE id = $1"  # noqa: S608 - columns of our own
        async with self._home.store.connection() as connection:
            record = await connection.fetchrow(query, id_)
        if record is None:
            raise ApiProblem(NOT_FOUND, "There is no such enrolment.")
        return Enrolment(**record)

    async def page(self, *, after: str, limit: int) -> list[Enrolment]:
        """Enrolments by id, after this one."""
        query = f"SELECT {_COLUMNS} FROM enrolments WHERE id > $1 ORDER BY id LIMIT $2"  # noqa: S608
        async with self._home.store.connection() as connection:
            return [Enrolment(**record) for record in await connection.fetch(query, after, limit)]

    async def advance(self) -> None:
        """Ask about every enrolment that is due, and do what the answer says."""
        for enrolment in await self._due():
            above = await self._above(enrolment.node)
            if above is not None:
                await self._advance(enrolment, above)

    async def _due(self) -> list[Enrolment]:
        query = f"""
            SELECT {_COLUMNS} FROM enrolments WHERE state IN ('sending', 'applied', 'homed') AND next_at <= $1
            ORDER BY next_at LIMIT 100"""  # noqa: S608
        async with self._home.store.connection() as connection:
            return [Enrolment(**record) for record in await connection.fetch(query, self._home.now())]

    async def _above(self, node: str) -> Upstream | None:
        async with self._home.store.connection() as connection:
            return await neighbours.upstream(connection, node)

    async def _advance(self, enrolment: Enrolment, above: Upstream) -> None:
        try:
            answer = await self._ask(enrolment, above)
            after = await self._take(enrolment, answer)
        except PeerRefused as error:
            if not error.retry:
                await self._store(enrolment, replace(enrolment, state="rejected", reason=str(error)))
                return
            after = self._later(enrolment, str(error))
        except PeerFailed as error:
            after = self._later(enrolment, str(error))
        except PageRefused as error:
            after = self._later(enrolment, f"the node above offers what cannot be taken: {error}")
        await self._store(enrolment, after)
        failed = after.reason if after.attempts else ""
        async with self._home.store.connection() as connection:
            await neighbours.note_contact(connection, above.node, self._home.now(), failed)

    async def _ask(self, enrolment: Enrolment, above: Upstream) -> ApplicationAnswer:
        peer = await neighbours.peer_above(self._home, above)
        exchange = self._home.client.exchange
        if enrolment.state == "homed":
            path = f"{APPLICATIONS_PATH}/{enrolment.id}/ready"
            return await exchange(peer, "POST", path, ApplicationAnswer)
        async with self._home.store.connection() as connection:
            message = await self._message(connection, enrolment)
        return await exchange(peer, "POST", APPLICATIONS_PATH, ApplicationAnswer, message)

    async def _message(self, connection: Connection, enrolment: Enrolment) -> ApplicationMessage:
        profile = None
        if enrolment.claim is None and enrolment.organisation is not None:
            organisation = await read_organisation(connection, enrolment.organisation)
            profile = None if organisation is None else organisation.profile
        return ApplicationMessage(
            id=enrolment.id,
            site=self._home.site.encode(),
            joins=enrolment.joins,
            claim=enrolment.claim,
            organisation=profile,
            wanted=enrolment.wanted,
        )

    async def _take(self, enrolment: Enrolment, answer: ApplicationAnswer) -> Enrolment:
        """The enrolment after an answer; the prefix is served here before the node above is told so."""
        now = self._home.now()
        asked = replace(enrolment, attempts=0, reason=answer.reason, next_at=now + _jittered(WAIT_MIN_S))
        match answer.state:
            case ApplicationState.REJECTED:
                return replace(asked, state="rejected")
            case ApplicationState.JOINED:
                return replace(asked, state="joined")
            case ApplicationState.OFFERED | ApplicationState.READY | ApplicationState.ALLOCATED:
                prefix = await self._accept(enrolment, answer)
                done = answer.state is ApplicationState.ALLOCATED
                return replace(asked, state="allocated" if done else "homed", prefix=prefix.key)
            case _:
                waited = min(WAIT_MAX_S, max(WAIT_MIN_S, (now - enrolment.created).total_seconds() / 10))
                return replace(asked, state="applied", next_at=now + _jittered(waited))

    async def _accept(self, enrolment: Enrolment, answer: ApplicationAnswer) -> Prefix:
        """Serve the prefix that the node above gives us. Raises PageRefused."""
        if answer.prefix is None or answer.record is None:
            raise PageRefused("neither prefix nor record")
        try:
            prefix = Prefix.parse(answer.prefix)
        except InvalidHandle as error:
            raise PageRefused(str(error)) from None
        values = values_of(answer.record)
        self._check_addressee(prefix, values)
        async with self._home.operations.transaction(self._origin(enrolment)) as tx:
            await accept_in(tx, Authorisation(prefix=prefix, values=values))
            row = await tx.prefix_row(prefix.key)
            assert row is not None
            if row.organisation != enrolment.organisation:
                await tx.save_prefix(replace(row, organisation=enrolment.organisation))
            await put_identity(tx, administrator_of(prefix), enrolment.organisation)
        return prefix

    def _check_addressee(self, prefix: Prefix, values: ValueList) -> None:
        """Raises PageRefused unless the record names this very node, and us alone."""
        try:
            sites = [Site.decode(value.data) for value in values.select(types=("HS_SITE",))]
            keys = {key_of_site(site) for site in sites}
        except HandleError as error:
            raise PageRefused(f"the record of {prefix} holds no readable site: {error}") from None
        if keys != {self._home.key.public}:
            raise PageRefused(f"the record of {prefix} names another node")

    def _later(self, enrolment: Enrolment, reason: str) -> Enrolment:
        attempts = enrolment.attempts + 1
        wait_s = min(WAIT_MAX_S, WAIT_MIN_S * 2 ** min(attempts, 10))
        at = self._home.now() + _jittered(wait_s)
        return replace(enrolment, attempts=attempts, reason=reason, next_at=at)

    async def _store(self, before: Enrolment, after: Enrolment) -> None:
        async with self._home.operations.transaction(self._origin(before)) as tx:
            await tx.connection.execute(
                _SAVE,
                after.id,
                after.state,
                after.reason[: neighbours.TEXT_MAX],
                after.prefix,
                after.attempts,
                after.next_at,
                tx.now,
            )
            if after.state != before.state:
                detail = {"state": after.state}
                tx.audit("node.enrol", after.id, organisation=after.organisation, detail=detail)

    def _origin(self, enrolment: Enrolment) -> Origin:
        return Origin(actor=f"node:{enrolment.node}", organisation=enrolment.organisation, via="node")


def _jittered(seconds: float) -> timedelta:
    return timedelta(seconds=seconds * random.uniform(0.5, 1.0))
