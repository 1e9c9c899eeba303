"""The node below in a move: it makes room and takes pages in, or freezes and gives them, as the node above says.

Every request may come twice, or again after a restart of either side: it then finds what it wants done.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from protocol.errors import InvalidHandle
from protocol.handle import Prefix
from protocol.value import ValueList
from registry.allocation.allocating import put_identity
from registry.database import is_drained
from registry.initialise import administrator_of
from registry.outcomes import SYSTEM
from registry.peers import intake, moves, pages
from registry.peers.messages import (
    Direction,
    MoveAnswer,
    MoveMessage,
    PageKind,
    PageRequest,
    Record,
    SealedPage,
    Step,
    StepMessage,
)
from registry.peers.moves import Move, Phase
from registry.peers.neighbours import Home, upstream
from registry.peers.parcels import unwrap, values_of, wrap
from registry.prefixes import PrefixRow
from registry.problem_types import NOT_FOUND, UNPROCESSABLE, ApiProblem
from registry.problem_types.peers import MOVE_REFUSED
from registry.store import Connection
from registry.transaction import Transaction
from registry.writing import Action

NO_MOVE: Final = "There is no such move."
ROOM_STEPS_MAX: Final = 5
"""Parts of an earlier copy that are dropped in one request."""
KEEP_MAX_S: Final = 7 * 86_400
"""How long a copy is kept at most; no client keeps a delegation for longer than two days."""
_HOLDS: Final = """
    SELECT organisation FROM enrolments WHERE node = $1 AND state IN ('joined', 'allocated')
        AND ($2::bytea IS NULL OR prefix = $2) ORDER BY created DESC LIMIT 1"""
_CAME: Final = """
    SELECT organisation FROM moves WHERE node = $1 AND prefix = $2 AND direction = 'delegated' AND phase = 'done'
    ORDER BY number DESC LIMIT 1"""
_RANGES: Final = "SELECT EXISTS (SELECT FROM identifier_ranges WHERE prefix = $1 AND last >= first)"


class LowerSide:
    """The part of moves that the node below plays."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._drains: dict[str, datetime] = {}
        """When the waiting for writers began, by the database's clock."""

    async def begin(self, tx: Transaction, node: str, message: MoveMessage) -> MoveAnswer:
        """Begin a move, or go on with it. Raises ApiProblem."""
        move = await moves.move(tx.connection, message.id, lock=True)
        if move is None:
            move = await self._accepted(tx, node, message)
        elif (move.node, str(move.prefix), move.direction) != (node, message.prefix, message.direction):
            raise ApiProblem(MOVE_REFUSED, "The id is that of another move.")
        if move.phase is Phase.MAKING_ROOM:
            move = await self._make_room(tx, move)
        return _answer(move, ready=move.phase is not Phase.MAKING_ROOM)

    async def take(self, tx: Transaction, node: str, id_: str, parcel: SealedPage) -> MoveAnswer:
        """Store a page. Raises ApiProblem."""
        move = await self._locked(tx, node, id_)
        if move.phase not in (Phase.RECEIVING, Phase.HOMED):
            raise _wrong(move)
        try:
            page = unwrap(parcel, move.id, self._home.key)
            copied = await intake.write_page(tx, move.prefix.key, page, organisation=move.organisation)
        except intake.PageRefused as error:
            raise ApiProblem(UNPROCESSABLE, f"The page is refused: {error}.") from None
        after = replace(move, rows=move.rows + copied, changed=tx.now)
        await moves.save(tx.connection, move, after)
        return _answer(after)

    async def give(self, node: str, id_: str, request: PageRequest) -> SealedPage:
        """Read a page. Raises ApiProblem."""
        context = self._home.operations.context
        async with context.store.connection() as connection:
            move = await moves.move(connection, id_)
            above = await upstream(connection, node)
            if move is None or move.node != node or above is None:
                raise ApiProblem(NOT_FOUND, NO_MOVE)
            if move.phase not in (Phase.GIVING, Phase.FROZEN):
                raise _wrong(move)
            page = await read_page(self._home, connection, move.prefix, request)
        return wrap(page, move.id, above.public_key)

    async def step(self, tx: Transaction, node: str, id_: str, message: StepMessage) -> MoveAnswer:
        """Take a step. Raises ApiProblem."""
        if message.step is Step.ABORT and await moves.move(tx.connection, id_) is None:
            return MoveAnswer(phase=Phase.ABORTED)
        move = await self._locked(tx, node, id_)
        steps: dict[Step, Callable[[Transaction, Move, StepMessage], Awaitable[MoveAnswer]]] = {
            Step.FREEZE: self._freeze,
            Step.DIGEST: self._digest,
            Step.HOME: self._home_prefix,
            Step.FINISH: self._finish,
            Step.OPEN: self._open,
            Step.ABORT: self._abort,
        }
        return await steps[message.step](tx, move, message)

    async def release(self, tx: Transaction, move: Move) -> Move:
        """Let everything be as before the move, on our operator's word: the node above is gone for good."""
        await self._undo(tx, move)
        return await _end(tx, move, Phase.ABORTED)

    async def drop_copy(self, prefix_key: bytes) -> None:
        """Drop a part of what is left of a prefix that was moved away; at the end, refer nobody any more."""
        async with self._home.operations.transaction(SYSTEM) as tx:
            row = await tx.prefix_row(prefix_key)
            if row is not None and row.homed:  # it came back meanwhile
                await moves.forget_copy(tx.connection, prefix_key)
            elif not await intake.drop_some(tx, prefix_key):
                await moves.forget_copy(tx.connection, prefix_key)
                if row is not None and row.moved is not None:
                    await tx.save_prefix(replace(row, moved=None))

    async def _accepted(self, tx: Transaction, node: str, message: MoveMessage) -> Move:
        try:
            prefix = Prefix.parse(message.prefix)
        except InvalidHandle as error:
            raise ApiProblem(UNPROCESSABLE, str(error)) from None
        if prefix.octets.startswith(b"0."):
            raise ApiProblem(MOVE_REFUSED, "Prefixes that begin with 0. belong to the root and do not move.")
        if message.case_sensitive is not self._home.operations.context.case_sensitive:
            raise ApiProblem(MOVE_REFUSED, "The two nodes differ in whether the case of suffixes counts.")
        _record(message.record)
        delegated = message.direction is Direction.DELEGATED
        holder = await self._holder(tx, node, None if delegated else prefix)
        await self._check_place(tx, prefix, delegated=delegated)
        move = await moves.insert(
            tx.connection,
            id_=message.id,
            prefix=prefix,
            direction=message.direction,
            drives=False,
            node=node,
            organisation=holder,
            reason="",
            phase=Phase.MAKING_ROOM if delegated else Phase.GIVING,
            now=tx.now,
            by=tx.origin.actor,
        )
        if move is None:
            same = await moves.move(tx.connection, message.id, lock=True)
            if same is None or same.node != node:
                raise ApiProblem(MOVE_REFUSED, f"Another move of {prefix} has not ended.")
            return same  # the same request has come twice at once
        await moves.forget_copy(tx.connection, prefix.key)
        tx.audit(
            "move.begin", str(prefix), organisation=holder, detail={"direction": message.direction.value}
        )
        return move

    async def _holder(self, tx: Transaction, node: str, prefix: Prefix | None) -> str | None:
        """Our organisation that a prefix belongs to, whose records the node above may send, or may have."""
        record = await tx.connection.fetchrow(_HOLDS, node, None if prefix is None else prefix.key)
        if record is None and prefix is not None:
            record = await tx.connection.fetchrow(_CAME, node, prefix.key)
        if record is None:
            told = "has not joined yours" if prefix is None else f"does not hold {prefix} from yours"
            raise ApiProblem(MOVE_REFUSED, f"This node {told}.")
        holder: str | None = record["organisation"]
        return holder

    async def _check_place(self, tx: Transaction, prefix: Prefix, *, delegated: bool) -> None:
        row = await tx.prefix_row(prefix.key)
        homed = row is not None and row.homed
        if delegated and homed:
            raise ApiProblem(MOVE_REFUSED, f"{prefix} is served here already.")
        if not delegated and not homed:
            raise ApiProblem(MOVE_REFUSED, f"{prefix} is not served here.")
        if row is not None and row.frozen:
            raise ApiProblem(MOVE_REFUSED, f"All records of {prefix} are being worked on; try again later.")

    async def _make_room(self, tx: Transaction, move: Move) -> Move:
        for _ in range(ROOM_STEPS_MAX):
            if not await intake.drop_some(tx, move.prefix.key):
                return await _go_on(tx, move, Phase.RECEIVING)
        return move

    async def _locked(self, tx: Transaction, node: str, id_: str) -> Move:
        move = await moves.move(tx.connection, id_, lock=True)
        if move is None or move.node != node or move.drives:
            raise ApiProblem(NOT_FOUND, NO_MOVE)
        return move

    async def _freeze(self, tx: Transaction, move: Move, _: StepMessage) -> MoveAnswer:
        if move.phase is Phase.GIVING:
            row = await tx.prefix_row(move.prefix.key)
            if row is not None and row.frozen:  # other work on all its records, which ends by itself
                return _answer(move, ready=False)
            await _change_row(tx, move, frozen=True)
            return _answer(await _go_on(tx, move, Phase.FROZEN), ready=False)
        if move.phase is not Phase.FROZEN:
            raise _wrong(move)
        return _answer(move, ready=await is_drained(tx.connection, self._drains, move.id))

    async def _digest(self, tx: Transaction, move: Move, _: StepMessage) -> MoveAnswer:
        rows, digest = await pages.digest(tx.connection, self._home.operations.context, move.prefix.key)
        return MoveAnswer(phase=move.phase, rows=rows, digest=digest)

    async def _home_prefix(self, tx: Transaction, move: Move, message: StepMessage) -> MoveAnswer:
        if move.phase is Phase.RECEIVING:
            row = PrefixRow(
                key=move.prefix.key,
                name=move.prefix.octets,
                homed=True,
                authorisation=_record(message.record),
                organisation=move.organisation,
                frozen=True,
                has_ranges=await tx.connection.fetchval(_RANGES, move.prefix.key),
            )
            await tx.save_prefix(row)
            log_home(tx, move.prefix, Action.HOME)
            await put_identity(tx, administrator_of(move.prefix), move.organisation)
            move = await _go_on(tx, move, Phase.HOMED)
        if move.phase is not Phase.HOMED:
            raise _wrong(move)
        return _answer(move)

    async def _open(self, tx: Transaction, move: Move, message: StepMessage) -> MoveAnswer:
        if move.phase is Phase.DONE:
            return _answer(move)
        if move.phase is not Phase.HOMED:
            raise _wrong(move)
        await _change_row(tx, move, frozen=False, authorisation=_record(message.record))
        return _answer(await _end(tx, move, Phase.DONE))

    async def _finish(self, tx: Transaction, move: Move, message: StepMessage) -> MoveAnswer:
        if move.phase is Phase.DONE:
            return _answer(move)
        if move.phase is not Phase.FROZEN:
            raise _wrong(move)
        place = _record(message.record).select(types=("HS_SITE", "HS_SITE.6"))
        if not place.count:
            raise ApiProblem(UNPROCESSABLE, "The prefix record names no site.")
        await _change_row(tx, move, homed=False, frozen=False, moved=place)
        log_home(tx, move.prefix, Action.UNHOME)
        keep = timedelta(seconds=min(message.keep_s, KEEP_MAX_S))
        await moves.keep_copy(tx.connection, move.prefix.key, tx.now + keep)
        return _answer(await _end(tx, move, Phase.DONE))

    async def _abort(self, tx: Transaction, move: Move, _: StepMessage) -> MoveAnswer:
        if move.phase is Phase.ABORTED:
            return _answer(move)
        if move.ended is not None:
            raise _wrong(move)
        return _answer(await self.release(tx, move))

    async def _undo(self, tx: Transaction, move: Move) -> None:
        if move.phase is Phase.FROZEN:
            await _change_row(tx, move, frozen=False)
        if move.direction is Direction.DELEGATED:
            if move.phase is Phase.HOMED:
                await _change_row(tx, move, homed=False, frozen=False)
                log_home(tx, move.prefix, Action.UNHOME)
            await moves.keep_copy(tx.connection, move.prefix.key, tx.now)


