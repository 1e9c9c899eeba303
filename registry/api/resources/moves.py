"""Moves of prefixes between this node and the holder's own."""

from typing import Final

from registry.accounts.roles import Right
from registry.api.call import Call, Reply
from registry.api.resources.applications import number_cursor, number_position
from registry.api.resources.prefixes import given_version, visible
from registry.api.route import Route
from registry.api.schemas.base import Paging
from registry.api.schemas.nodes import AbortMove, Moves, MoveView, NewMove, ProbeResult
from registry.peers.moves import Move
from registry.peers.service import NO_MOVE
from registry.problem_types import NOT_FOUND, ApiProblem
from registry.problem_types.allocation import (
    PREFIX_BUSY,
    PREFIX_HOSTING,
    PREFIX_NOT_EMPTY,
    PREFIX_STATE,
    ROUTE_REFUSED,
)
from registry.problem_types.peers import MOVE_REFUSED

TAG: Final = "Moves"
PATH: Final = "/api/v1/moves"


async def start(call: Call) -> Reply:
    """Begins to move a prefix to the holder's node or back; every identifier is answered for all the time."""
    body = call.body_as(NewMove)
    allocated = await given_version(call)
    move = await call.services.peers.start_move(
        call.tx, allocated.prefix, body.to, node=body.node, reason=body.reason
    )
    return Reply(body=_view(move), location=f"{PATH}/{move.id}")


async def probe(call: Call) -> Reply:
    """Asks the node of a delegated prefix at every interface whether it serves the prefix, with its own key."""
    allocated = await visible(call)
    fault = await call.services.peers.probe(allocated)
    return Reply(body=ProbeResult(prefix=str(allocated.prefix), fault=fault or None))


async def list_all(call: Call) -> Reply:
    """The moves of prefixes that the caller sees, the latest first."""
    query = call.query_as(Paging)
    found = await call.services.peers.all_moves(
        organisation=call.signed_in.organisation, before=number_position(query.cursor), limit=query.limit + 1
    )
    items = [_view(move) for move in found[: query.limit] if _is_visible(call, move)]
    following = number_cursor(found[query.limit - 1].number) if len(found) > query.limit else None
    return Reply(body=Moves(items=items, next=following))


async def read(call: Call) -> Reply:
    """How far a move has come."""
    return Reply(body=_view(await _visible_move(call)))


async def abort(call: Call) -> Reply:
    """Gives a move up: everything is as before. Impossible once the prefix record has been changed."""
    move = await _visible_move(call)
    after = await call.services.peers.abort_move(call.tx, move.id, reason=call.body_as(AbortMove).reason)
    return Reply(body=_view(after))


async def _visible_move(call: Call) -> Move:
    found = await call.services.peers.move(call.path["move"])
    if not _is_visible(call, found):
        raise ApiProblem(NOT_FOUND, NO_MOVE)
    return found


def _is_visible(call: Call, move: Move) -> bool:
    caller = call.signed_in
    limited = caller.prefixes is not None and move.prefix.key not in caller.prefixes
    return not limited and caller.sees(move.organisation)


def _view(move: Move) -> MoveView:
    return MoveView(
        id=move.id,
        prefix=str(move.prefix),
        to=move.direction,
        node=move.node,
        drives=move.drives,
        organisation=move.organisation,
        reason=move.reason,
        phase=move.phase,
        rows=move.rows,
        frozen_since=move.frozen_at,
        fault=move.fault,
        attempts=move.attempts,
        started=move.started,
        changed=move.changed,
        ended=move.ended,
    )


ROUTES: Final = (
    Route(
        method="POST",
        path="/api/v1/prefixes/{prefix}/move",
        name="prefix.move",
        summary="Move a prefix to the holder's own node, or back",
        tag=TAG,
        handler=start,
        right=Right.PREFIX_OPERATE,
        heeds_match=True,
        body=NewMove,
        reply=MoveView,
        status=202,
        problems=(
            MOVE_REFUSED,
            PREFIX_STATE,
            PREFIX_BUSY,
            PREFIX_HOSTING,
            PREFIX_NOT_EMPTY,
            ROUTE_REFUSED,
        ),
    ),
    Route(
        method="POST",
        path="/api/v1/prefixes/{prefix}/probe",
        name="prefix.probe",
        summary="Probe the node of a delegated prefix",
        tag=TAG,
        handler=probe,
        right=Right.PREFIX_OPERATE,
        reply=ProbeResult,
        writes=False,
        problems=(PREFIX_HOSTING,),
    ),
    Route(
        method="GET",
        path=PATH,
        name="move.list",
        summary="List moves",
        tag=TAG,
        handler=list_all,
        right=Right.PREFIX_READ,
        query=Paging,
        reply=Moves,
    ),
    Route(
        method="GET",
        path=PATH + "/{move}",
        name="move.read",
        summary="Read a move",
        tag=TAG,
        handler=read,
        right=Right.PREFIX_READ,
        reply=MoveView,
    ),
    Route(
        method="POST",
        path=PATH + "/{move}/abort",
        name="move.abort",
        summary="Give a move up",
        tag=TAG,
        handler=abort,
        right=Right.PREFIX_OPERATE,
        body=AbortMove,
        reply=MoveView,
        problems=(MOVE_REFUSED,),
    ),
)
