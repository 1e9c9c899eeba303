"""Postgres and Redis stopped under load, and back."""

import asyncio
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from protocol.errors import HandleError
from registry.daemon import RegistryNode
from tests.support.asking import Answered
from tests.support.postgres import TestPostgres
from tests.support.valkey import TestValkey
from tests.support.world import TestNode, TestResolver, World, url_value

URL = "https://plant.example/"
NAMES = 40


async def plant_on(world: World, postgres: TestPostgres) -> TestNode:
    """Start root and 88, the latter on a database of its own server, with some products."""
    root = await world.root()
    plant = await world.registry(prefix="88", under=root, database=postgres.database())
    for number in range(NAMES):
        await plant.create(f"88/{number}", url=f"{URL}{number}")
    return plant


class Load:
    """Questions one after the other, by several askers, until told to stop."""

    def __init__(self, node: TestNode | TestResolver, *, askers: int = 4) -> None:
        self.replies: list[tuple[int, Answered]] = []
        self._node = node
        self._stopping = False
        self._tasks = [asyncio.ensure_future(self._ask(number)) for number in range(askers)]

    async def stop(self) -> None:
        """Stop, and raise what an asker met."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def _ask(self, start: int) -> None:
        number = start
        while not self._stopping:
            number = (number + 7) % NAMES
            self.replies.append((number, await self._node.ask(f"88/{number}")))
            await asyncio.sleep(0.002)


async def eventually_found(
    node: TestNode | TestResolver, handle: str, *, patience_s: float = 20.0
) -> Answered:
    """Ask until the handle is found or patience ends."""
    end_s = time.monotonic() + patience_s
    while True:
        reply = await node.ask(handle)
        if reply.rc == 1 or time.monotonic() > end_s:
            return reply
        await asyncio.sleep(0.2)


async def test_a_registry_without_its_database_says_so_and_recovers(
    world: World, own_postgres: TestPostgres
) -> None:
    plant = await plant_on(world, own_postgres)
    load = Load(plant)
    await asyncio.sleep(0.3)
    await asyncio.to_thread(own_postgres.stop)
    await asyncio.sleep(0.5)

    began_s = time.monotonic()
    assert (await plant.ask("88/never-asked")).rc == 2, "real clients go on to a mirror on 2 alone"
    assert time.monotonic() - began_s < 20.0
    status, reply = await plant.put("88/new", [url_value(URL)])
    assert status in {500, 503}, reply

    own_postgres.start()
    assert (await eventually_found(plant, "88/1")).url == f"{URL}1"
    await load.stop()
    assert {reply.rc for _, reply in load.replies} <= {1, 2}
    assert all(reply.url == f"{URL}{number}" for number, reply in load.replies if reply.rc == 1)
    assert any(reply.rc == 1 for _, reply in load.replies)

    await plant.create("88/after", url=URL)
    assert (await plant.ask("88/after")).url == URL


async def test_what_was_acknowledged_survives_a_crash_of_the_database(
    world: World, own_postgres: TestPostgres
) -> None:
    plant = await plant_on(world, own_postgres)
    await plant.create("88/counter", url=URL)
    acknowledged = 0

    async def write() -> None:
        nonlocal acknowledged
        for number in range(1, 10_000):
            status, _ = await plant.put("88/counter", [url_value(f"{URL}{number}")], index="1")
            if status not in {200, 201}:
                return
            acknowledged = number

    writing = asyncio.ensure_future(write())
    await asyncio.sleep(1.0)
    own_postgres.crash()
    await writing
    own_postgres.start()
    kept = await eventually_found(plant, "88/counter")
    assert kept.url in {f"{URL}{acknowledged}", f"{URL}{acknowledged + 1}"}
    assert acknowledged > 0


async def test_a_registry_whose_database_cannot_be_reached_says_what_to_do(
    world: World, scratch: Path
) -> None:
    settings = (await world.root()).settings
    dsn = f"postgresql://postgres@/none?host={scratch}&port=1"
    node = RegistryNode(replace(settings, database=dsn, data_dir=scratch / "other"), unsafe=True)
    with pytest.raises(HandleError) as caught:
        await node.start()
    assert "database" in str(caught.value).lower()


async def test_a_resolver_without_its_redis_answers_as_ever(world: World, valkey: TestValkey) -> None:
    _, plant = await world.chain("88")
    for number in range(NAMES):
        await plant.create(f"88/{number}", url=f"{URL}{number}")
    resolver = await world.resolver(redis=valkey)
    load = Load(resolver)
    await asyncio.sleep(0.3)
    await asyncio.to_thread(valkey.stop)
    await asyncio.sleep(1.0)
    await asyncio.to_thread(valkey.start)
    await asyncio.sleep(1.0)
    await load.stop()
    assert len(load.replies) > NAMES
    assert all(reply.url == f"{URL}{number}" for number, reply in load.replies)


async def test_a_second_resolver_takes_from_redis_what_the_first_one_fetched(
    world: World, valkey: TestValkey
) -> None:
    _, plant = await world.chain("88")
    await plant.create("88/shared", url=URL)
    first, second = await world.resolver(redis=valkey), await world.resolver(redis=valkey)
    assert (await first.ask("88/shared")).url == URL
    await asyncio.sleep(0.2)
    world.forget()
    assert (await second.ask("88/shared")).url == URL
    assert world.exchanges() == []


async def test_a_redis_that_was_never_there_is_only_a_miss(world: World, valkey: TestValkey) -> None:
    _, plant = await world.chain("88")
    await plant.create("88/x", url=URL)
    valkey.stop()
    resolver = await world.resolver(redis=valkey)
    began_s = time.monotonic()
    assert (await resolver.ask("88/x")).url == URL
    assert time.monotonic() - began_s < 10.0
