"""The desk where answers to challenges are checked: few threads, and every source network has its turn.

One check by PBKDF2 takes five milliseconds of a core, and anybody may ask for one. So a bounded number runs at once, a
bounded number waits, and the networks that wait are served by turns: who sends a flood waits for himself.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from protocol.codes import ResponseCode
from protocol.errors import HandleError

WAITING_MAX: Final = (
    1_024  # in all; at five milliseconds each and two threads, clients give up on what comes later
)
WAITING_PER_SOURCE_MAX: Final = 128  # of one source network
VERIFICATIONS: Final = "verifications"
VERIFICATIONS_PER_SOURCE: Final = "verifications_per_source"
"""Names of the limits."""

T = TypeVar("T")


class DeskBusy(HandleError):
    """More checks are asked for than may wait."""

    code = ResponseCode.SERVER_TOO_BUSY


@dataclass(slots=True)
class _Check:
    work: Callable[[], Any]
    done: "asyncio.Future[Any]"


class Desk:
    """Runs checks in threads of its own; close() ends them."""

    def __init__(
        self,
        threads: int,
        *,
        on_limit: Callable[[str], None],
        waiting_max: int = WAITING_MAX,
        per_source_max: int = WAITING_PER_SOURCE_MAX,
    ) -> None:
        """on_limit: told of each check that is refused, by the name of the limit."""
        self._free = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="verify")
        self._on_limit = on_limit
        self._waiting_max = waiting_max
        self._per_source_max = per_source_max
        self._waiting = 0
        self._sources: OrderedDict[str, deque[_Check]] = OrderedDict()

    async def run(self, network: str, work: Callable[[], T]) -> T:
        """What work gives, called in a thread when it is this network's turn. Raises DeskBusy, and what work raises."""
        queue = self._sources.get(network)
        if queue is not None and len(queue) >= self._per_source_max:
            self._refuse(VERIFICATIONS_PER_SOURCE)
        if self._waiting >= self._waiting_max:
            self._refuse(VERIFICATIONS)
        check = _Check(work, asyncio.get_running_loop().create_future())
        self._sources.setdefault(network, deque()).append(check)
        self._waiting += 1
        self._start()
        result: T = await check.done
        return result

    def close(self) -> None:
        """Check nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _refuse(self, limit: str) -> None:
        self._on_limit(limit)
        raise DeskBusy("more credentials wait to be checked than this server can; try again in a moment")

    def _start(self) -> None:
        """Give the free threads to the networks whose turn it is."""
        while self._free and self._sources:
            network, queue = self._sources.popitem(last=False)
            check = queue.popleft()
            self._waiting -= 1
            if queue:
                self._sources[network] = queue  # behind all others
            if not check.done.done():  # whoever asked may be gone
                self._free -= 1
                task = asyncio.get_running_loop().run_in_executor(self._pool, check.work)
                task.add_done_callback(lambda task, check=check: self._ended(task, check))  # type: ignore[misc]

    def _ended(self, task: "asyncio.Future[Any]", check: _Check) -> None:
        self._free += 1
        error = None if task.cancelled() else task.exception()
        if check.done.done():
            pass
        elif task.cancelled():
            check.done.cancel()
        elif error is not None:
            check.done.set_exception(error)
        else:
            check.done.set_result(task.result())
        self._start()
