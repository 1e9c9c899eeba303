"""Nodes that are killed in the middle of a move, as processes: the move goes on, and nothing is lost or there twice."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from protocol.handle import Handle, Prefix
from protocol.value import ValueList
from registry.api.documents import make_documents
from registry.api.services import make_services
from registry.homing import admin_value
from registry.initialise import administrator_of
from registry.node import open_node
from registry.outcomes import OPERATOR, Created, Creation
from registry.peers import pages
from registry.peers.messages import Direction
from registry.peers.moves import Phase
from tests.support.neighbours import (
    Neighbours,
    approved_organisation,
    hosted_prefix,
    until,
)
from tests.support.postgres import TestPostgres
from tests.support.processes import NodeProcess
from tests.support.world import TestNode, url_value

PREFIX = "88.100.7"
ROWS = 6_000
KILLS = 2  # in each direction: either node once


@dataclass(slots=True)
class Plant:
    """Both nodes as processes, and the same nodes as this test sees them through their databases."""

    pair: Neighbours
    above: NodeProcess
    below: NodeProcess


@pytest.fixture
async def plant(postgres: TestPostgres, scratch: Path) -> AsyncIterator[Plant]:
    """Give a node that hosts a prefix with some thousands of identifiers, and one that has joined it."""
    async with AsyncExitStack() as stack:
        above = await _process(stack, postgres, scratch / "above", "88.100")
        below = await _process(stack, postgres, scratch / "below", f"{PREFIX}.0")
        upper, lower = [await _seen(stack, process) for process in (above, below)]
        organisation = await approved_organisation(upper.node.services)
        await hosted_prefix(upper.node.services, organisation, PREFIX)
        pair = Neighbours(above=upper, below=lower, organisation=organisation)
        await _fill(pair)
        await pair.join()
        yield Plant(pair, above, below)


async def _process(stack: AsyncExitStack, postgres: TestPostgres, directory: Path, home: str) -> NodeProcess:
    dsn = postgres.database()
    stack.callback(postgres.drop, dsn)
    node = _prepared(dsn, directory, home)
    await node.start()
    stack.push_async_callback(node.stop)
    return node


def _prepared(dsn: str, directory: Path, home: str) -> NodeProcess:
    directory.mkdir()
    return NodeProcess(
        dsn,
        directory,
        unsafe=True,
        homes=[home],
        open_networks=[{"network": "127.0.0.0/8", "prefixes": ["*"]}],
        peers_interval_s=0.1,
        delegation_ttl_s=1,
    )


async def _seen(stack: AsyncExitStack, process: NodeProcess) -> TestNode:
    """The node as the helpers of the tests know one."""
    node = await stack.enter_async_context(open_node(process.settings, unsafe=True))
    services = make_services(node, process.settings, make_documents(()))
    stack.push_async_callback(services.peers.close)
    seen: Any = SimpleNamespace(
        node=SimpleNamespace(services=services), http=process.base, settings=process.settings
    )
    return cast(TestNode, seen)


async def _fill(pair: Neighbours) -> None:
    administrator = admin_value(administrator_of(Prefix.parse(PREFIX)))
    batch = [
        Creation(
            Handle.parse(f"{PREFIX}/pump-{number}"),
            ValueList.of([url_value(f"https://pump.example/{number}"), administrator]),
        )
        for number in range(ROWS)
    ]
    results = await pair.upper.operations.create(batch, by=OPERATOR)
    assert all(isinstance(result, Created) for result in results)


async def _digest(pair: Neighbours, direction: Direction) -> tuple[int, bytes]:
    """Of the side that a move in this direction leads to."""
    services = pair.lower if direction is Direction.DELEGATED else pair.upper
    async with services.store.connection() as connection:
        return await pages.digest(connection, services.operations.context, Prefix.parse(PREFIX).key)


@pytest.mark.slow
async def test_a_move_survives_the_killing_of_either_node(plant: Plant) -> None:
    chance = random.Random(11)
    pair = plant.pair
    before = await _digest(pair, Direction.HOSTED)
    for direction in (Direction.DELEGATED, Direction.HOSTED):
        move = await pair.start(PREFIX, direction)
        for number in range(KILLS):
            victim = (plant.above, plant.below)[number % 2]
            await asyncio.sleep(chance.uniform(0.2, 0.8))
            await victim.kill()
            await victim.start()
            async with (
                pair.upper.store.connection() as connection
            ):  # what a killed node left is not waited for
                await connection.execute("UPDATE moves SET next_at = now() WHERE id = $1", move.id)

        async def has_ended(id_: str = move.id) -> bool:
            return (await pair.upper.peers.move(id_)).ended is not None

        await until(has_ended, "the end of the move")
        done = await pair.upper.peers.move(move.id)
        assert done.phase is Phase.DONE, done
        assert await _digest(pair, direction) == before
        served = pair.lower if direction is Direction.DELEGATED else pair.upper
        row = (await served.store.prefix_rows([Prefix.parse(PREFIX).key]))[Prefix.parse(PREFIX).key]
        assert (row.homed, row.frozen) == (True, False)
