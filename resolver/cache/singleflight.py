"""Equal questions in flight share one piece of work."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from protocol.codes import ResponseCode
from protocol.errors import HandleError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class TooBusy(HandleError):
    """More questions are in flight, or wait for one of them, than a named limit allows."""

    code = ResponseCode.SERVER_TOO_BUSY

    def __init__(self, limit: str, allowed: int) -> None:
        """limit: the setting that bounds it, also a metric label; allowed: its value."""
        self.limit = limit
        super().__init__(f"too busy: {limit} = {allowed} is reached")


@dataclass(slots=True)
class _Flight(Generic[V]):
    task: "asyncio.Task[V]"
    waiters: int = 0


class SingleFlight(Generic[K, V]):
    """Runs work once per key at a time; everyone who asks meanwhile gets the same result or the same error.

    The work is a task of its own, so that the first asker may be cancelled without harm to the others;
    it is cancelled when the last asker has gone.
    """

    def __init__(self, *, flights_max: int, waiters_max: int) -> None:
        """flights_max bounds the keys in flight, waiters_max the askers per key."""
        self._flights_max = flights_max
        self._waiters_max = waiters_max
        self._flights: dict[K, _Flight[V]] = {}
        self._tasks: set[asyncio.Task[V]] = set()

    def __len__(self) -> int:
        return len(self._flights)

    async def run(self, key: K, work: Callable[[], Coroutine[Any, Any, V]]) -> tuple[V, bool]:
        """Return the result for a key, and whether it came from work that somebody else had begun.

        Raises TooBusy at a limit, and whatever the work raises.
        """
        flight = self._flights.get(key)
        joined = flight is not None
        if flight is None:
            flight = self._take_off(key, work)
        elif flight.waiters >= self._waiters_max:
            raise TooBusy("waiters_max", self._waiters_max)
        return await self._wait(key, flight), joined

    def _take_off(self, key: K, work: Callable[[], Coroutine[Any, Any, V]]) -> _Flight[V]:
        if len(self._flights) >= self._flights_max:
            raise TooBusy("resolutions_max", self._flights_max)
        flight = _Flight(asyncio.get_running_loop().create_task(work()))
        self._flights[key] = flight
        self._tasks.add(flight.task)
        flight.task.add_done_callback(lambda task: self._land(key, flight, task))
        return flight

    def _land(self, key: K, flight: _Flight[V], task: "asyncio.Task[V]") -> None:
        self._tasks.discard(task)
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not task.cancelled():
            task.exception()  # marks it as seen: the last asker may have gone in this very tick

    async def _wait(self, key: K, flight: _Flight[V]) -> V:
        flight.waiters += 1
        try:
            return await asyncio.shield(flight.task)
        except asyncio.CancelledError:
            asker = asyncio.current_task()
            if flight.task.cancelled() and (asker is None or not asker.cancelling()):
                raise TooBusy("stopping", 0) from None
            raise
        finally:
            flight.waiters -= 1
            if flight.waiters == 0 and not flight.task.done():
                self._abandon(key, flight)

    def _abandon(self, key: K, flight: _Flight[V]) -> None:
        flight.task.cancel()
        if self._flights.get(key) is flight:
            del self._flights[key]  # at once: whoever asks now begins anew

    async def close(self) -> None:
        """Cancel whatever is in flight and wait until it has ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
