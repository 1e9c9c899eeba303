"""Reads, writes and cache fills race on a real node: nothing older than an acknowledged write, nothing private."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from protocol.codes import DEFAULT_FLAGS, OpFlag, ResponseCode
from protocol.message import decode_message
from protocol.transport.fast_path import FastPath
from tests.support.asking import Answered, read_answer, resolution
from tests.support.registries import RunningRegistry, running_registry
from tests.support.transport import Datagrams

NAMES = [f"88.1/race-{number}" for number in range(4)]
WRITES = 30  # of each name
READERS = 6
READS_MIN = 1_500


@pytest.fixture
async def plant(
    database: str, scratch: Path, path: FastPath, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[RunningRegistry]:
    """A registry on one of the two data paths."""
    monkeypatch.setattr("registry.daemon.FAST_PATH", path)
    monkeypatch.setattr("protocol.transport.udp.FAST_PATH", path)
    async with running_registry(database, scratch, source_rate_per_s=0) as started:
        yield started


def record(version: int) -> list[dict[str, object]]:
    admin = {"handle": "88.1/ADMIN", "index": 300, "permissions": "111111111111"}
    return [
        {"index": 1, "type": "DESC", "data": str(version), "ttl": 3_600},
        {"index": 100, "type": "HS_ADMIN", "data": {"format": "admin", "value": admin}},
    ]


async def ask(client: Datagrams, name: str) -> Answered:
    request = resolution(name)
    client.send(request.encode())
    while True:
        answer = await client.receive()
        if answer[8:12] == request.envelope.request_id.to_bytes(4, "big"):
            return read_answer(decode_message(answer))


def version_of(answer: Answered) -> int:
    assert answer.rc == ResponseCode.SUCCESS
    return int(next(value.data for value in answer.values if value.index == 1))


async def test_no_read_that_starts_after_an_acknowledged_write_is_older(plant: RunningRegistry) -> None:
    acknowledged = dict.fromkeys(NAMES, 0)
    address = plant.node.addresses.udp[0]
    reads, writing = 0, len(NAMES)

    async def write(name: str) -> None:
        nonlocal writing
        with Datagrams(address) as client:
            for version in range(1, WRITES + 1):
                assert (await plant.put(f"/api/handles/{name}", record(version))).status < 300
                acknowledged[name] = version
                assert version_of(await ask(client, name)) == version
        writing -= 1

    async def read(seed: int) -> None:
        nonlocal reads
        source = random.Random(seed)
        with Datagrams(address) as client:
            while writing or reads < READS_MIN:
                name = source.choice(NAMES)
                at_least = acknowledged[name]
                answer = await ask(client, name)
                if at_least:
                    assert at_least <= version_of(answer) <= acknowledged[name] + 1
                reads += 1

    async with asyncio.TaskGroup() as group:
        for name in NAMES:
            group.create_task(write(name))
        for seed in range(READERS):
            group.create_task(read(seed))
    assert reads >= READS_MIN


async def test_nothing_private_enters_the_cache_or_comes_out_of_it(plant: RunningRegistry) -> None:
    secret = {"index": 3, "type": "DESC", "data": "hunter2", "permissions": "1100", "ttl": 3_600}
    target = "/api/handles/88.1/private"
    assert (await plant.put(target, [*record(1), secret])).status == 201
    every = DEFAULT_FLAGS & ~OpFlag.PUBL
    with Datagrams(plant.node.addresses.udp[0]) as client:
        for flags in (DEFAULT_FLAGS, every, every | OpFlag.AUTH, every | OpFlag.RRDG):
            for indexes in ((), (3,), (1, 3)):
                for _ in range(3):
                    request = resolution("88.1/private", indexes=indexes, flags=flags).encode()
                    client.send(request)
                    answer = await client.receive()
                    assert answer[8:12] == request[8:12]
                    assert b"hunter2" not in answer

    shown = await plant.ask("GET", target, headers=plant.authorization)
    assert b"hunter2" in shown.body  # who may see it does, and nobody after him
    assert b"hunter2" not in (await plant.get(target)).body


async def test_sessions_and_credentials_pass_the_cache_by(plant: RunningRegistry) -> None:
    assert (await plant.put("/api/handles/88.1/session", record(1))).status == 201

    async def entries() -> float:
        async with plant.session.get(plant.admin_base + "/metrics") as response:
            lines = (await response.text()).splitlines()
        (line,) = [line for line in lines if line.startswith('handlegrid_cache_entries{cache="answers"')]
        return float(line.split()[-1])

    plain = resolution("88.1/session").encode()
    with Datagrams(plant.node.addresses.udp[0]) as client:
        client.send(plain)
        warm = await client.receive()
        assert await entries() == 1
        in_session = plain[:4] + b"\0\0\0\5" + plain[8:]
        signed = plain[:16] + (len(plain) - 20 + 4).to_bytes(4, "big") + plain[20:-4] + b"\0\0\0\4sign"
        for odd in (in_session, signed):
            for _ in range(2):
                client.send(odd)
                answer = await client.receive()
                assert answer[4:12] == odd[4:12]
        assert await entries() == 1
        client.send(plain)
        assert (await client.receive())[44:] == warm[44:]
