"""The database goes away under load and comes back: every request is answered, nothing is invented, it heals."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import asyncpg

from protocol.codes import ResponseCode
from tests.support.asking import ask_tcp, ask_udp, resolution
from tests.support.postgres import TestPostgres
from tests.support.registries import RunningRegistry, running_registry

PUMP = "/api/handles/88.1/pump-7"
URL = {"index": 1, "type": "URL", "data": "https://plant.example/pump-7"}
ADMIN = {
    "index": 100,
    "type": "HS_ADMIN",
    "data": {
        "format": "admin",
        "value": {"handle": "88.1/ADMIN", "index": 300, "permissions": "111111111111"},
    },
}
HEALS_WITHIN_S = 30.0


async def eventually(condition: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    until_s = time.monotonic() + HEALS_WITHIN_S
    while not await condition():
        assert time.monotonic() < until_s, "it did not heal"
        await asyncio.sleep(0.2)


async def ready(registry: RunningRegistry) -> tuple[int, Any]:
    async with registry.session.get(registry.admin_base + "/health/ready") as response:
        return response.status, await response.json()


async def metric(registry: RunningRegistry, name: str) -> float:
    async with registry.session.get(registry.admin_base + "/metrics") as response:
        lines = (await response.text()).splitlines()
    return float(next(line for line in lines if line.startswith(name + " ")).split()[1])


async def test_a_node_survives_its_database_and_heals(own_postgres: TestPostgres, scratch: Path) -> None:
    async with running_registry(
        own_postgres.database(), scratch, answer_cache_octets_max=0, statistics_interval_s=0.2
    ) as plant:
        address = plant.node.addresses.udp[0]
        authorization = plant.authorization
        assert (await plant.put(PUMP, [URL, ADMIN])).status == 201

        await asyncio.to_thread(own_postgres.stop)

        answers = await asyncio.gather(*(ask_udp(address, resolution("88.1/pump-7")) for _ in range(20)))
        assert {answer.rc for answer in answers} == {ResponseCode.ERROR}
        assert (await ask_tcp(plant.node.addresses.tcp[0], resolution("88.1/x"))).rc == ResponseCode.ERROR
        read = await plant.get(PUMP)
        assert (read.status, read.rc) == (500, 2)
        assert "Retry-After" in read.headers
        for method in ("PUT", "DELETE"):
            refused = await plant.ask(method, PUMP, body=[URL, ADMIN], headers=authorization)
            assert (refused.status, refused.rc) == (500, 2)
            assert "may or may not" in refused.json["message"]
            assert str(own_postgres.directory) not in refused.json["message"]
        status, told = await ready(plant)
        assert status == 503
        assert "does not answer since" in told["reasons"]["database"]
        assert await metric(plant, "handlegrid_db_up") == 0
        async with plant.session.get(plant.admin_base + "/health/live") as response:
            assert response.status == 200

        await asyncio.to_thread(own_postgres.start)

        async def answers_again() -> bool:
            return (await ask_udp(address, resolution("88.1/pump-7"))).rc == ResponseCode.SUCCESS

        await eventually(answers_again)
        assert (await plant.put(PUMP, [{**URL, "data": "https://plant.example/2"}, ADMIN])).status == 200
        assert (await ready(plant))[0] == 200
        assert await metric(plant, "handlegrid_db_up") == 1


async def test_counters_of_the_day_survive_the_outage(own_postgres: TestPostgres, scratch: Path) -> None:
    dsn = own_postgres.database()
    async with running_registry(dsn, scratch, statistics_interval_s=0.2) as plant:
        address = plant.node.addresses.udp[0]
        await asyncio.to_thread(own_postgres.stop)
        for _ in range(3):
            await ask_udp(address, resolution("88.1/pump-7"))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(own_postgres.start)

        async def is_ready() -> bool:
            return (await ready(plant))[0] == 200

        await eventually(is_ready)
    connection = await asyncpg.connect(dsn)
    try:
        counts = await connection.fetchrow("SELECT sum(resolutions), sum(failures) FROM daily_statistics")
    finally:
        await connection.close()
    assert counts is not None
    assert (int(counts[0]), int(counts[1])) == (3, 3)


async def test_cached_answers_are_given_while_the_database_is_away(
    own_postgres: TestPostgres, scratch: Path
) -> None:
    async with running_registry(own_postgres.database(), scratch) as plant:
        address = plant.node.addresses.udp[0]
        await plant.put(PUMP, [URL, ADMIN])
        assert (await ask_udp(address, resolution("88.1/pump-7"))).rc == ResponseCode.SUCCESS

        await asyncio.to_thread(own_postgres.crash)

        assert (await ask_udp(address, resolution("88.1/pump-7"))).rc == ResponseCode.SUCCESS
        assert (await ask_udp(address, resolution("88.1/other"))).rc == ResponseCode.ERROR
