"""Equal questions in flight share one piece of work."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

import structlog

from protocol.codes import ResponseCode
from protocol.errors import HandleError

log = structlog.get_logger(__name__)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Waiter = Callable[[V | Exception], None]
"""Told once: the result, or why there is none."""


class TooBusy(HandleError):
    """More questions are in flight, or wait for one of them, than a named limit allows."""

    code = ResponseCode.SERVER_TOO_BUSY

    def __init__(self, limit: str, allowed: int) -> None:
        """limit: the setting that bounds it, also a metric label; allowed: its value."""
        self.limit = limit
        super().__init__(f"too busy: {limit} = {allowed} is reached")


class _Flight(Generic[V]):
    __slots__ = ("task", "waiters")

    def __init__(self, waiter: Waiter[V]) -> None:
        self.waiters = [waiter]
        self.task: asyncio.Task[V] | None = None


class SingleFlight(Generic[K, V]):
    """One piece of work per key at a time; everyone who asks meanwhile gets the same result or the same error.

    The work is a task, or somebody's who calls land(). A task ends when the last asker has gone; the first may leave
    without harm to the others.
    """

    def __init__(self, *, flights_max: int, waiters_max: int) -> None:
        """flights_max bounds the keys in flight, waiters_max the askers per key."""
        self._flights_max = flights_max
        self._waiters_max = waiters_max
        self._flights: dict[K, _Flight[V]] = {}
        self._tasks: set[asyncio.Task[V]] = set()

    def __len__(self) -> int:
        return len(self._flights)

    def __contains__(self, key: K) -> bool:
        return key in self._flights

    async def run(self, key: K, work: Callable[[], Coroutine[Any, Any, V]]) -> tuple[V, bool]:
        """Return the result for a key, and whether it came from work that somebody else had begun.

        Raises TooBusy at a limit, and whatever the work raises.
        """
        waiting: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        waiter = partial(_tell, waiting)
        joined = self.join(key, waiter)
        if not joined:
            self.take_off(key, waiter)
            self.carry_on(key, work())
        flight = self._flights[key]
        try:
            return await waiting, joined
        except asyncio.CancelledError:
            self._leave(key, flight, waiter)
            _ = waiting.cancelled() or waiting.exception()  # nobody is left to whom it could be a surprise
            raise

    def join(self, key: K, waiter: Waiter[V]) -> bool:
        """Wait for the work on a key; False when there is none. Raises TooBusy at the limit."""
        flight = self._flights.get(key)
        if flight is None:
            return False
        if len(flight.waiters) >= self._waiters_max:
            raise TooBusy("waiters_max", self._waiters_max)
        flight.waiters.append(waiter)
        return True

    def take_off(self, key: K, waiter: Waiter[V]) -> None:
        """Begin work on a key that has none; whoever calls this does the work. Raises TooBusy at the limit."""
        if len(self._flights) >= self._flights_max:
            raise TooBusy("resolutions_max", self._flights_max)
        self._flights[key] = _Flight(waiter)

    def carry_on(self, key: K, work: Coroutine[Any, Any, V]) -> None:
        """Leave the work on a key in flight to a task."""
        flight = self._flights[key]
        flight.task = task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(partial(self._task_ended, key, flight))

    def land(self, key: K, outcome: V | Exception) -> None:
        """The work on a key in flight has ended."""
        for waiter in self._flights.pop(key).waiters:
            try:
                waiter(outcome)
            except Exception:  # a bug in one must not keep the others from being told
                log.exception("waiter_failed")

    def _task_ended(self, key: K, flight: _Flight[V], task: "asyncio.Task[V]") -> None:
        self._tasks.discard(task)
        outcome = _outcome(task)
        if self._flights.get(key) is flight:
            self.land(key, outcome)

    def _leave(self, key: K, flight: _Flight[V], waiter: Waiter[V]) -> None:
        if waiter in flight.waiters:
            flight.waiters.remove(waiter)
        if not flight.waiters and flight.task is not None and self._flights.get(key) is flight:
            flight.task.cancel()
            del self._flights[key]  # at once: whoever asks now begins anew

    async def close(self) -> None:
        """Tell whoever waits that nothing comes any more, and end the tasks in flight."""
        while self._tasks:  # work may be left to a task until the last exchange has ended
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for key in list(self._flights):
            self.land(key, TooBusy("stopping", 0))


def _outcome(task: "asyncio.Task[V]") -> V | Exception:
    if task.cancelled():
        return TooBusy("stopping", 0)
    error = task.exception()
    if error is None:
        return task.result()
    assert isinstance(error, Exception)
    return error


def _tell(waiting: "asyncio.Future[V]", outcome: V | Exception) -> None:
    if waiting.done():
        return
    if isinstance(outcome, Exception):
        waiting.set_exception(outcome)
    else:
        waiting.set_result(outcome)