async def read_page(home: Home, connection: Connection, prefix: Prefix, request: PageRequest) -> pages.Page:
    """A page of what is below a prefix."""
    context, position = home.operations.context, request.position
    match request.kind:
        case PageKind.ROWS:
            question = pages.read_rows
        case PageKind.VERSIONS:
            question = pages.read_versions
        case PageKind.REST:
            return await pages.read_rest(connection, prefix.key, position=position)
    return await question(connection, context, prefix.key, position=position, since_ms=request.since_ms)


def log_home(tx: Transaction, prefix: Prefix, action: Action) -> None:
    """Note in the transaction log that this node homes a prefix from now on, or no longer."""
    record = prefix.record
    tx.record([(record.key, record.octets, action, 1, tx.now_ms)])


async def _change_row(tx: Transaction, move: Move, **changes: object) -> None:
    row = await tx.prefix_row(move.prefix.key)
    assert row is not None, "a prefix that is served has a row"
    await tx.save_prefix(replace(row, **changes))  # type: ignore[arg-type]  # fields of PrefixRow


async def _go_on(tx: Transaction, move: Move, phase: Phase) -> Move:
    after = replace(move, phase=phase, changed=tx.now, frozen_at=tx.now if phase is Phase.FROZEN else None)
    await moves.save(tx.connection, move, after)
    return after


async def _end(tx: Transaction, move: Move, phase: Phase) -> Move:
    after = replace(move, phase=phase, changed=tx.now, ended=tx.now, frozen_at=None)
    await moves.save(tx.connection, move, after)
    action = "move.done" if phase is Phase.DONE else "move.abort"
    detail = {"direction": move.direction.value, "rows": move.rows}
    tx.audit(action, str(move.prefix), organisation=move.organisation, detail=detail)
    return after


def _record(record: Record | None) -> ValueList:
    if record is None:
        raise ApiProblem(UNPROCESSABLE, "The step takes the prefix record.")
    try:
        return values_of(record)
    except intake.PageRefused as error:
        raise ApiProblem(UNPROCESSABLE, f"{error}.") from None


def _wrong(move: Move) -> ApiProblem:
    return ApiProblem(MOVE_REFUSED, f"The move is in the phase {move.phase.value} here.")


def _answer(move: Move, *, ready: bool = True) -> MoveAnswer:
    return MoveAnswer(phase=move.phase.value, ready=ready, rows=move.rows)
