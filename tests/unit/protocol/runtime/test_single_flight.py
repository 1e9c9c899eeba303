"""Shared work: one run for all, failures for all, and no one's cancellation but their own."""

import asyncio

import pytest

from protocol.runtime.single_flight import SingleFlight, TooBusy


class Work:
    """Work that ends when it is told to, and remembers how it went."""

    def __init__(self) -> None:
        self.runs = 0
        self.cancelled = False
        self.end: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def __call__(self) -> int:
        self.runs += 1
        try:
            return await asyncio.shield(self.end)
        except asyncio.CancelledError:
            self.cancelled = True
            raise


def flights(*, flights_max: int = 10, waiters_max: int = 10) -> SingleFlight[str, int]:
    return SingleFlight(flights_max=flights_max, waiters_max=waiters_max)


async def askers(
    flight: SingleFlight[str, int], work: Work, count: int
) -> list["asyncio.Task[tuple[int, bool]]"]:
    tasks = [asyncio.create_task(flight.run("key", work)) for _ in range(count)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_all_who_ask_meanwhile_share_one_run() -> None:
    flight, work = flights(), Work()
    tasks = await askers(flight, work, 3)
    work.end.set_result(7)

    assert await asyncio.gather(*tasks) == [(7, False), (7, True), (7, True)]
    assert work.runs == 1
    await asyncio.sleep(0)
    assert len(flight) == 0


async def test_a_failure_wakes_all_and_the_next_asker_begins_anew() -> None:
    flight, work = flights(), Work()
    tasks = await askers(flight, work, 3)
    work.end.set_exception(ValueError("broken"))

    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(result) for result in results] == ["broken"] * 3
    again = Work()
    again.end.set_result(1)
    assert await flight.run("key", again) == (1, False)


async def test_the_first_asker_may_leave_without_harm_to_the_others() -> None:
    flight, work = flights(), Work()
    first, second = await askers(flight, work, 2)
    first.cancel()
    await asyncio.sleep(0)
    work.end.set_result(7)

    assert await second == (7, True)
    assert first.cancelled()


async def test_work_for_nobody_is_cancelled_and_not_joined_any_more() -> None:
    flight, work = flights(), Work()
    tasks = await askers(flight, work, 2)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert len(flight) == 0
    await asyncio.sleep(0)
    assert work.cancelled


async def test_askers_of_one_key_are_bounded() -> None:
    flight, work = flights(waiters_max=2), Work()
    tasks = await askers(flight, work, 3)

    with pytest.raises(TooBusy, match="waiters_max = 2"):
        await tasks[2]
    work.end.set_result(1)
    await asyncio.gather(*tasks[:2])


async def test_keys_in_flight_are_bounded() -> None:
    flight, work = flights(flights_max=1), Work()
    tasks = await askers(flight, work, 1)

    with pytest.raises(TooBusy, match="resolutions_max = 1"):
        await flight.run("other", work)
    work.end.set_result(1)
    await asyncio.gather(*tasks)


async def test_closing_ends_the_work_and_tells_who_waits() -> None:
    flight, work = flights(), Work()
    (task,) = await askers(flight, work, 1)
    await flight.close()

    with pytest.raises(TooBusy):
        await task
    assert work.cancelled


async def test_a_waiter_that_fails_keeps_nothing_from_the_others() -> None:
    def fail(outcome: int | Exception) -> None:
        raise RuntimeError("a bug")

    flight: SingleFlight[str, int] = SingleFlight(flights_max=1, waiters_max=3)
    told: list[int | Exception] = []
    flight.take_off("a", fail)
    flight.join("a", told.append)
    flight.land("a", 7)
    assert told == [7]
