"""Peers: everything that this node does with other nodes, as front ends call it and the daemon repeats it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Final, Self

from protocol.errors import StoreUnavailable
from protocol.handle import ROOT_PREFIX_OCTETS, Prefix
from protocol.runtime.lifecycle import repeat
from protocol.site import Site
from registry.accounts.service import Accounts
from registry.allocation import acts, tables
from registry.allocation.lifecycle import Hosting, IllegalTransition, PrefixAct, change
from registry.allocation.model import AllocatedPrefix
from registry.allocation.service import Allocation
from registry.allocation.terms import NO_PREFIX, check_idle, sentence
from registry.ids import new_id
from registry.initialise import SERVER_KEY_FILE
from registry.operations import Operations
from registry.peers import moves, neighbours, nonces
from registry.peers.applicants import Applicants
from registry.peers.enrolments import Enrolments
from registry.peers.exchange import NodeClient
from registry.peers.hearing import Hearing
from registry.peers.letters import Letters
from registry.peers.lower_side import LowerSide
from registry.peers.messages import ChallengeAnswer, ChallengeMessage, Direction
from registry.peers.moves import Move, Phase
from registry.peers.neighbours import Downstream, Home, Upstream
from registry.peers.node_key import NodeKey, key_id_of, key_of_site
from registry.peers.outbox import Outbox
from registry.peers.probes import Prober
from registry.peers.proof import challenge_octets, prove
from registry.peers.signatures import SignedRequest
from registry.peers.upper_side import LEASE, UpperSide
from registry.peers.verification import Verification
from registry.peers.watch import OnRoute, Watch, ignore_route
from registry.problem_types import NOT_FOUND, ApiProblem
from registry.problem_types.allocation import PREFIX_HOSTING, PREFIX_STATE
from registry.problem_types.peers import MOVE_REFUSED
from registry.settings import RegistrySettings
from registry.transaction import Transaction

NO_NODE: Final = "There is no such node."
NO_MOVE: Final = "There is no such move."
LETTERS_PERIOD_S: Final = 5.0
FORGET_PERIOD_S: Final = 60.0
COPIES_PERIOD_S: Final = 5.0
WATCH_PERIOD_S: Final = 10.0
DROPS_AT_ONCE: Final = 100
"""Parts of copies that are dropped in one round."""

Task = tuple[Callable[[], Awaitable[None]], float]


class Peers:
    """The neighbours of one node."""

    def __init__(self, home: Home, *, settings: RegistrySettings, on_route: OnRoute = ignore_route) -> None:
        """Put the parts together. on_route: told whether the nodes above know where we are."""
        prober = Prober(home, wall_clock=home.operations.context.wall_clock)
        self.home = home
        self.enrolments = Enrolments(home)
        self.applicants = Applicants(home, prober)
        self.hearing = Hearing(home, prober)
        self.letters = Letters(home, heartbeat_s=settings.heartbeat_interval_s)
        self.outbox = Outbox(home, self.letters.deliveries())
        self.lower = LowerSide(home)
        self.upper = UpperSide(home, prober, lease=LEASE)
        self.watch = Watch(home, prober, on_route)
        self._prober = prober
        self._period_s = settings.peers_interval_s
        self._verification = Verification(
            key=home.key, store=home.store, wall_clock=home.operations.context.wall_clock
        )

    @classmethod
    def of(
        cls,
        operations: Operations,
        settings: RegistrySettings,
        site: Site,
        *,
        accounts: Accounts,
        allocation: Allocation,
        on_route: OnRoute = ignore_route,
    ) -> Self:
        """The service of an open node. site: the node's own. Raises SettingsError for a server key that is none."""
        key = NodeKey.load(settings.data_dir / SERVER_KEY_FILE)
        home = Home(
            operations=operations,
            accounts=accounts,
            allocation=allocation,
            key=key,
            site=site,
            client=NodeClient(key, operations.context.wall_clock),
            plain_http=settings.plain_http_credentials,
            utc_offset_s=settings.statistics_utc_offset_s,
        )
        return cls(home, settings=settings, on_route=on_route)

    @property
    def site(self) -> Site:
        """The site record of this node."""
        return self.home.site

    async def run(self, stopping: asyncio.Event) -> None:
        """Do what runs beside the requests until the event is set; then end it wherever it is, and close everything.

        What is cut short is taken up again after the next start.
        """
        never = asyncio.Event()
        tasks = [
            asyncio.create_task(repeat(_quiet(action), period_s, never)) for action, period_s in self._tasks()
        ]
        try:
            await stopping.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.upper.stop()
            await self.close()

    async def close(self) -> None:
        """Close every connection to other nodes."""
        await self.home.client.close()
        await self._prober.close()
        await self.watch.close()

    # Requests of nodes.

    async def authenticate(
        self,
        *,
        method: str,
        raw_target: str,
        host: str,
        is_tls: bool,
        headers: Mapping[str, str],
        body: bytes,
    ) -> str:
        """The key id of the node that signed a request. Raises ApiProblem, StoreUnavailable.

        raw_target: as it stood in the request line. host: the address of the other end, and is_tls how it came, are
        for the rule about plain HTTP, which was asked before; a signature proves the same whatever carried it.
        """
        request = SignedRequest(method=method, target=raw_target, headers=headers, body=body)
        return await self._verification.verify(request)

    def sign_answer(self, *, status: int, body: bytes, request_headers: Mapping[str, str]) -> dict[str, str]:
        """The headers that prove our answer to a request that `authenticate` has accepted."""
        return self._verification.sign_answer(status=status, body=body, request_headers=request_headers)

    def answer_challenge(self, message: ChallengeMessage) -> ChallengeAnswer:
        """Prove that this node holds the key of its site record."""
        key = self.home.key
        return ChallengeAnswer(node=key.id, signature=key.sign(challenge_octets(message.nonce)))

    async def prove(self, site: Site, prefix: Prefix | None) -> str:
        """Have the node of a site prove that it holds its key, and give the key id; see proof.prove."""
        return await prove(self.home, site, prefix or Prefix(ROOT_PREFIX_OCTETS))

    async def probe(self, allocated: AllocatedPrefix) -> str:
        """Probe the node of a delegated prefix. Gives what is wrong, empty when nothing is. Raises ApiProblem (409)."""
        if allocated.hosting is not Hosting.DELEGATED:
            raise ApiProblem(PREFIX_HOSTING, f"{allocated.prefix} is hosted by this node itself.")
        return await self.watch.probe(allocated.prefix, allocated.site)

    # Nodes above.

    async def upstreams(self) -> list[Upstream]:
        """Every node above; there are a handful at most."""
        async with self.home.store.connection() as connection:
            return await neighbours.upstreams(connection)

    async def forget_upstream(self, tx: Transaction, node: str) -> None:
        """Forget a node above, its key and what waits for it. Raises ApiProblem (404)."""
        status = await tx.connection.execute("DELETE FROM upstream_nodes WHERE node = $1", node)
        if status == "DELETE 0":
            raise ApiProblem(NOT_FOUND, NO_NODE)
        await tx.connection.execute("DELETE FROM outbox WHERE node = $1", node)
        tx.audit("node.forget", node)

    # Nodes below.

    async def nodes(self, *, organisation: str | None, after: int, limit: int) -> list[Downstream]:
        """Nodes below in the order in which they came. organisation: None for those of all."""
        async with self.home.store.connection() as connection:
            return await neighbours.downstreams(
                connection, organisation=organisation, after=after, limit=limit
            )

    async def node(self, node: str) -> Downstream:
        """A node below. Raises ApiProblem (404)."""
        async with self.home.store.connection() as connection:
            found = await neighbours.downstream(connection, node)
        if found is None:
            raise ApiProblem(NOT_FOUND, NO_NODE)
        return found

    async def confirm(self, tx: Transaction, node: str, organisation: str) -> Downstream:
        """An organisation says that a node is its own, which the node has said of the organisation before.

        Raises ApiProblem (404) for a node that is not known, or belongs to somebody else, alike.
        """
        below = await neighbours.downstream(tx.connection, node, lock=True)
        if below is None or below.claim != organisation or below.organisation not in (None, organisation):
            raise ApiProblem(NOT_FOUND, NO_NODE)
        if below.organisation is None:
            query = "UPDATE downstream_nodes SET organisation = $2 WHERE node = $1"
            await tx.connection.execute(query, node, organisation)
            tx.audit("node.confirm", node, organisation=organisation)
        return await self._again(tx, node)

    async def bar(self, tx: Transaction, node: str, *, barred: bool, reason: str) -> Downstream:
        """Listen to a node no more, or again. What was delegated to it stays with it. Raises ApiProblem (404)."""
        state = "barred" if barred else "known"
        query = "UPDATE downstream_nodes SET state = $2, reason = $3 WHERE node = $1"
        await tx.connection.execute(query, node, state, reason)
        below = await self._again(tx, node)
        action = "node.bar" if barred else "node.readmit"
        tx.audit(action, node, organisation=below.organisation, detail={"reason": reason})
        return below

    async def _again(self, tx: Transaction, node: str) -> Downstream:
        below = await neighbours.downstream(tx.connection, node)
        if below is None:
            raise ApiProblem(NOT_FOUND, NO_NODE)
        return below

    # Moves.

    async def start_move(
        self, tx: Transaction, prefix: Prefix, direction: Direction, *, node: str | None, reason: str
    ) -> Move:
        """Begin to move a prefix between this node and one below; it goes on by itself. Raises ApiProblem.

        node: key id of the node below; towards hosted it may be left out, since the prefix record names it.
        """
        allocated = await self._movable(tx, prefix, direction)
        below = await self._other_side(tx, allocated, direction, node)
        if direction is Direction.DELEGATED:
            self.home.terms.check_route(Site.decode(below.site), prefix)
            await acts.check_childless(tx, allocated)
        move = await moves.insert(
            tx.connection,
            id_=new_id("mov"),
            prefix=allocated.prefix,
            direction=direction,
            drives=True,
            node=below.node,
            organisation=allocated.organisation,
            reason=reason,
            phase=Phase.PREPARE,
            now=tx.now,
            by=tx.origin.actor,
        )
        if move is None:
            raise ApiProblem(MOVE_REFUSED, f"{prefix} is moving already.")
        detail = {"direction": direction.value, "node": below.node, "reason": reason}
        tx.audit("move.begin", str(prefix), organisation=allocated.organisation, detail=detail)
        return move

    async def _movable(self, tx: Transaction, prefix: Prefix, direction: Direction) -> AllocatedPrefix:
        allocated = await tables.allocation(tx.connection, prefix.key, lock=True)
        if allocated is None:
            raise ApiProblem(NOT_FOUND, NO_PREFIX)
        try:
            change(allocated.state, PrefixAct.MOVE, prefix=str(allocated.prefix))
        except IllegalTransition as error:
            raise ApiProblem(PREFIX_STATE, sentence(error)) from None
        if allocated.hosting is (Hosting.HOSTED if direction is Direction.HOSTED else Hosting.DELEGATED):
            raise ApiProblem(MOVE_REFUSED, f"{prefix} is {allocated.hosting.value} already.")
        await check_idle(tx, allocated.prefix)
        return allocated

    async def _other_side(
        self, tx: Transaction, allocated: AllocatedPrefix, direction: Direction, node: str | None
    ) -> Downstream:
        if direction is Direction.HOSTED:
            named = key_id_of(key_of_site(allocated.site))
            if node not in (None, named):
                raise ApiProblem(MOVE_REFUSED, f"{allocated.prefix} is served by the node {named}.")
            node = named
        below = None if node is None else await neighbours.downstream(tx.connection, node)
        if below is None or below.state == "barred":
            remedy = "Let the node join this one first: handlegrid neighbour enrol … --joins."
            raise ApiProblem(MOVE_REFUSED, "No such node has joined this one.", remedy=remedy)
        if direction is Direction.DELEGATED and below.organisation != allocated.organisation:
            text = f"The node is not confirmed as one of the organisation that holds {allocated.prefix}."
            raise ApiProblem(MOVE_REFUSED, text)
        return below

    async def move(self, id_: str) -> Move:
        """A move. Raises ApiProblem (404)."""
        async with self.home.store.connection() as connection:
            found = await moves.move(connection, id_)
        if found is None:
            raise ApiProblem(NOT_FOUND, NO_MOVE)
        return found

    async def all_moves(self, *, organisation: str | None, before: int | None, limit: int) -> list[Move]:
        """Moves, the latest first."""
        async with self.home.store.connection() as connection:
            return list(await moves.page(connection, organisation=organisation, before=before, limit=limit))

    async def abort_move(self, tx: Transaction, id_: str, *, reason: str) -> Move:
        """Let everything be as before a move. Raises ApiProblem.

        At the node below this is for a node above that is gone for good: what it does afterwards is not undone.
        """
        move = await moves.move(tx.connection, id_, lock=True)
        if move is None:
            raise ApiProblem(NOT_FOUND, NO_MOVE)
        if move.ended is not None or move.phase is Phase.ABORTING:
            raise ApiProblem(MOVE_REFUSED, f"The move is {move.phase.value}.")
        if move.drives:
            await self.upper.abort(tx, move, reason)
        else:
            await self.lower.release(tx, move)
        after = await moves.move(tx.connection, id_)
        assert after is not None
        return after

    # What runs beside the requests.

    def _tasks(self) -> tuple[Task, ...]:
        return (
            (self.upper.take_up, self._period_s),
            (self.enrolments.advance, self._period_s),
            (self.applicants.advance, self._period_s),
            (self.outbox.send, self._period_s),
            (self.letters.write, LETTERS_PERIOD_S),
            (self.hearing.take_sites, LETTERS_PERIOD_S),
            (self.watch.probe_delegated, WATCH_PERIOD_S),
            (self.watch.check_routes, WATCH_PERIOD_S),
            (self.drop_copies, COPIES_PERIOD_S),
            (self.forget_nonces, FORGET_PERIOD_S),
            (self.applicants.forget_strangers, FORGET_PERIOD_S),
        )

    async def drop_copies(self) -> None:
        """Drop what is left here of prefixes that were moved away, once nobody can look for it here any more."""
        for _ in range(DROPS_AT_ONCE):
            async with self.home.store.connection() as connection:
                prefix = await moves.next_copy(connection, self.home.now())
            if prefix is None:
                return
            await self.lower.drop_copy(prefix)

    async def forget_nonces(self) -> None:
        """Forget the nonces that cannot be replayed any more."""
        async with self.home.store.connection() as connection:
            await nonces.forget(connection, self.home.now() - timedelta(seconds=1))


def _quiet(action: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """The action, which waits for the next time when the database does not answer: that is told elsewhere."""

    async def attempt() -> None:
        try:
            await action()
        except StoreUnavailable:
            return

    attempt.__qualname__ = getattr(action, "__qualname__", attempt.__qualname__)
    return attempt
