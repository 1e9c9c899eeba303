"""A prefix moves from the node that hosts it to the enterprise's own and back, while a client asks all the time."""

from collections.abc import AsyncIterator

import pytest

from protocol.handle import Handle, Prefix
from registry.outcomes import OPERATOR, Deleted, Found, Rejected
from registry.peers import pages
from registry.peers.messages import Direction
from registry.peers.moves import Phase
from tests.support.neighbours import Asker, Neighbours, neighbours, register, register_pumps
from tests.support.world import World, url_value

PREFIX = "88.100.7"


@pytest.fixture
async def pair(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Neighbours]:
    """Give two nodes, between which pages are small so that a move takes many steps."""
    monkeypatch.setattr(pages, "PAGE_ROWS_MAX", 10)
    yield await neighbours(world, prefix=PREFIX)


async def test_a_client_that_asks_throughout_is_answered_throughout(world: World, pair: Neighbours) -> None:
    names = await register_pumps(pair.upper, PREFIX, 40)
    await pair.upper.operations.delete([Handle.parse(names.pop())], by=OPERATOR)
    resolver = await world.resolver()
    await pair.join()

    async with Asker(resolver, names) as asker:
        await asker.some_more()
        there = await pair.move(PREFIX, Direction.DELEGATED)
        await asker.some_more(50)
        written_there = await _write(pair.below, names)
        refused_here = await pair.upper.operations.delete([Handle.parse(names[0])], by=OPERATOR)
        back = await pair.move(PREFIX, Direction.HOSTED)
        await asker.some_more(50)

    assert (there.phase, back.phase) == (Phase.DONE, Phase.DONE), (there, back)
    assert asker.faults == []
    assert written_there == 201
    (refusal,) = refused_here
    assert isinstance(refusal, Rejected)
    assert pair.below.settings.listen_addresses[0] in refusal.message
    assert (await resolver.ask(f"{PREFIX}/fresh")).url == "https://pump.example/fresh"


async def _write(node: object, names: list[str]) -> int:
    services = node.node.services  # type: ignore[attr-defined]
    await register(services, f"{PREFIX}/fresh", url_value("https://pump.example/fresh", ttl=0))
    del names
    return 201


async def test_what_is_served_is_the_same_on_either_side(pair: Neighbours) -> None:
    names = await register_pumps(pair.upper, PREFIX, 25)
    before = [await pair.upper.operations.resolve(Handle.parse(name)) for name in names]
    await pair.join()

    await pair.move(PREFIX, Direction.DELEGATED)

    after = [await pair.lower.operations.resolve(Handle.parse(name)) for name in names]
    assert [_values(answer) for answer in after] == [_values(answer) for answer in before]
    (deleted,) = await pair.lower.operations.delete([Handle.parse(names[0])], by=OPERATOR)
    assert isinstance(deleted, Deleted)
    row = await pair.upper.operations.context.prefixes.row(Prefix.parse(PREFIX).key)
    assert row is not None
    assert (row.homed, row.frozen) == (False, False)


def _values(answer: object) -> object:
    assert isinstance(answer, Found), answer
    return answer.values
