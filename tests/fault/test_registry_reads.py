"""Reads that share statements, under writes, and while the database hangs: nothing stale, nothing waits for ever."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, cast

import asyncpg
import pytest

from protocol.codes import ResponseCode
from protocol.handle import Handle
from protocol.message import decode_message
from protocol.value import HandleValue, ValueList
from registry import reads
from registry.outcomes import OPERATOR, Creation
from tests.support.asking import Address, Answered, read_answer, resolution
from tests.support.postgres import TestPostgres
from tests.support.registries import RunningRegistry, running_registry

HANDLES: Final = [f"88.1/race-{number}" for number in range(6)]
ROUNDS: Final = 60
READERS: Final = 24
UNWRITTEN: Final = None
KEYS: Final = 8


class Stranger(asyncio.DatagramProtocol):
    """A socket with many questions in flight, which matches answers by request id."""

    def __init__(self) -> None:
        self.waiting: dict[int, asyncio.Future[Answered]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: object) -> None:
        message = decode_message(data)
        waiting = self.waiting.pop(message.envelope.request_id, None)
        if waiting is not None:
            waiting.set_result(read_answer(message))

    async def ask(self, name: str) -> Answered:
        message = resolution(name)
        answer: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self.waiting[message.envelope.request_id] = answer
        self.transport.sendto(message.encode())
        async with asyncio.timeout(15):
            return await answer


@asynccontextmanager
async def stranger(address: Address) -> AsyncIterator[Stranger]:
    loop = asyncio.get_running_loop()
    transport, made = await loop.create_datagram_endpoint(Stranger, remote_addr=address)
    try:
        yield made
    finally:
        transport.close()


class History:
    """What was written to one handle, in order: an address, or None while it does not exist."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.begun: list[str | None] = [UNWRITTEN]
        self.acknowledged = 0

    async def write(self, registry: RunningRegistry, address: str | None) -> None:
        """Create, change or delete the handle."""
        self.begun.append(address)
        operations, handle = registry.node.operations, Handle.parse(self.name)
        if address is None:
            await operations.delete([handle], by=OPERATOR)
        else:
            value = HandleValue(index=1, type="URL", data=address.encode())
            creation = Creation(handle, ValueList.of([value]))
            await operations.create([creation], by=OPERATOR, replace=True)
        self.acknowledged = len(self.begun) - 1

    def check(self, answer: Answered, acknowledged: int) -> None:
        """What is answered was so at some moment since it was asked."""
        assert answer.rc in (ResponseCode.SUCCESS, ResponseCode.HANDLE_NOT_FOUND), answer
        assert answer.url in self.begun[acknowledged:], (answer.url, self.begun[acknowledged:])


@pytest.mark.parametrize("cache_octets", [0, 1_000_000])
async def test_no_answer_is_older_than_an_acknowledged_write(
    database: str, scratch: Path, cache_octets: int
) -> None:
    chance = random.Random()
    async with running_registry(database, scratch, answer_cache_octets_max=cache_octets) as plant:
        histories = [History(name) for name in HANDLES]
        ended = asyncio.Event()

        async def write(history: History) -> None:
            for number in range(ROUNDS):
                gone = chance.random() < 0.2 and history.begun[-1] is not None
                await history.write(plant, None if gone else f"https://plant.example/{number}")
                answer = await patient.ask(history.name)  # whoever writes reads what he wrote
                history.check(answer, history.acknowledged)

        async def read(asker: Stranger) -> int:
            asked = 0
            while not ended.is_set():
                history = chance.choice(histories)
                acknowledged = history.acknowledged
                history.check(await asker.ask(history.name), acknowledged)
                asked += 1
            return asked

        async with stranger(plant.node.addresses.udp[0]) as patient:
            readers = [asyncio.create_task(read(patient)) for _ in range(READERS)]
            await asyncio.gather(*(write(history) for history in histories))
            ended.set()
            counts = await asyncio.gather(*readers)
        assert sum(counts) > ROUNDS
        assert all(history.acknowledged == ROUNDS for history in histories)


@asynccontextmanager
async def hanging(dsn: str) -> AsyncIterator[None]:
    """Reads of handles hang for the duration of the block."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE handles IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


@asynccontextmanager
async def uncached(dsn: str, directory: Path) -> AsyncIterator[tuple[RunningRegistry, Stranger]]:
    """A node without an answer cache, and who asks it."""
    async with (
        running_registry(dsn, directory, answer_cache_octets_max=0) as plant,
        stranger(plant.node.addresses.udp[0]) as asker,
    ):
        yield plant, asker


@contextmanager
def changed(monkeypatch: pytest.MonkeyPatch, **values: float) -> Iterator[None]:
    """Limits of the reads for the duration of the block; small statements, lest a burst is more than sockets hold."""
    with monkeypatch.context() as patch:
        for name, value in ({"KEYS_MAX": KEYS} | values).items():
            patch.setattr(reads, name, value)
        yield


async def test_while_the_database_hangs_everybody_is_told_so_in_time(
    database: str, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with uncached(database, scratch) as (plant, asker):
        names = [f"88.1/unknown-{number}" for number in range(KEYS * 6)]
        assert (await asker.ask(names[0])).rc == ResponseCode.HANDLE_NOT_FOUND
        async with hanging(database):
            with changed(monkeypatch, READ_TIME_MAX_S=0.5):
                answers = await asyncio.gather(*(asker.ask(name) for name in names))
                over_http = await plant.get("/api/handles/88.1/unknown-1")
        assert {answer.rc for answer in answers} == {ResponseCode.ERROR}
        assert {answer.text for answer in answers} == {"The database of this server does not answer."}
        assert (over_http.status, over_http.rc) == (500, ResponseCode.ERROR)

        assert (await asker.ask(names[0])).rc == ResponseCode.HANDLE_NOT_FOUND


async def test_more_than_the_database_answers_is_refused_and_counted(
    database: str, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with uncached(database, scratch) as (plant, asker):
        await asker.ask("88.1/unknown")
        room = KEYS * (reads.LANES_MAX + 1)
        with changed(monkeypatch, WAITING_MAX=KEYS):
            async with hanging(database):
                asked = [
                    asyncio.create_task(asker.ask(f"88.1/unknown-{number}")) for number in range(room + 10)
                ]
                refused, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            answers = await asyncio.gather(*asked)
        assert {task.result().rc for task in refused} == {ResponseCode.SERVER_TOO_BUSY}
        assert {answer.rc for answer in answers} == {
            ResponseCode.SERVER_TOO_BUSY,
            ResponseCode.HANDLE_NOT_FOUND,
        }
        async with plant.session.get(plant.admin_base + "/metrics") as response:
            assert 'handlegrid_limit_reached_total{limit="waiting_reads"}' in await response.text()


async def test_reads_go_on_after_the_database_was_started_again(
    own_postgres: TestPostgres, scratch: Path
) -> None:
    async with uncached(own_postgres.database(), scratch) as (_, asker):
        assert (await asker.ask("88.1/unknown")).rc == ResponseCode.HANDLE_NOT_FOUND
        await asyncio.to_thread(own_postgres.crash)
        answers = await asyncio.gather(*(asker.ask(f"88.1/unknown-{number}") for number in range(100)))
        assert {answer.rc for answer in answers} == {ResponseCode.ERROR}

        await asyncio.to_thread(own_postgres.start)

        answers = await asyncio.gather(*(asker.ask(f"88.1/unknown-{number}") for number in range(100)))
        assert {answer.rc for answer in answers} == {ResponseCode.HANDLE_NOT_FOUND}
