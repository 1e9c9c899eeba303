"""Requests that name another worker: over real local sockets, in one event loop."""

import asyncio
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from protocol.codes import ResponseCode
from protocol.message import decode_message
from protocol.runtime.session_ids import OWN_BITS
from protocol.runtime.workers import handover, neighbour
from protocol.runtime.workers.handover import HandOver
from protocol.transport.base import Answer, Peer, Reply, Responder
from tests.support.transport import WAIT_S, resolution

PEER = Peer("192.0.2.1", 4711, "udp")


def naming(worker: int, rest: int = 5) -> bytes:
    """A request whose session id names a worker."""
    octets = bytearray(resolution().encode())
    octets[4:8] = (worker << OWN_BITS | rest).to_bytes(4, "big")
    return bytes(octets)


class Answering:
    """A worker's own answers: its number and the request, octet for octet."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.asked: list[tuple[bytes, Peer]] = []

    def __call__(self, octets: bytes, peer: Peer, reply: Reply) -> None:
        self.asked.append((octets, peer))
        reply(Answer(octets=bytes([self.number]) + octets, keep_open=True))


Make = Callable[[int, Responder], HandOver]


@asynccontextmanager
async def workers(
    place: Path, *responders: Responder, on_limit: Callable[[str], None] = lambda _: None
) -> AsyncIterator[list[HandOver]]:
    async with AsyncExitStack() as resources:
        made = []
        for number, responder in enumerate(responders, 1):
            one = HandOver(number, len(responders), place, responder, on_limit)
            await one.open()
            resources.push_async_callback(one.close)
            made.append(one)
        yield made


async def ask(worker: HandOver, octets: bytes) -> Answer | None:
    answered: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
    assert worker.take(octets, PEER, answered.set_result)
    async with asyncio.timeout(WAIT_S):
        return await answered


async def test_a_request_is_answered_by_the_worker_that_its_session_names(scratch: Path) -> None:
    first, second = Answering(1), Answering(2)
    async with workers(scratch, first, second) as (one, other):
        for _ in range(3):
            answer = await ask(one, naming(2))
            assert answer is not None
            assert answer.octets == b"\2" + naming(2)
            assert answer.keep_open
        assert second.asked == [(naming(2), PEER)] * 3
        back = await ask(other, naming(1))
        assert back is not None
        assert back.octets == b"\1" + naming(1)


async def test_what_names_no_other_worker_stays(scratch: Path) -> None:
    async with workers(scratch, Answering(1), Answering(2)) as (one, _):
        for octets in (
            resolution().encode(),
            naming(0, 10_001),  # as IDIS clients make them up
            naming(1),
            naming(3),
            naming(63),
            naming(66),  # negative
            b"",
            b"\2\13",
        ):
            assert not one.take(octets, PEER, lambda _: pytest.fail("nothing was taken"))


async def test_only_the_user_of_the_node_may_connect(scratch: Path) -> None:
    async with workers(scratch, Answering(1)):
        mode = (scratch / "1").stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600


async def test_silence_is_handed_back_and_leaves_the_connection_usable(scratch: Path) -> None:
    def silent(_octets: bytes, _peer: Peer, reply: Reply) -> None:
        reply(None)

    async with workers(scratch, Answering(1), silent) as (one, _):
        assert await ask(one, naming(2)) is None
        assert await ask(one, naming(2)) is None


async def test_an_answer_of_many_messages_comes_in_order_and_many_at_once(scratch: Path) -> None:
    async def messages(first: bytes) -> AsyncGenerator[bytes, None]:
        for number in range(50):
            yield first + bytes([number]) * 5_000

    def listing(octets: bytes, _peer: Peer, reply: Reply) -> None:
        reply(Answer(octets=octets, more=messages(octets[4:8])))

    async def read(one: HandOver, rest: int) -> None:
        answer = await ask(one, naming(2, rest))
        assert answer is not None
        assert answer.more is not None
        assert answer.octets == naming(2, rest)
        session_id = answer.octets[4:8]
        assert [part async for part in answer.more] == [part async for part in messages(session_id)]

    async with workers(scratch, Answering(1), listing) as (one, _):
        await asyncio.gather(*(read(one, rest) for rest in range(20)))
        await read(one, 99)


@pytest.mark.parametrize("taken", [0, 1])
async def test_a_client_that_goes_away_ends_the_work_of_the_other_worker(scratch: Path, taken: int) -> None:
    ended = asyncio.Event()

    async def endless() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield bytes(60_000)
                await asyncio.sleep(0)
        finally:
            ended.set()

    def listing(octets: bytes, _peer: Peer, reply: Reply) -> None:
        reply(Answer(octets=octets, more=endless()))

    async with workers(scratch, Answering(1), listing) as (one, _):
        answer = await ask(one, naming(2))
        assert answer is not None
        assert answer.more is not None
        for _ in range(taken):
            await anext(answer.more)
        await answer.more.aclose()
        async with asyncio.timeout(WAIT_S):
            await ended.wait()


async def test_without_the_other_worker_the_request_is_answered_here(scratch: Path) -> None:
    here = Answering(1)
    async with workers(scratch, here, Answering(2)) as (one, other):
        await ask(one, naming(2))
        await other.close()
        answer = await ask(one, naming(2))
        assert answer is not None
        assert answer.octets == b"\1" + naming(2)
        assert here.asked == [(naming(2), PEER)]


async def test_a_worker_that_ends_before_it_has_answered_leaves_the_request_to_this_one(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "DRAIN_S", 0.0)
    asked = asyncio.Event()

    def never(_octets: bytes, _peer: Peer, _reply: Reply) -> None:
        asked.set()

    async with workers(scratch, Answering(1), never) as (one, other):
        asking = asyncio.create_task(ask(one, naming(2)))
        await asked.wait()
        await other.close()
        answer = await asking
        assert answer is not None
        assert answer.octets == b"\1" + naming(2)


async def test_a_successor_takes_over_the_place_at_once(scratch: Path) -> None:
    async with workers(scratch, Answering(1), Answering(2)) as (one, other):
        await ask(one, naming(2))
        successor = HandOver(2, 2, scratch, Answering(22))
        await successor.open()
        await other.close()
        answer = await ask(one, naming(2))
        assert answer is not None
        assert answer.octets[0] == 22
        await successor.close()


async def test_a_worker_that_does_not_answer_in_time_is_told_of(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbour, "ANSWER_S", 0.0)
    async with workers(scratch, Answering(1), lambda *_: None) as (one, _):
        answer = await ask(one, naming(2))
        assert answer is not None
        assert decode_message(answer.octets).header.response_code == ResponseCode.ERROR


async def test_no_more_wait_for_one_worker_than_allowed(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "HANDED_MAX", 2)
    waiting: asyncio.Queue[Reply] = asyncio.Queue()
    limits: list[str] = []

    def later(_octets: bytes, _peer: Peer, reply: Reply) -> None:
        waiting.put_nowait(reply)

    async with workers(scratch, Answering(1), later, on_limit=limits.append) as (one, _):
        asking = [asyncio.create_task(ask(one, naming(2))) for _ in range(2)]
        replies = [await waiting.get(), await waiting.get()]
        refused = await ask(one, naming(2))
        assert refused is not None
        assert decode_message(refused.octets).header.response_code == ResponseCode.SERVER_TOO_BUSY
        assert limits == [handover.HAND_OVER]
        for reply in replies:
            reply(None)
        assert await asyncio.gather(*asking) == [None, None]
