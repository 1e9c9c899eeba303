"""`handlegrid prefix`, the part about moves of prefixes between a node and the holder's own."""

import asyncio
import time
from typing import Final

import click

from deploy.commands.api import SOMEBODY_WAITS, Api, api_command, limit_option, reason_option, take
from deploy.commands.failure import ExitCode
from registry.api.schemas.nodes import MoveView, NewMove
from registry.client import RegistryClient, Retries
from registry.peers.messages import Direction
from registry.peers.moves import Phase

WATCH_S: Final = 1.0
"""Between two looks at a move that is waited for."""


@click.command(short_help="Move it to another node, or back.")
@click.argument("name", metavar="PREFIX")
@click.option(
    "--to",
    "direction",
    required=True,
    type=click.Choice([str(direction) for direction in Direction]),
    help="delegated: the holder's own node serves it; hosted: this node does.",
)
@click.option(
    "--peer",
    help="Key id of the holder's node, as `handlegrid neighbour below` lists it; needed towards delegated.",
)
@reason_option
@click.option("--wait", is_flag=True, help="Stay until it has ended.")
@api_command(writes=True)
def move(*, api: Api, name: str, direction: str, peer: str | None, reason: str, wait: bool) -> ExitCode:
    """Move PREFIX with all of its identifiers to the holder's own node, or back to this one; nothing stays unanswered.

    The nodes do the work and take it up again whatever is interrupted; `handlegrid prefix moves` shows how far it is.

    Exit code: 0 it has begun (with --wait: it has ended well), 1 denied or given up, 2 usage, 3 no answer.
    """
    wanted = NewMove(to=Direction(direction), node=peer, reason=reason)

    async def work(client: RegistryClient) -> MoveView:
        begun = await client.prefixes.move(name, wanted, how=api.how)
        return await _watch(client, begun) if wait and not api.how.dry_run else begun

    done = api.run(work, retries=Retries() if wait else SOMEBODY_WAITS)
    api.show(done, _move_text(done))
    return ExitCode.DENIED if done.phase is Phase.ABORTED else ExitCode.DONE


async def _watch(client: RegistryClient, begun: MoveView) -> MoveView:
    """Wait for the end of a move; each phase is told on standard error."""
    began_s = time.monotonic()
    present, told = begun, ""
    while True:
        text = _move_text(present)
        if text != told:
            click.echo(f"[{time.monotonic() - began_s:5.1f} s] {text}", err=True)
            told = text
        if present.ended:
            return present
        await asyncio.sleep(WATCH_S)
        present = await client.moves.get(begun.id)


def _move_text(found: MoveView) -> str:
    fault = f"; {found.fault}" if found.fault else ""
    return f"{found.prefix} to {found.to} ({found.id}): {found.phase}, {found.rows:,} handles copied{fault}"


@click.command(short_help="List moves.")
@limit_option
@api_command()
def moves(*, api: Api, limit: int) -> None:
    """List the moves of prefixes that you may see, the latest first."""

    def row(found: MoveView) -> tuple[object, ...]:
        ended = found.ended and found.ended.isoformat(timespec="seconds")
        return found.id, found.prefix, found.to, found.phase, found.rows, ended, found.fault

    shown = api.run(lambda client: take(client.moves.every(), limit))
    api.show_list(shown, ("ID", "PREFIX", "TO", "PHASE", "COPIED", "ENDED", "FAULT"), row)


@click.command(name="abort-move", short_help="Give a move up.")
@click.argument("move_id", metavar="MOVE")
@reason_option
@api_command(writes=True)
def abort_move(*, api: Api, move_id: str, reason: str) -> None:
    """Give MOVE up, as long as the other node does not serve the prefix yet."""
    done = api.run(lambda client: client.moves.abort(move_id, reason, how=api.how))
    api.show(done, _move_text(done))


COMMANDS: Final = (move, moves, abort_move)
