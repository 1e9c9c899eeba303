"""Watch: do the nodes below serve what they were given, and does the node above say the truth about us?"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from protocol.client.answers import Found, Question
from protocol.client.client import HandleClient
from protocol.client.selection import routable_sites
from protocol.errors import ResolutionFailed, WireError
from protocol.handle import Prefix
from protocol.site import Service, Site
from protocol.transport.exchanger import Exchanger
from registry.outcomes import SYSTEM
from registry.peers import neighbours
from registry.peers.neighbours import Home
from registry.peers.probes import ProbeFailed, Prober
from registry.store import Connection

PROBE_PERIOD: Final = timedelta(days=1)
PROBES_AT_ONCE: Final = 8
"""Prefixes probed in one round, each at a handful of interfaces: a hundred thousand take well below a day."""
ROUTE_PERIOD: Final = timedelta(minutes=5)
ROUTES_AT_ONCE: Final = 20
_TO_PROBE: Final = """
    SELECT name, site FROM allocations WHERE hosting = 'delegated' AND state = 'active'
        AND (probed IS NULL OR probed < $1)
    ORDER BY probed NULLS FIRST, prefix LIMIT $2"""
_TO_CHECK: Final = """
    SELECT node FROM upstream_nodes WHERE route_checked IS NULL OR route_checked < $1 ORDER BY node LIMIT 1"""
_GIVEN: Final = """
    SELECT p.name FROM prefixes AS p WHERE p.homed AND (
        EXISTS (SELECT FROM enrolments AS e
            WHERE e.node = $1 AND e.prefix = p.prefix AND e.state IN ('allocated', 'joined'))
        OR EXISTS (SELECT FROM moves AS m WHERE m.node = $1 AND m.prefix = p.prefix AND NOT m.drives
            AND m.direction = 'delegated' AND m.phase = 'done'))
    ORDER BY p.prefix LIMIT $2"""
_NOTE_ROUTE: Final = "UPDATE upstream_nodes SET route_checked = $2, route_fault = $3 WHERE node = $1"

OnRoute = Callable[[bool], None]
"""Told whether the records of the nodes above name our site as it is."""


def ignore_route(_: bool) -> None:
    """The OnRoute of a node that nobody watches."""


class Watch:
    """Looks at the neighbours from time to time."""

    def __init__(self, home: Home, prober: Prober, on_route: OnRoute = ignore_route) -> None:
        self._home = home
        self._prober = prober
        self._on_route = on_route
        self._exchanger: Exchanger | None = None

    async def close(self) -> None:
        """Close every socket."""
        if self._exchanger is not None:
            await self._exchanger.close()
            self._exchanger = None

    async def probe_delegated(self) -> None:
        """Probe the delegated prefixes that were not probed for a day, and note what was found."""
        before = self._home.now() - PROBE_PERIOD
        async with self._home.store.connection() as connection:
            due = await connection.fetch(_TO_PROBE, before, PROBES_AT_ONCE)
        await asyncio.gather(*(self.probe(Prefix(name), Site.decode(site)) for name, site in due))

    async def probe(self, prefix: Prefix, site: Site) -> str:
        """Probe one delegated prefix. Gives what is wrong, empty when nothing is."""
        fault = ""
        try:
            await self._prober.check(site, prefix, served=True)
        except ProbeFailed as error:
            fault = str(error)[: neighbours.TEXT_MAX]
        async with self._home.operations.transaction(SYSTEM) as tx:
            await self._home.allocation.note_probe(tx, prefix, fault=fault or None)
            query = (
                "UPDATE downstream_nodes SET probed = $2, probe_fault = nullif($3, '') WHERE public_key = $1"
            )
            await tx.connection.execute(query, site.servers[0].public_key, tx.now, fault)
        return fault

    async def check_routes(self) -> None:
        """Compare the records that nodes above hold of our prefixes with our own site, and note the difference."""
        async with self._home.store.connection() as connection:
            now = self._home.now()
            node = await connection.fetchval(_TO_CHECK, now - ROUTE_PERIOD)
            above = None if node is None else await neighbours.upstream(connection, node)
            if above is None:
                return
            names = [record["name"] for record in await connection.fetch(_GIVEN, node, ROUTES_AT_ONCE)]
        faults = [await self._route_fault(Prefix(name), Site.decode(above.site)) for name in names]
        told = "; ".join(fault for fault in faults if fault)[: neighbours.TEXT_MAX] or None
        async with self._home.store.connection() as connection:
            await self._note(connection, above.node, now, told)

    async def _note(self, connection: Connection, node: str, now: datetime, fault: str | None) -> None:
        await connection.execute(_NOTE_ROUTE, node, now, fault)
        query = "SELECT count(*) FROM upstream_nodes WHERE route_fault IS NOT NULL"
        self._on_route(await connection.fetchval(query) == 0)

    async def _route_fault(self, prefix: Prefix, above: Site) -> str:
        """In what the record of a prefix differs from our site; empty when in nothing."""
        if self._exchanger is None:
            self._exchanger = Exchanger()
        sites = routable_sites((above,), prefix.record, prefix, self._home.terms.openings)
        if not sites:
            return f"{prefix}: the node above is at an address that may not be asked"
        root = Service("the node above", sites)
        client = HandleClient(root, self._exchanger, openings=self._home.terms.openings)
        question = Question(handle=prefix.record, types=("HS_SITE",), authoritative=True)
        try:
            reply = await client.exchange_with_site(sites[0], question)
        except (ResolutionFailed, WireError) as error:
            return f"{prefix}: {error}"
        found = reply.reply(prefix.record) if reply.referral is None and reply.code < 300 else None
        if not isinstance(found, Found):
            return f"{prefix}: the node above answers {prefix.record} with {reply.code}"
        told = {value.data for value in found.values if value.type.upper() == "HS_SITE"}
        return "" if self._is_ours(told) else f"{prefix}: the record names another site than ours"

    def _is_ours(self, told: set[bytes]) -> bool:
        """Whether one of the sites is ours, whatever its serial number: that is the node's above to raise."""
        serial = slice(4, 6)
        own = self._home.site.encode()
        return any(data[: serial.start] + own[serial] + data[serial.stop :] == own for data in told)
