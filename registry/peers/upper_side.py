"""The node above in a move: takes the steps one after the other, goes on where it stopped, gives up when it must."""

import asyncio
import random
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Final

import structlog

from protocol.errors import StoreUnavailable
from registry.peers import intake, moves
from registry.peers.exchange import PeerFailed, PeerRefused
from registry.peers.messages import Direction
from registry.peers.moves import Move, Phase
from registry.peers.neighbours import Home
from registry.peers.probes import ProbeFailed, Prober
from registry.peers.upper_steps import MoveFailed, NotYet, Steps, TakenElsewhere, origin_of, row_of
from registry.problem_types import ApiProblem
from registry.problem_types.peers import MOVE_REFUSED
from registry.transaction import Transaction

LEASE: Final = timedelta(seconds=15)
"""For how long no other process takes a move up that was not heard of; most steps take well under a second."""
MOVES_AT_ONCE: Final = 4
"""Moves that are driven at a time; further ones wait for their turn."""
POLL_S: Final = 0.2
"""Between two questions whether the other side, or a writer here, is ready."""
BACKOFF_MIN_S: Final = 0.1
BACKOFF_MAX_S: Final = 60.0
"""Between two attempts at a step that fails."""
FROZEN_MAX: Final = timedelta(seconds=60)
"""How long writes are refused here while the node below does not answer; then they are taken again, and the copy goes
on from there."""
PREPARED_MAX: Final = 20
"""Attempts to begin with a node that does not answer, or does not know us: a quarter of an hour."""
PROBED_MAX: Final = 5
"""Attempts to find the prefix answered for by the node below, once it has it."""
TOLD_MAX: Final = 200
"""Attempts to tell the other side that a move was given up: three hours."""

log = structlog.get_logger(__name__)


class UpperSide:
    """Drives the moves of this node."""

    def __init__(self, home: Home, prober: Prober, *, lease: timedelta = LEASE) -> None:
        self._home = home
        self._lease = lease
        self._steps = Steps(home, prober, lease)
        self._driving: dict[str, asyncio.Task[None]] = {}

    async def take_up(self) -> None:
        """Take up every move whose next step is due; each goes on by itself until it ends or has to wait."""
        while len(self._driving) < MOVES_AT_ONCE:
            now = self._home.now()
            async with self._home.store.connection() as connection:
                move = await moves.claim(connection, now, now + self._lease)
            if move is None:
                return
            if move.id not in self._driving:  # else a step takes longer than the lease
                self._driving[move.id] = asyncio.create_task(self._drive_safely(move))

    async def stop(self) -> None:
        """Leave every move where it is; it is taken up again after the lease."""
        tasks = list(self._driving.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _drive_safely(self, move: Move) -> None:
        try:
            await self._drive(move)
        except StoreUnavailable:
            return  # taken up again after the lease
        except Exception:
            log.exception("move_failed", move=move.id, prefix=str(move.prefix), phase=move.phase.value)
        finally:
            self._driving.pop(move.id, None)

    async def _drive(self, move: Move) -> None:
        while move.ended is None:
            try:
                move = await self._steps.take(move)
            except NotYet:
                if not await self._keep(move):
                    return
                await asyncio.sleep(POLL_S)
            except (PeerFailed, ProbeFailed) as error:
                await self._failed(move, str(error), final=_is_final(move, error))
                return
            except (MoveFailed, intake.PageRefused, ApiProblem) as error:
                await self._failed(move, str(error), final=True)
                return
            except TakenElsewhere:
                return

    async def _keep(self, move: Move) -> bool:
        """Renew the lease while the other side, or a writer here, is waited for; False when somebody else took it."""
        now = self._home.now()
        after = replace(move, changed=now, next_at=now + self._lease)
        async with self._home.store.connection() as connection:
            return await moves.save(connection, move, after)

    async def _failed(self, move: Move, fault: str, *, final: bool) -> None:
        """Note a step that failed: it is taken again later, unless nothing can come of the move any more."""
        log.warning(
            "move_step_failed", move=move.id, prefix=str(move.prefix), phase=move.phase.value, reason=fault
        )
        attempts = move.attempts + 1
        wait_s = min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2 ** min(attempts, 10)) * random.uniform(0.5, 1.0)
        now = self._home.now()
        after = replace(
            move, fault=fault, attempts=attempts, changed=now, next_at=now + timedelta(seconds=wait_s)
        )
        with suppress(TakenElsewhere):
            if move.phase in moves.REVERSIBLE and final:
                await self._give_up(after, fault)
            elif move.phase is Phase.ABORTING and attempts > TOLD_MAX:
                await self._untold(move)
            elif self._is_frozen_too_long(move):
                await self._thaw_for_now(move, after)
            else:
                async with self._home.store.connection() as connection:
                    await moves.save(connection, move, after)

    def _is_frozen_too_long(self, move: Move) -> bool:
        frozen = move.frozen_at is not None and move.phase in moves.REVERSIBLE
        return frozen and self._home.now() - (move.frozen_at or move.changed) > FROZEN_MAX

    async def _give_up(self, move: Move, reason: str) -> None:
        async with self._home.operations.transaction(origin_of(move)) as tx:
            await self._give_up_in(tx, move, reason)

    async def _give_up_in(self, tx: Transaction, move: Move, reason: str) -> None:
        """Go back to where the move began: writes are taken at once, and the other side is told."""
        assert move.phase in moves.REVERSIBLE
        after = replace(
            move,
            phase=Phase.ABORTING,
            fault=reason,
            attempts=0,
            changed=tx.now,
            next_at=tx.now,
            frozen_at=None,
        )
        if not await moves.save(tx.connection, move, after):
            raise TakenElsewhere
        await self._thaw(tx, move)
        if move.direction is Direction.HOSTED:
            await moves.keep_copy(tx.connection, move.prefix.key, tx.now)
        detail = {"reason": reason[:200]}
        tx.audit("move.give_up", str(move.prefix), organisation=move.organisation, detail=detail)

    async def _thaw_for_now(self, before: Move, after: Move) -> None:
        """Take writes again while the node below does not answer; the copy goes on afterwards."""
        async with self._home.operations.transaction(origin_of(before)) as tx:
            await self._thaw(tx, before)
            again = self._steps.new_pass(after, Phase.COPY, since_ms=before.since_ms)
            if not await moves.save(tx.connection, before, replace(again, frozen_at=None)):
                raise TakenElsewhere

    async def _thaw(self, tx: Transaction, move: Move) -> None:
        if move.direction is Direction.DELEGATED and move.frozen_at is not None:
            await tx.save_prefix(replace(await row_of(tx, move), frozen=False))

    async def _untold(self, move: Move) -> None:
        async with self._home.operations.transaction(origin_of(move)) as tx:
            await self._steps.end(tx, move, Phase.ABORTED)

    async def abort(self, tx: Transaction, move: Move, reason: str) -> None:
        """Give a move up on somebody's word; move: locked by this transaction. Raises ApiProblem."""
        if move.phase not in moves.REVERSIBLE:
            text = f"The move is in the phase {move.phase.value} and cannot be given up any more."
            raise ApiProblem(MOVE_REFUSED, text)
        await self._give_up_in(tx, move, reason)


def _is_final(move: Move, error: PeerFailed | ProbeFailed) -> bool:
    """Whether nothing is expected any more of a step that has failed so."""
    match error:
        case PeerRefused():
            return not error.retry
        case ProbeFailed():
            return move.attempts >= (PREPARED_MAX if move.phase is Phase.PREPARE else PROBED_MAX)
        case _:
            return move.phase is Phase.PREPARE and move.attempts >= PREPARED_MAX
