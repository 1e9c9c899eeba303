"""Single writes that come at once share a transaction, and with it the wait for the disk.

A commit costs the same for one handle as for fifty. What is asked for while a transaction is under way joins the next
one; a lone write starts at once. Nobody's write depends on anybody else's: what is refused is refused for itself, and
when a shared transaction fails, each of its writes is tried alone.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import asyncpg

from protocol.codes import ResponseCode
from protocol.errors import HandleError, StoreUnavailable
from registry.operations import Operations
from registry.outcomes import Origin
from registry.transaction import Transaction

GROUP_MAX: Final = 64
"""Writes of one transaction: each waits for all of them; beyond, nothing is gained per write."""
TRANSACTIONS_MAX: Final = 2
"""Shared transactions at a time: while one waits for the disk, the next one is prepared."""
WAITING_MAX: Final = 10_000
"""Writes that may wait; a few seconds' work, after which clients have given up."""
REGISTRATIONS_WAITING: Final = "registrations_waiting"
"""What the metric calls that limit."""

Asked = TypeVar("Asked")
Done = TypeVar("Done")
Answer = TypeVar("Answer")

Prepare = Callable[[Transaction], Awaitable[None]]
"""What comes before a write, in its transaction; what it raises ends this one write."""
Outcome = tuple[Any] | Exception
"""What settle gave, or why it did not come to that."""


class TooManyWaiting(HandleError):
    """More writes wait than can be done soon."""

    code = ResponseCode.SERVER_TOO_BUSY


@dataclass(slots=True, kw_only=True)
class Waiting(Generic[Asked]):
    """One write that somebody waits for."""

    asked: Asked
    origin: Origin
    """Who asks, for the audit log."""
    prepare: Prepare | None
    settle: Callable[[Transaction, Any], Awaitable[Any]]
    future: "asyncio.Future[Any]"

    def end(self, outcome: Outcome) -> None:
        """Answer whoever waits, if anybody still does."""
        if isinstance(outcome, Exception):
            self.fail(outcome)
        elif not self.future.done():
            self.future.set_result(outcome[0])

    def fail(self, error: BaseException) -> None:
        """Answer that it failed."""
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # a client that has given up leaves nobody to look at it


Perform = Callable[[Transaction, Sequence[Waiting[Asked]]], Awaitable[Sequence[Done]]]
"""Does what a group asks for and gives what came of each, in their order; an exception among these is a refusal."""


class Gathering(Generic[Asked, Done]):
    """Does single writes, several in a transaction under load."""

    def __init__(self, operations: Operations, perform: Perform[Asked, Done]) -> None:
        self._operations = operations
        self._perform = perform
        self._waiting: deque[Waiting[Asked]] = deque()
        self._running: set[asyncio.Task[None]] = set()

    async def do(
        self,
        asked: Asked,
        *,
        origin: Origin,
        settle: Callable[[Transaction, Done], Awaitable[Answer]],
        prepare: Prepare | None = None,
    ) -> Answer:
        """Do one write, and give what settle made of what came of it, after the commit.

        settle: what else belongs to the write, in its transaction: the answer, and what keeps it. It is not asked
        about a refusal, which is raised.
        Raises what prepare and settle raise, StoreUnavailable when the commit is not confirmed, and TooManyWaiting at
        once.
        """
        if len(self._waiting) >= WAITING_MAX:
            raise TooManyWaiting(f"{WAITING_MAX} writes are waiting for the database")
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(
            Waiting(asked=asked, origin=origin, prepare=prepare, settle=settle, future=future)
        )
        if len(self._running) < TRANSACTIONS_MAX:
            task = asyncio.create_task(self._run())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return await future

    async def close(self) -> None:
        """Wait until what was asked for is done."""
        while self._running:
            await asyncio.wait(self._running)

    async def _run(self) -> None:
        while self._waiting:
            count = min(GROUP_MAX, len(self._waiting))
            await self._serve([self._waiting.popleft() for _ in range(count)])

    async def _serve(self, group: Sequence[Waiting[Asked]]) -> None:
        """Answer everybody of a group, together if that works out."""
        try:
            outcomes = await self._do(group)
        except Exception as error:
            await self._serve_each(group, error)
            return
        except BaseException as error:
            for waiting in group:
                waiting.fail(error)
            raise
        for waiting, outcome in outcomes:
            waiting.end(outcome)

    async def _serve_each(self, group: Sequence[Waiting[Asked]], error: Exception) -> None:
        """What failed together is tried alone, so that none pays for another; an outage is everybody's."""
        if len(group) == 1 or isinstance(error, StoreUnavailable):
            for waiting in group:
                waiting.fail(error)
            return
        for waiting in group:
            await self._serve([waiting])

    async def _do(self, group: Sequence[Waiting[Asked]]) -> list[tuple[Waiting[Asked], Outcome]]:
        """What became of each, all in one transaction."""
        outcomes: list[tuple[Waiting[Asked], Outcome]] = []
        async with self._operations.transaction(group[0].origin) as transaction:
            ready = [waiting for waiting in group if await _prepare(waiting, transaction, outcomes)]
            done = await self._perform(transaction, ready)
            for waiting, result in zip(ready, done, strict=True):
                if isinstance(result, Exception):
                    outcomes.append((waiting, result))
                else:
                    outcomes.append((waiting, (await waiting.settle(transaction, result),)))
        return outcomes


async def _prepare(
    waiting: Waiting[Asked], transaction: Transaction, outcomes: list[tuple[Waiting[Asked], Outcome]]
) -> bool:
    """Whether a write goes on."""
    try:
        if waiting.prepare is not None:
            await waiting.prepare(transaction)
    except asyncpg.PostgresError:
        raise  # the transaction has ended for everybody
    except Exception as error:
        outcomes.append((waiting, error))
        return False
    return True
