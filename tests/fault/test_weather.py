"""Loss, duplication and reordering between the nodes: every question is answered all the same."""

import asyncio

import pytest

from protocol.value import HandleValue
from tests.support.tap import Weather
from tests.support.world import World

URL = "https://plant.example/"
LARGE = b"x" * 6_000


@pytest.mark.parametrize("seed", [1, 2])
async def test_questions_are_answered_through_bad_weather(world: World, seed: int) -> None:
    weather = Weather(loss=0.15, duplication=0.2, reordering=0.3, seed=seed)
    root = await world.root()
    plant = await world.registry(prefix="88", under=root, weather=weather)
    root.tap.weather = Weather(loss=0.15, duplication=0.2, reordering=0.3, seed=seed + 100)
    for number in range(10):
        await plant.create(f"88/{number}", url=f"{URL}{number}")
    await plant.create("88/large", HandleValue(index=2, type="DESC", data=LARGE), url=URL)
    resolver = await world.resolver()

    replies = await asyncio.gather(*(resolver.ask(f"88/{number}") for number in range(10)))
    assert [reply.url for reply in replies] == [f"{URL}{number}" for number in range(10)]
    large = await resolver.ask("88/large")
    assert LARGE in [value.data for value in large.values]


async def test_duplicated_requests_are_answered_and_harm_nothing(world: World) -> None:
    weather = Weather(duplication=1.0)
    root = await world.root()
    plant = await world.registry(prefix="88", under=root, weather=weather)
    await plant.create("88/x", url=URL)
    resolver = await world.resolver()
    for _ in range(5):
        assert (await resolver.ask("88/x")).url == URL
    assert (await resolver.ask("88/none")).rc == 100


async def test_a_node_that_comes_back_is_used_again(world: World) -> None:
    _, plant = await world.chain("88")
    await plant.create("88/x", url=URL)
    resolver = await world.resolver(resolution_time_s=3.0)
    plant.tap.is_open = False
    assert (await resolver.ask("88/x")).rc == 2
    plant.tap.is_open = True
    for _ in range(20):
        reply = await resolver.ask("88/x")
        if reply.rc == 1:
            break
        await asyncio.sleep(0.2)
    assert reply.url == URL


async def test_a_restarted_node_serves_what_it_stored(world: World) -> None:
    _, plant = await world.chain("88")
    await plant.create("88/x", url=URL)
    await plant.stop()
    await plant.start()
    assert (await plant.ask("88/x")).url == URL
    status, _ = await plant.delete("88/x")
    assert status == 200
