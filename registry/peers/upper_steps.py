"""The steps of a move, as the node above takes them: each is stored with what it did; one taken twice is taken once.

Towards delegated: copy, freeze here, copy what changed, compare, let the node below answer too, probe it, switch the
record, open there. Towards hosted: the same mirrored, with pages pulled. Somebody answers at every moment: the old side
until the record is switched, and by a referral afterwards.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from protocol.site import Site
from protocol.value import ValueList
from registry.allocation.allocating import put_identity
from registry.database import is_drained
from registry.initialise import administrator_of
from registry.outcomes import Origin
from registry.peers import intake, moves, pages
from registry.peers.exchange import EXCHANGE_WAIT_S, Peer, PeerRefused
from registry.peers.lower_side import read_page
from registry.peers.messages import (
    Direction,
    MoveAnswer,
    MoveMessage,
    PageKind,
    PageRequest,
    SealedPage,
    Step,
    StepMessage,
)
from registry.peers.moves import Move, Phase
from registry.peers.neighbours import Downstream, Home, downstream, peer_below
from registry.peers.parcels import record_of, unwrap, wrap
from registry.peers.probes import Prober
from registry.prefixes import PrefixRow
from registry.transaction import Transaction

DIGEST_WAIT_S: Final = 600.0
"""How long the other side may take to go through ten million rows."""
OVERLAP_MS: Final = 900_000
"""What changed so long before a pass is looked at again: clocks differ by at most 300 s, writes take at most 60 s."""
DIFFERED_MAX: Final = 3
"""Comparisons that may find a difference, each after a fresh pass over everything."""
ROOM_STEPS_MAX: Final = 50
"""Parts of an earlier copy that are dropped before the lease is renewed."""
COPY_MARGIN_S: Final = 60
"""Longer than the TTL of the prefix record, for those who asked just before the switch."""
PATH: Final = "/api/v1/node/moves"
_COPIES: Final = {
    Phase.COPY: (PageKind.ROWS, Phase.COPY_VERSIONS),
    Phase.COPY_VERSIONS: (PageKind.VERSIONS, Phase.FREEZE),
    Phase.DELTA: (PageKind.ROWS, Phase.DELTA_VERSIONS),
    Phase.DELTA_VERSIONS: (PageKind.VERSIONS, Phase.REST),
    Phase.REST: (PageKind.REST, Phase.COMPARE),
}
_RANGES: Final = "SELECT EXISTS (SELECT FROM identifier_ranges WHERE prefix = $1 AND last >= first)"

log = structlog.get_logger(__name__)


class MoveFailed(Exception):
    """Nothing can come of the move; the text says why."""


class NotYet(Exception):
    """The step is to be taken again in a moment."""


class TakenElsewhere(Exception):
    """Somebody else has taken the move up, or ended it."""


class Steps:
    """Takes steps of moves."""

    def __init__(self, home: Home, prober: Prober, lease: timedelta) -> None:
        self._home = home
        self._prober = prober
        self._lease = lease
        self._drains: dict[str, datetime] = {}
        self._steps: dict[Phase, Callable[[Move], Awaitable[Move]]] = {
            Phase.PREPARE: self._prepare,
            Phase.COPY: self._copy,
            Phase.COPY_VERSIONS: self._copy,
            Phase.FREEZE: self._freeze,
            Phase.DELTA: self._copy,
            Phase.DELTA_VERSIONS: self._copy,
            Phase.REST: self._copy,
            Phase.COMPARE: self._compare,
            Phase.HOME: self._home_below,
            Phase.SWITCH: self._switch,
            Phase.FINISH: self._finish,
            Phase.OPEN: self._open,
            Phase.ABORTING: self._abort,
        }

    async def take(self, move: Move) -> Move:
        """Take the next step: the move as it stands afterwards, stored.

        Raises NotYet, MoveFailed, TakenElsewhere, PeerFailed, ProbeFailed, PageRefused, ApiProblem, StoreUnavailable.
        """
        return await self._steps[move.phase](move)

    async def _prepare(self, move: Move) -> Move:
        values = await self._record(move)
        message = MoveMessage(
            id=move.id,
            prefix=str(move.prefix),
            direction=move.direction,
            case_sensitive=self._home.operations.context.case_sensitive,
            record=record_of(values),
        )
        if move.direction is Direction.DELEGATED:
            await self._prober.probe_site(await self._below(move), move.prefix)
        peer = await self._peer(move)
        answer = await self._home.client.exchange(peer, "POST", PATH, MoveAnswer, message)
        if not answer.ready:
            raise NotYet
        if move.direction is Direction.HOSTED and not await self._make_room(move):
            raise NotYet
        return await self._store(move, self.new_pass(move, Phase.COPY, since_ms=0))

    async def _make_room(self, move: Move) -> bool:
        """Drop what is left here of the time before the prefix was moved away; False when there is more of it."""
        for _ in range(ROOM_STEPS_MAX):
            async with self._home.operations.transaction(origin_of(move)) as tx:
                await moves.forget_copy(tx.connection, move.prefix.key)
                if not await intake.drop_some(tx, move.prefix.key):
                    return True
        return False

    def new_pass(self, move: Move, phase: Phase, *, since_ms: int) -> Move:
        pass_ms = self._home.operations.context.now_ms() - OVERLAP_MS
        return replace(move, phase=phase, position=b"", since_ms=since_ms, pass_ms=max(0, pass_ms))

    async def _copy(self, move: Move) -> Move:
        """One page, in whichever direction; at the last one the next kind, or what follows."""
        kind, following = _COPIES[move.phase]
        request = PageRequest(kind=kind, position=move.position, since_ms=move.since_ms)
        peer = await self._peer(move)
        if move.direction is Direction.DELEGATED:
            page = await self._push(move, peer, request)
        else:
            page = await self._pull(move, peer, request)
        after = replace(move, position=page.position, rows=move.rows + len(page.rows))
        if page.is_last:
            after = replace(after, phase=following, position=b"")
        return await self._store(move, after)

    async def _push(self, move: Move, peer: Peer, request: PageRequest) -> pages.Page:
        async with self._home.store.connection() as connection:
            page = await read_page(self._home, connection, move.prefix, request)
        if page.rows or page.versions or page.rest is not None:
            parcel = wrap(page, move.id, peer.public_key)
            await self._home.client.exchange(peer, "POST", f"{PATH}/{move.id}/pages", MoveAnswer, parcel)
        return page

    async def _pull(self, move: Move, peer: Peer, request: PageRequest) -> pages.Page:
        parcel = await self._home.client.exchange(peer, "POST", f"{PATH}/{move.id}/page", SealedPage, request)
        page = unwrap(parcel, move.id, self._home.key)
        if not page.is_last and page.position <= request.position:
            raise MoveFailed("the node below gives the same page again and again")
        async with self._home.operations.transaction(origin_of(move)) as tx:
            await intake.write_page(tx, move.prefix.key, page, organisation=move.organisation)
        return page

    async def _freeze(self, move: Move) -> Move:
        if move.direction is Direction.HOSTED:
            if not (await self._tell(move, Step.FREEZE)).ready:
                raise NotYet
        elif move.frozen_at is None:
            return await self._freeze_here(move)
        else:
            async with self._home.store.connection() as connection:
                if not await is_drained(connection, self._drains, move.id):
                    raise NotYet
        since_ms = 0 if move.differed else move.pass_ms
        return await self._store(move, self.new_pass(move, Phase.DELTA, since_ms=since_ms))

    async def _freeze_here(self, move: Move) -> Move:
        async with self._home.operations.transaction(origin_of(move)) as tx:
            row = await row_of(tx, move)
            if row.frozen:  # other work on all its records, which ends by itself
                raise NotYet
            await tx.save_prefix(replace(row, frozen=True))
            return await self.save(tx, move, replace(move, frozen_at=tx.now))

    async def _compare(self, move: Move) -> Move:
        there = await self._tell(move, Step.DIGEST, wait_s=DIGEST_WAIT_S)
        async with self._home.store.connection() as connection:
            rows, digest = await pages.digest(connection, self._home.operations.context, move.prefix.key)
        if (rows, digest) != (there.rows, there.digest):
            if move.differed >= DIFFERED_MAX:
                raise MoveFailed(f"the copies differ: {rows} rows here, {there.rows} there")
            again = self.new_pass(move, Phase.DELTA, since_ms=0)
            return await self._store(move, replace(again, differed=move.differed + 1))
        following = Phase.HOME if move.direction is Direction.DELEGATED else Phase.SWITCH
        return await self._store(move, replace(move, phase=following, rows=rows))

    async def _home_below(self, move: Move) -> Move:
        await self._tell(move, Step.HOME, await self._record(move))
        await self._prober.probe_prefix(await self._below(move), move.prefix)
        return await self._store(move, replace(move, phase=Phase.SWITCH))

    async def _switch(self, move: Move) -> Move:
        """The one transaction after which the prefix is served elsewhere."""
        allocation = self._home.allocation
        site = Site.decode((await self._below(move)).site)
        keep = timedelta(seconds=await self._longest_ttl_s(move) + COPY_MARGIN_S)
        async with self._home.operations.transaction(origin_of(move)) as tx:
            if move.direction is Direction.DELEGATED:
                after = await self.save(tx, move, replace(move, phase=Phase.OPEN, frozen_at=None))
                await allocation.switch_to_delegated(tx, move.prefix, site, reason=_reason(move))
                await moves.keep_copy(tx.connection, move.prefix.key, tx.now + keep)
                return after
            after = await self.save(tx, move, replace(move, phase=Phase.FINISH, frozen_at=tx.now))
            await allocation.switch_to_hosted(tx, move.prefix, reason=_reason(move))
            await put_identity(tx, administrator_of(move.prefix), move.organisation)
            row = await row_of(tx, move)
            ranges = await tx.connection.fetchval(_RANGES, move.prefix.key)
            await tx.save_prefix(replace(row, frozen=True, has_ranges=ranges))
            return after

    async def _finish(self, move: Move) -> Move:
        keep_s = await self._longest_ttl_s(move) + COPY_MARGIN_S
        await self._tell(move, Step.FINISH, await self._record(move), keep_s=keep_s)
        return await self._store(move, replace(move, phase=Phase.OPEN))

    async def _open(self, move: Move) -> Move:
        if move.direction is Direction.DELEGATED:
            await self._tell(move, Step.OPEN, await self._record(move))
        async with self._home.operations.transaction(origin_of(move)) as tx:
            if move.direction is Direction.HOSTED:
                await tx.save_prefix(replace(await row_of(tx, move), frozen=False))
            return await self.end(tx, move, Phase.DONE)

    async def _abort(self, move: Move) -> Move:
        try:
            await self._tell(move, Step.ABORT)
        except PeerRefused as error:  # it knows nothing of the move, or is done with it
            if error.retry:
                raise
        async with self._home.operations.transaction(origin_of(move)) as tx:
            return await self.end(tx, move, Phase.ABORTED)

    # What the steps share.

    async def _below(self, move: Move) -> Downstream:
        async with self._home.store.connection() as connection:
            below = await downstream(connection, move.node)
        if below is None or below.state == "barred":
            raise MoveFailed("the node below is not known here any more")
        return below

    async def _peer(self, move: Move) -> Peer:
        return peer_below(self._home, await self._below(move), move.prefix)

    async def _tell(
        self,
        move: Move,
        step: Step,
        values: ValueList | None = None,
        *,
        keep_s: int = 0,
        wait_s: float = EXCHANGE_WAIT_S,
    ) -> MoveAnswer:
        record = None if values is None else record_of(values)
        message = StepMessage(step=step, record=record, keep_s=keep_s)
        peer = await self._peer(move)
        path = f"{PATH}/{move.id}/steps"
        return await self._home.client.exchange(peer, "POST", path, MoveAnswer, message, wait_s=wait_s)

    async def _record(self, move: Move) -> ValueList:
        """The public values of the prefix record."""
        key = move.prefix.record.key
        row = (await self._home.store.find([key])).get(key)
        if row is None or not row.stored:
            raise MoveFailed(f"there is no record {move.prefix.record}")
        return row.public

    async def _longest_ttl_s(self, move: Move) -> int:
        """How long others may still believe what the prefix record says now, or said before."""
        values = await self._record(move)
        longest = max((value.ttl for value in values if value.ttl_type == 0), default=0)
        return max(longest, self._home.terms.ttl_s)

    async def _store(self, before: Move, after: Move) -> Move:
        async with self._home.operations.transaction(origin_of(before)) as tx:
            return await self.save(tx, before, after)

    async def save(self, tx: Transaction, before: Move, after: Move) -> Move:
        stored = replace(after, fault="", attempts=0, changed=tx.now, next_at=tx.now + self._lease)
        if not await moves.save(tx.connection, before, stored):
            raise TakenElsewhere
        if stored.phase is not before.phase:
            log.info("move_phase", move=before.id, prefix=str(before.prefix), phase=stored.phase.value)
        return stored

    async def end(self, tx: Transaction, move: Move, phase: Phase) -> Move:
        action = "move.done" if phase is Phase.DONE else "move.abort"
        detail = {"direction": move.direction.value, "rows": move.rows}
        tx.audit(action, str(move.prefix), organisation=move.organisation, detail=detail)
        return await self.save(tx, move, replace(move, phase=phase, ended=tx.now, frozen_at=None))


async def row_of(tx: Transaction, move: Move) -> PrefixRow:
    """What this node knows of the prefix that moves."""
    row = await tx.prefix_row(move.prefix.key)
    assert row is not None, "a prefix that is served here has a row"
    return row


def origin_of(move: Move) -> Origin:
    """Who acts in a move: whoever started it, through the node."""
    return Origin(actor=move.started_by, organisation=move.organisation, via="node", request_id=move.id)


def _reason(move: Move) -> str:
    return move.reason or f"moved as {move.id}"
