"""Cached answers of the record API: as good as those from the database, ended by a write, and public."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.raw_http import RawAnswer, RawClient, get
from tests.support.registries import RunningRegistry, running_registry

PUMP = "/api/handles/88.1/pump-7"
SECRET = {"index": 2, "type": "NOTE", "data": "for administrators", "permissions": "1100"}
VARIES = (b"Date", b"X-Request-Id")
READERS = 4
WRITES = 60


def desc(text: str) -> dict[str, Any]:
    return {"index": 1, "type": "DESC", "data": {"format": "string", "value": text}}


@pytest.fixture
async def plant(database: str, scratch: Path) -> AsyncIterator[RunningRegistry]:
    async with running_registry(database, scratch, source_rate_per_s=0) as registry:
        yield registry


@pytest.fixture
async def client(plant: RunningRegistry) -> AsyncIterator[RawClient]:
    async with RawClient(plant.node.addresses.http[0]) as connected:
        yield connected


def text_of(answer: RawAnswer) -> str:
    (value,) = [value for value in json.loads(answer.body)["values"] if value["index"] == 1]
    return str(value["data"]["value"])


async def hits(registry: RunningRegistry) -> float:
    async with registry.session.get(registry.admin_base + "/metrics") as response:
        lines = (await response.text()).splitlines()
    wanted = 'handlegrid_cache_lookups_total{cache="http",result="hit",tier="memory"} '
    return sum(float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted))


@pytest.mark.parametrize(
    "target", [PUMP, PUMP + "?pretty", PUMP + "?type=DESC&index=1", PUMP + "?index=9", PUMP + "-none"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_cached_answer_is_that_of_the_database(
    plant: RunningRegistry, client: RawClient, target: str, method: str
) -> None:
    await plant.put(PUMP, [desc("a"), SECRET])

    first, second, third = [await client.ask(get(target, method=method)) for _ in range(3)]

    assert first.without(*VARIES) == second.without(*VARIES) == third.without(*VARIES)
    assert len({answer[b"X-Request-Id"] for answer in (first, second, third)}) == 3
    assert len(second[b"X-Request-Id"]) == len(first[b"X-Request-Id"])
    assert await hits(plant) == 2


async def test_hits_are_counted_like_other_answers(plant: RunningRegistry, client: RawClient) -> None:
    await plant.put(PUMP, [desc("a")])
    for _ in range(4):
        await client.ask(get(PUMP))

    async with plant.session.get(plant.admin_base + "/metrics") as response:
        text = await response.text()

    requests = 'handlegrid_requests_total{op="resolution",rc="success",role="registry",transport="http"} 4.0'
    assert requests in text
    assert 'handlegrid_request_duration_seconds_count{outcome="hit",role="registry"} 3.0' in text
    assert 'handlegrid_cache_entries{cache="http",tier="memory"} 1.0' in text


async def test_an_acknowledged_write_ends_what_was_cached(plant: RunningRegistry, client: RawClient) -> None:
    for number in range(20):
        await plant.put(PUMP, [desc(f"state {number}")])
        client.send(get(PUMP) * 3)
        assert [text_of(await client.answer()) for _ in range(3)] == [f"state {number}"] * 3
    assert await hits(plant) == 40

    await plant.delete(PUMP)

    assert (await client.ask(get(PUMP))).line.startswith(b"HTTP/1.1 404")
    await plant.put(PUMP, [desc("again")])
    assert text_of(await client.ask(get(PUMP))) == "again"


async def test_no_read_that_began_after_a_write_shows_what_was_before(plant: RunningRegistry) -> None:
    await plant.put(PUMP, [desc("0")])
    acknowledged, done = [0], asyncio.Event()

    async def read() -> None:
        async with RawClient(plant.node.addresses.http[0]) as client:
            while not done.is_set():
                before = acknowledged[0]
                client.send(get(PUMP) * 5)
                for _ in range(5):
                    assert int(text_of(await client.answer())) >= before

    async with asyncio.TaskGroup() as tasks:
        for _ in range(READERS):
            tasks.create_task(read())
        for number in range(1, WRITES):
            assert (await plant.put(PUMP, [desc(str(number))])).status == 200
            acknowledged[0] = number
        done.set()
    assert await hits(plant) > 0


async def test_what_an_administrator_reads_is_told_to_nobody_else(
    plant: RunningRegistry, client: RawClient
) -> None:
    await plant.put(PUMP, [desc("a"), SECRET])
    (name, value) = next(iter(plant.authorization.items()))
    admin, stranger = get(PUMP, f"{name}: {value}"), get(PUMP)

    for _ in range(2):
        for request, is_told in ((admin, True), (stranger, False), (stranger, False), (admin, True)):
            assert (b"for administrators" in (await client.ask(request)).body) == is_told


@pytest.mark.parametrize("parameter", ["auth", "auth=true", "%61uth"])
async def test_who_asks_the_authority_itself_asks_the_database(
    plant: RunningRegistry, client: RawClient, parameter: str
) -> None:
    await plant.put(PUMP, [desc("a")])

    for _ in range(3):
        await client.ask(get(f"{PUMP}?{parameter}"))

    assert await hits(plant) == 0


async def test_the_id_that_a_client_gives_is_told_back(plant: RunningRegistry, client: RawClient) -> None:
    await plant.put(PUMP, [desc("a")])
    await client.ask(get(PUMP))

    assert (await client.ask(get(PUMP, "X-Request-Id: of-a-client")))[b"X-Request-Id"] == b"of-a-client"
    assert (await client.ask(get(PUMP)))[b"X-Request-Id"] != b"of-a-client"


async def test_a_value_that_must_not_be_cached_is_not(plant: RunningRegistry, client: RawClient) -> None:
    await plant.put(PUMP, [{**desc("a"), "ttl": 0}])

    for _ in range(3):
        await client.ask(get(PUMP))

    assert await hits(plant) == 0
