"""Moves under faults: lost answers, nodes that end in the middle, writers who go on; and moves that are refused."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from protocol.codes import ResponseCode
from protocol.handle import Handle, Prefix
from protocol.value import ValueList
from registry.api.services import Services
from registry.outcomes import COMMAND, OPERATOR, Created, Creation, Denied, Found, Rejected
from registry.peers import pages, upper_side, upper_steps
from registry.peers.messages import Direction
from registry.peers.moves import Move, Phase
from registry.problem_types import ApiProblem
from tests.support.faults import lost_answers
from tests.support.neighbours import Neighbours, approved_organisation, register_pumps, until
from tests.support.world import World, url_value

PREFIX = "88.100.7"
KEY = Prefix.parse(PREFIX).key
UP, DOWN = Direction.HOSTED, Direction.DELEGATED


async def digest(services: Services) -> tuple[int, bytes]:
    """What a node holds below the prefix."""
    async with services.store.connection() as connection:
        return await pages.digest(connection, services.operations.context, KEY)


async def answers(services: Services, names: Sequence[str]) -> list[bool]:
    """Which identifiers a node answers for, itself."""
    found = [await services.operations.resolve(Handle.parse(name)) for name in names]
    return [isinstance(answer, Found) for answer in found]


async def is_writable(services: Services, name: str) -> bool:
    batch = [Creation(Handle.parse(name), ValueList.of([url_value("https://pump.example/x")]))]
    (result,) = await services.operations.create(batch, by=OPERATOR)
    return isinstance(result, Created)


async def phase_of(pair: Neighbours, move: Move) -> Phase:
    return (await pair.upper.peers.move(move.id)).phase


async def reach(pair: Neighbours, move: Move, *phases: Phase) -> Phase:
    """Wait until a move is in one of these phases."""

    async def is_there() -> bool:
        return await phase_of(pair, move) in phases

    await until(is_there, f"phase {phases}")
    return await phase_of(pair, move)


async def test_every_second_answer_is_lost_and_nothing_else(joined: Neighbours) -> None:
    names = await register_pumps(joined.upper, PREFIX, 35)
    before = await digest(joined.upper)

    with lost_answers(lambda number: number % 2 == 0) as losses:
        there = await joined.move(PREFIX, DOWN)
        assert await digest(joined.lower) == before
        back = await joined.move(PREFIX, UP)

    assert (there.phase, back.phase) == (Phase.DONE, Phase.DONE), (there, back)
    assert len(losses.lost) > 10
    assert await digest(joined.upper) == before
    assert all(await answers(joined.upper, names))
    assert await is_writable(joined.upper, f"{PREFIX}/fresh")


@pytest.mark.parametrize("phase", [Phase.COPY, Phase.FREEZE, Phase.DELTA, Phase.COMPARE])
@pytest.mark.parametrize("direction", [DOWN, UP])
async def test_the_node_below_ends_in_the_middle(
    joined: Neighbours, phase: Phase, direction: Direction
) -> None:
    names = await register_pumps(joined.upper, PREFIX, 35)
    if direction is UP:
        await joined.move(PREFIX, DOWN)
    move = await joined.start(PREFIX, direction)
    await reach(joined, move, phase, Phase.SWITCH, Phase.DONE)

    await joined.below.stop()
    await asyncio.sleep(0.3)
    await joined.below.start()

    assert (await joined.moved(move)).phase is Phase.DONE
    served = joined.upper if direction is UP else joined.lower
    assert all(await answers(served, names))
    assert await is_writable(served, f"{PREFIX}/fresh")


@pytest.mark.parametrize("direction", [DOWN, UP])
async def test_the_node_above_ends_anywhere_and_goes_on(joined: Neighbours, direction: Direction) -> None:
    """The driver is cut off at any await, again and again: whatever was not stored is done once more."""
    chance = random.Random(7)
    names = await register_pumps(joined.upper, PREFIX, 35)
    if direction is UP:
        await joined.move(PREFIX, DOWN)
    before = await digest(joined.lower if direction is UP else joined.upper)
    await joined.above.stop()
    await joined.above.start()
    move = await joined.start(PREFIX, direction)
    driver = joined.upper.peers.upper

    cut = 0
    while (await joined.upper.peers.move(move.id)).ended is None:
        await asyncio.sleep(chance.uniform(0.0, 0.08))
        await driver.stop()
        cut += 1
        async with (
            joined.upper.store.connection() as connection
        ):  # the lease of the one that was cut off is over
            await connection.execute(
                "UPDATE moves SET next_at = now() - interval '1 s' WHERE id = $1", move.id
            )

    assert (await joined.upper.peers.move(move.id)).phase is Phase.DONE
    assert cut > 3
    served = joined.upper if direction is UP else joined.lower
    assert await digest(served) == before
    assert all(await answers(served, names))


async def test_the_node_above_is_restarted_in_the_middle(joined: Neighbours) -> None:
    names = await register_pumps(joined.upper, PREFIX, 35)
    for direction, served in ((DOWN, joined.below), (UP, joined.above)):
        move = await joined.start(PREFIX, direction)
        await reach(joined, move, Phase.COPY_VERSIONS, Phase.FREEZE, Phase.DELTA, Phase.COMPARE, Phase.DONE)
        await joined.above.stop()
        await joined.above.start()
        assert (await joined.moved(move)).phase is Phase.DONE
        assert all(await answers(served.node.services, names))


@pytest.mark.parametrize("direction", [DOWN, UP])
async def test_no_write_that_was_acknowledged_is_lost(joined: Neighbours, direction: Direction) -> None:
    await register_pumps(joined.upper, PREFIX, 20)
    if direction is UP:
        await joined.move(PREFIX, DOWN)
    old, new = (joined.lower, joined.upper) if direction is UP else (joined.upper, joined.lower)

    async with writers(old) as (acknowledged, refused):
        move = await joined.start(PREFIX, direction)
        done = await joined.moved(move)

    assert done.phase is Phase.DONE
    assert len(acknowledged) > 10
    assert set(refused) <= {ResponseCode.SERVER_BACKUP, ResponseCode.SERVER_NOT_RESPONSIBLE}
    assert all(await answers(new, acknowledged))


@asynccontextmanager
async def writers(services: Services) -> AsyncIterator[tuple[list[str], list[int]]]:
    """Register identifiers as fast as it goes, until the end of the block: what was acknowledged, and refusals."""
    acknowledged: list[str] = []
    refused: list[int] = []

    async def write(writer: int) -> None:
        number = 0
        while True:
            number += 1
            name = f"{PREFIX}/valve-{writer}-{number}"
            batch = [Creation(Handle.parse(name), ValueList.of([url_value("https://valve.example/")]))]
            (result,) = await services.operations.create(batch, by=OPERATOR)
            if isinstance(result, Created):
                acknowledged.append(name)
            else:
                assert isinstance(result, Rejected)
                refused.append(result.code)
            await asyncio.sleep(0.001)

    tasks = [asyncio.create_task(write(writer)) for writer in range(4)]
    try:
        yield acknowledged, refused
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_writer_that_began_before_the_freeze_is_waited_for(joined: Neighbours) -> None:
    await register_pumps(joined.upper, PREFIX, 5)
    name = f"{PREFIX}/slow"
    async with joined.upper.operations.transaction(COMMAND) as tx:
        creation = Creation(Handle.parse(name), ValueList.of([url_value("https://slow.example/")]))
        await tx.create([creation], by=OPERATOR)
        move = await joined.start(PREFIX, DOWN)
        await reach(joined, move, Phase.FREEZE)
        await asyncio.sleep(0.5)
        assert await phase_of(joined, move) is Phase.FREEZE

    assert (await joined.moved(move)).phase is Phase.DONE
    assert await answers(joined.lower, [name]) == [True]


async def test_writes_are_taken_again_while_the_node_below_is_away(
    joined: Neighbours, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upper_side, "FROZEN_MAX", timedelta(seconds=0.2))
    await register_pumps(joined.upper, PREFIX, 30)
    move = await joined.start(PREFIX, DOWN)
    await reach(joined, move, Phase.DELTA, Phase.COMPARE, Phase.HOME)
    await joined.below.stop()

    async def takes_writes() -> bool:
        return await is_writable(joined.upper, f"{PREFIX}/meanwhile")

    await until(takes_writes, "writes")
    await joined.below.start()

    assert (await joined.moved(move)).phase is Phase.DONE
    assert await answers(joined.lower, [f"{PREFIX}/meanwhile"]) == [True]


@pytest.mark.parametrize("direction", [DOWN, UP])
async def test_a_move_that_is_given_up_leaves_everything_as_it_was(
    joined: Neighbours, direction: Direction
) -> None:
    names = await register_pumps(joined.upper, PREFIX, 35)
    if direction is UP:
        await joined.move(PREFIX, DOWN)
    old, new = (joined.lower, joined.upper) if direction is UP else (joined.upper, joined.lower)
    before = await digest(old)
    move = await joined.start(PREFIX, direction)
    await reach(joined, move, Phase.COPY_VERSIONS, Phase.FREEZE, Phase.DELTA, Phase.COMPARE)

    async with joined.upper.operations.transaction(COMMAND) as tx:
        await joined.upper.peers.abort_move(tx, move.id, reason="not today")

    assert (await joined.moved(move)).phase is Phase.ABORTED
    assert await digest(old) == before
    assert all(await answers(old, names))
    assert await is_writable(old, f"{PREFIX}/fresh")
    row = await new.operations.context.prefixes.row(KEY)
    assert row is None or not row.homed
    assert (await joined.move(PREFIX, direction)).phase is Phase.DONE  # another time


async def test_a_prefix_that_is_suspended_meanwhile_stays(joined: Neighbours) -> None:
    names = await register_pumps(joined.upper, PREFIX, 30)
    move = await joined.start(PREFIX, DOWN)
    await reach(joined, move, Phase.COPY)
    async with joined.upper.operations.transaction(COMMAND) as tx:
        await joined.upper.allocation.suspend(tx, Prefix.parse(PREFIX), reason="an inspection")

    assert (await joined.moved(move)).phase is Phase.ABORTED
    async with joined.upper.operations.transaction(COMMAND) as tx:
        await joined.upper.allocation.resume(tx, Prefix.parse(PREFIX), reason="all is well")
    assert all(await answers(joined.upper, names))
    assert await is_writable(joined.upper, f"{PREFIX}/fresh")


async def test_the_old_side_refers_and_forgets_in_the_end(
    joined: Neighbours, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upper_steps, "COPY_MARGIN_S", 0)
    names = await register_pumps(joined.upper, PREFIX, 30)
    await joined.move(PREFIX, DOWN)

    referred = await joined.above.ask(names[0])
    assert referred.rc == ResponseCode.SERVICE_REFERRAL

    await joined.move(PREFIX, UP)
    back = await joined.below.ask(names[0])
    assert back.rc == ResponseCode.SERVICE_REFERRAL
    async with joined.lower.store.connection() as connection:
        await connection.execute("UPDATE moved_copies SET drop_at = now()")

    async def is_forgotten() -> bool:
        return await digest(joined.lower) == await empty(joined.lower)

    await until(is_forgotten, "the end of the copy")
    assert isinstance(await joined.lower.operations.resolve(Handle.parse(names[0])), Denied)


async def empty(services: Services) -> tuple[int, bytes]:
    """The digest of nothing."""
    async with services.store.connection() as connection:
        return await pages.digest(connection, services.operations.context, b"88.100.NOTHING")


async def refusal(pair: Neighbours, prefix: str, direction: Direction, node: str | None = None) -> ApiProblem:
    with pytest.raises(ApiProblem) as refused:
        async with pair.upper.operations.transaction(COMMAND) as tx:
            await pair.upper.peers.start_move(
                tx, Prefix.parse(prefix), direction, node=node or pair.key, reason="a test"
            )
    return refused.value


async def test_moves_that_cannot_be_are_refused(pair: Neighbours) -> None:
    assert (await refusal(pair, PREFIX, DOWN)).type.slug == "move-refused"  # nobody has joined
    made = await pair.enrol(claim=pair.organisation, joins=True)
    await pair.enrolled(made.id, "joined")
    assert "not confirmed" in (await refusal(pair, PREFIX, DOWN)).detail
    await pair.join()

    assert "hosted already" in (await refusal(pair, PREFIX, UP)).detail
    assert (await refusal(pair, "88.100.9", DOWN)).type.slug == "not-found"
    assert "joined" in (await refusal(pair, PREFIX, DOWN, "ab" * 32)).detail
    async with pair.upper.operations.transaction(COMMAND) as tx:
        row = await tx.prefix_row(KEY)
        assert row is not None
        await tx.save_prefix(replace(row, frozen=True))
    assert (await refusal(pair, PREFIX, DOWN)).type.slug == "prefix-busy"


async def test_a_node_of_somebody_else_gets_no_prefix(pair: Neighbours) -> None:
    other = await approved_organisation(pair.upper, 2)
    made = await pair.enrol(claim=other, joins=True)
    await pair.enrolled(made.id, "joined")
    with pytest.raises(ApiProblem) as refused:
        async with pair.upper.operations.transaction(COMMAND) as tx:
            await pair.upper.peers.confirm(tx, pair.key, pair.organisation)
    assert refused.value.type.slug == "not-found"
    async with pair.upper.operations.transaction(COMMAND) as tx:
        await pair.upper.peers.confirm(tx, pair.key, other)

    assert "not confirmed" in (await refusal(pair, PREFIX, DOWN)).detail
