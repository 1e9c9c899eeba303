"""The desk: few threads, bounded waiting, and every network by turns."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from registry.wire.desk import VERIFICATIONS, VERIFICATIONS_PER_SOURCE, Desk, DeskBusy


class Bench:
    """A desk of one thread, which a first check keeps until it is let go."""

    def __init__(self, **limits: int) -> None:
        self.limits: list[str] = []
        self.served: list[str] = []
        self.desk = Desk(1, on_limit=self.limits.append, **limits)
        self.gate = threading.Event()
        self.occupied: asyncio.Task[bool] | None = None

    def occupy(self) -> None:
        self.occupied = asyncio.create_task(self.desk.run("occupied", self.gate.wait))

    def come(self, network: str) -> "asyncio.Task[None]":
        return asyncio.create_task(self.desk.run(network, lambda: self.served.append(network)))


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench(waiting_max=5, per_source_max=3)
    made.occupy()
    await asyncio.sleep(0)
    yield made
    made.gate.set()
    made.desk.close()


async def test_a_check_gives_its_result_or_raises_its_error() -> None:
    desk = Desk(2, on_limit=list[str]().append)

    assert await desk.run("192.0.2.0/24", lambda: threading.current_thread().name.startswith("verify"))
    with pytest.raises(ZeroDivisionError):
        await desk.run("192.0.2.0/24", lambda: 1 // 0)
    desk.close()


async def test_networks_are_served_by_turns_whoever_came_first(bench: Bench) -> None:
    tasks = [bench.come(network) for network in ("flood", "flood", "flood", "quiet", "other")]
    await asyncio.sleep(0)
    bench.gate.set()
    await asyncio.gather(*tasks)

    assert bench.served == ["flood", "quiet", "other", "flood", "flood"]


async def test_a_network_that_waits_for_too_much_is_refused_and_nobody_else(bench: Bench) -> None:
    tasks = [bench.come("flood") for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(DeskBusy):
        await bench.come("flood")
    tasks.append(bench.come("quiet"))
    bench.gate.set()
    await asyncio.gather(*tasks)

    assert bench.limits == [VERIFICATIONS_PER_SOURCE]


async def test_no_more_wait_in_all_than_may(bench: Bench) -> None:
    tasks = [bench.come(str(number)) for number in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(DeskBusy):
        await bench.come("one too many")
    bench.gate.set()
    await asyncio.gather(*tasks)

    assert bench.limits == [VERIFICATIONS]


async def test_a_check_that_nobody_waits_for_any_more_is_left_out(bench: Bench) -> None:
    gone, waiting = bench.come("gone"), bench.come("waiting")
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    bench.gate.set()
    await waiting

    assert bench.served == ["waiting"]
