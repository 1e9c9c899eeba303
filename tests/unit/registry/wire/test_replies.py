"""Stored replies: what is done is done once, however often it is asked for."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from protocol.transport.base import Answer
from registry.wire.replies import (
    ENTRY_OCTETS,
    KEPT_S,
    STORED_REPLIES,
    STORED_REPLIES_PER_SOURCE,
    Key,
    StoredReplies,
)

KEY: Key = ("192.0.2.1", 0, 1, bytes(32))


class Bench:
    """A store with a clock that tests turn, and work that counts how often it is done."""

    def __init__(self, **limits: int) -> None:
        self.now_s = 100.0
        self.limits: list[str] = []
        self.done = 0
        self.gate: asyncio.Event | None = None
        self.error: Exception | None = None
        self.replies = StoredReplies(clock=lambda: self.now_s, on_limit=self.limits.append, **limits)

    async def work(self) -> Answer:
        self.done += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Answer(octets=b"%d" % self.done)

    async def ask(self, key: Key = KEY) -> bytes:
        return (await self.replies.once(key, self.work)).octets


async def test_the_same_request_gets_the_same_reply() -> None:
    bench = Bench()

    assert [await bench.ask() for _ in range(3)] == [b"1", b"1", b"1"]
    assert await bench.ask(("192.0.2.2", *KEY[1:])) == b"2"


async def test_a_request_that_is_being_done_is_waited_for() -> None:
    bench = Bench()
    bench.gate = asyncio.Event()
    asked = [asyncio.create_task(bench.ask()) for _ in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asked[1].cancel()  # who goes away takes nobody with him
    bench.gate.set()

    assert await asked[0] == b"1"
    assert await asked[2] == b"1"
    assert bench.done == 1


async def test_what_failed_is_kept_for_nobody() -> None:
    bench = Bench()
    bench.error = RuntimeError("a bug")
    with pytest.raises(RuntimeError):
        await bench.ask()
    bench.error = None

    assert await bench.ask() == b"2"


async def test_a_reply_is_kept_for_a_minute() -> None:
    bench = Bench()
    await bench.ask()
    bench.now_s += KEPT_S

    assert await bench.ask() == b"2"
    assert len(bench.replies) == 1


async def test_an_answer_of_several_messages_is_not_kept() -> None:
    bench = Bench()

    async def more() -> AsyncGenerator[bytes, None]:
        yield b"x"

    async def work() -> Answer:
        bench.done += 1
        return Answer(octets=b"first", more=more())

    for _ in range(2):
        answer = await bench.replies.once(KEY, work)
        assert answer.more is not None
        await answer.more.aclose()
    assert (bench.done, len(bench.replies)) == (2, 0)


@pytest.mark.parametrize("limits", [{"entries_max": 2}, {"octets_max": 2 * (ENTRY_OCTETS + 1)}])
async def test_where_there_is_no_room_the_oldest_goes(limits: dict[str, int]) -> None:
    bench = Bench(**limits)
    for number in range(3):
        await bench.ask((*KEY[:2], number, KEY[3]))

    assert len(bench.replies) == 2
    assert bench.limits == [STORED_REPLIES]


@pytest.mark.parametrize("limits", [{"per_source_max": 2}, {"octets_per_source_max": 2 * (ENTRY_OCTETS + 1)}])
async def test_a_source_displaces_its_own_replies_alone(limits: dict[str, int]) -> None:
    bench = Bench(**limits)
    other = ("198.51.100.1", *KEY[1:])
    assert await bench.ask(other) == b"1"
    for number in range(4):
        await bench.ask((f"192.0.2.{number}", 0, number, KEY[3]))

    assert await bench.ask(other) == b"1"
    assert len(bench.replies) == 3
    assert bench.limits == [STORED_REPLIES_PER_SOURCE] * 2
    bench.now_s += KEPT_S
    assert await bench.ask() == b"6"
    assert len(bench.replies) == 1
