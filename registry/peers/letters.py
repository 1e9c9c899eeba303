"""Letters: what this node tells the node above of itself: organisations to be filed, days, and that it is alive.

Periodic actions put them into the outbox, deliveries write and send them, and do what the answer says.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Final

from protocol.runtime.build import version
from registry.accounts.organisation import FilingState
from registry.accounts.organisation_rows import read_organisation
from registry.outcomes import SYSTEM, Origin
from registry.peers import neighbours, outbox
from registry.peers.exchange import Peer
from registry.peers.messages import (
    PREFIXES_MAX,
    SOURCES_MAX,
    FilingAnswer,
    FilingMessage,
    HeartbeatAnswer,
    HeartbeatMessage,
    PrefixCount,
    Received,
    ReportMessage,
    SourceCount,
)
from registry.peers.neighbours import Home
from registry.peers.outbox import Deliver, Letter
from registry.problem_types import ApiProblem
from registry.store import Connection

FILING: Final = "filing"
REPORT: Final = "report"
HEARTBEAT: Final = "heartbeat"
FILED_AT_ONCE: Final = 100
REPORTED_DAYS: Final = 7
"""Days that are reported afterwards, when the node was off."""
_PARENT: Final = """
    SELECT u.node FROM upstream_nodes AS u WHERE EXISTS (
        SELECT FROM enrolments AS e WHERE e.node = u.node AND e.state IN ('allocated', 'joined', 'homed'))
    ORDER BY u.pinned, u.node"""
_TO_FILE: Final = (
    "SELECT id FROM organisations WHERE review = 'approved' AND filing_state = 'none' ORDER BY id LIMIT $1"
)
_DAY: Final = """
    SELECT registrations, resolutions, successes, denials, failures, peak_per_s, peak_at, latency_min_s, latency_max_s,
        latency_sum_s FROM daily_statistics WHERE day = $1"""
_SOURCES: Final = """
    SELECT source, resolutions FROM daily_sources WHERE day = $1 ORDER BY resolutions DESC, source LIMIT $2"""
_PREFIXES: Final = """
    SELECT p.name, (SELECT count(*) FROM handles AS h WHERE h.prefix = p.prefix AND h.state <> 1) AS identifiers
    FROM prefixes AS p WHERE p.homed AND p.prefix NOT LIKE '0.%' ORDER BY p.prefix LIMIT $1"""


class Letters:
    """What goes to nodes above."""

    def __init__(self, home: Home, *, heartbeat_s: float) -> None:
        self._home = home
        self._heartbeat = timedelta(seconds=heartbeat_s)

    def deliveries(self) -> Mapping[str, Deliver]:
        """How each kind of letter is delivered."""
        return {FILING: self._file, REPORT: self._report, HEARTBEAT: self._beat}

    async def write(self) -> None:
        """Put what has come up since the last time into the outbox."""
        async with self._home.store.connection() as connection:
            nodes = [record["node"] for record in await connection.fetch(_PARENT)]
            for node in nodes:
                await self._write_to(connection, node)
        if nodes:
            await self._write_filings(nodes[0])

    async def _write_to(self, connection: Connection, node: str) -> None:
        now = self._home.now()
        await outbox.put(connection, node=node, kind=HEARTBEAT, subject="", version=1, now=now)
        today = (now + timedelta(seconds=self._home.utc_offset_s)).date()
        query = "SELECT day FROM daily_statistics WHERE day >= $1 AND day < $2 ORDER BY day"
        days = await connection.fetch(query, today - timedelta(days=REPORTED_DAYS), today)
        for record in days:
            subject = record["day"].isoformat()
            await outbox.put(connection, node=node, kind=REPORT, subject=subject, version=1, now=now)

    async def _write_filings(self, node: str) -> None:
        """File with the first node above what is approved and was not filed since."""
        async with self._home.store.connection() as connection:
            approved = [record["id"] for record in await connection.fetch(_TO_FILE, FILED_AT_ONCE)]
        for id_ in approved:
            async with self._home.operations.transaction(SYSTEM) as tx:
                filed = await self._home.accounts.set_filing(tx, id_, state=FilingState.PENDING)
                await outbox.put(
                    tx.connection, node=node, kind=FILING, subject=id_, version=filed.version, now=tx.now
                )

    async def _file(self, peer: Peer, letter: Letter) -> timedelta | None:
        async with self._home.store.connection() as connection:
            organisation = await read_organisation(connection, letter.subject)
        if organisation is None:
            return None
        message = FilingMessage(
            organisation=letter.subject, version=letter.version, profile=organisation.profile
        )
        answer = await self._home.client.exchange(peer, "POST", "/api/v1/node/filings", FilingAnswer, message)
        await self._take_filing(peer.node, answer)
        return None

    async def _take_filing(self, node: str, answer: FilingAnswer) -> None:
        """Show what the node above says of an organisation that was filed with it."""
        state = FilingState(answer.state.value)
        async with self._home.operations.transaction(Origin(actor=f"node:{node}", via="node")) as tx:
            organisation = await read_organisation(tx.connection, answer.organisation, lock=True)
            known = await tx.connection.fetchval(
                "SELECT version FROM outbox WHERE node = $1 AND kind = $2 AND subject = $3",
                node,
                FILING,
                answer.organisation,
            )
            if organisation is None or known != answer.version:
                return  # of an earlier filing, or of one that was never made
            if (organisation.filing.state, organisation.filing.reason) != (state, answer.reason):
                await self._home.accounts.set_filing(
                    tx, answer.organisation, state=state, reason=answer.reason
                )

    async def _report(self, peer: Peer, letter: Letter) -> timedelta | None:
        async with self._home.store.connection() as connection:
            message = await report_of(connection, date.fromisoformat(letter.subject))
        if message is not None:
            await self._home.client.exchange(peer, "POST", "/api/v1/node/reports", Received, message)
        return None

    async def _beat(self, peer: Peer, _: Letter) -> timedelta | None:
        message = HeartbeatMessage(site=self._home.site.encode(), software=version())
        answer = await self._home.client.exchange(
            peer, "POST", "/api/v1/node/heartbeats", HeartbeatAnswer, message
        )
        async with self._home.store.connection() as connection:
            await neighbours.note_site(connection, peer.node, answer.site)
        for filing in answer.filings:
            try:
                await self._take_filing(peer.node, filing)
            except ApiProblem:
                continue  # the organisation is not in a state for it any more
        return self._heartbeat


async def report_of(connection: Connection, day: date) -> ReportMessage | None:
    """What was counted on a day; None when nothing was."""
    counted = await connection.fetchrow(_DAY, day)
    if counted is None:
        return None
    sources = await connection.fetch(_SOURCES, day, SOURCES_MAX)
    prefixes = await connection.fetch(_PREFIXES, PREFIXES_MAX)
    fields = dict(counted)
    sum_s = fields.pop("latency_sum_s")
    mean_s = sum_s / counted["resolutions"] if counted["resolutions"] else None
    return ReportMessage(
        day=day,
        latency_mean_s=mean_s,
        sources=[SourceCount(source=source, resolutions=number) for source, number in sources],
        prefixes=[
            PrefixCount(prefix=name.decode("utf-8", "replace"), identifiers=number)
            for name, number in prefixes
        ],
        **fields,
    )
