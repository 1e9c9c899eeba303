"""Single registrations that come at once share a transaction, and with it the wait for the disk.

A commit costs the same for one handle as for fifty. What is asked for while a transaction is under way joins the next
one; a lone registration starts at once. Nobody's registration depends on anybody else's: what is refused is refused
for itself, and when a shared transaction fails, each of its registrations is tried alone.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import asyncpg

from protocol.errors import HandleError, StoreUnavailable
from registry.creation import Creations
from registry.operations import Operations
from registry.outcomes import Actor, Creation, Origin, Rejected, Result
from registry.transaction import Transaction
from registry.writing import State

GROUP_MAX: Final = 64
"""Registrations of one transaction: each waits for all of them; beyond, nothing is gained per registration."""
TRANSACTIONS_MAX: Final = 2
"""Shared transactions at a time: while one waits for the disk, the next one is prepared."""
WAITING_MAX: Final = 10_000
"""Registrations that may wait; a few seconds' work, after which clients have given up."""

T = TypeVar("T")
Prepare = Callable[[Transaction], Awaitable[None]]
"""What comes before a registration, in its transaction; what it raises ends this one registration."""
Settle = Callable[[Transaction, Result], Awaitable[T]]
"""What else belongs to a registration, in its transaction, once its result is known: the answer, and what keeps it.
What it raises for a rejection is the answer; raised for anything else, it undoes the registration."""


class TooManyWaiting(HandleError):
    """More registrations wait than can be done soon."""


Outcome = tuple[Any] | Exception
"""What settle gave, or why it did not come to that."""


@dataclass(slots=True, kw_only=True)
class _Waiting(Generic[T]):
    """One registration that somebody waits for."""

    creation: Creation
    by: Actor
    origin: Origin
    prepare: Prepare | None
    settle: Settle[T]
    future: "asyncio.Future[T]"

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


class SharedCreations:
    """Creates single handles, several in a transaction under load."""

    def __init__(self, operations: Operations, *, state: State = State.STORED) -> None:
        """state: in which the handles begin, STORED or DRAFT."""
        self._operations = operations
        self._state = state
        self._waiting: deque[_Waiting[Any]] = deque()
        self._running: set[asyncio.Task[None]] = set()

    async def create(
        self,
        creation: Creation,
        *,
        by: Actor,
        origin: Origin,
        settle: Settle[T],
        prepare: Prepare | None = None,
    ) -> T:
        """Create one handle with the administrators of its prefix, and give what settle made of the result.

        Returns after the commit. Raises what prepare and settle raise, StoreUnavailable when the commit is not
        confirmed, and TooManyWaiting at once.
        """
        if len(self._waiting) >= WAITING_MAX:
            raise TooManyWaiting(f"{WAITING_MAX} registrations are waiting for the database")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(
            _Waiting(creation=creation, by=by, origin=origin, prepare=prepare, settle=settle, future=future)
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

    async def _serve(self, group: Sequence[_Waiting[Any]]) -> None:
        """Answer everybody of a group, together if that works out."""
        try:
            outcomes = await self._create(group)
        except Exception as error:
            await self._serve_each(group, error)
            return
        except BaseException as error:
            for waiting in group:
                waiting.fail(error)
            raise
        for waiting, outcome in outcomes:
            waiting.end(outcome)

    async def _serve_each(self, group: Sequence[_Waiting[Any]], error: Exception) -> None:
        """What failed together is tried alone, so that none pays for another; an outage is everybody's."""
        if len(group) == 1 or isinstance(error, StoreUnavailable):
            for waiting in group:
                waiting.fail(error)
            return
        for waiting in group:
            await self._serve([waiting])

    async def _create(self, group: Sequence[_Waiting[Any]]) -> list[tuple[_Waiting[Any], Outcome]]:
        """What became of each, all in one transaction, each with an entry of its own in the audit log."""
        outcomes: list[tuple[_Waiting[Any], Outcome]] = []
        async with self._operations.transaction(group[0].origin) as transaction:
            ready = [waiting for waiting in group if await _prepare(waiting, transaction, outcomes)]
            results = await Creations(self._operations.context).create(
                transaction,
                [waiting.creation for waiting in ready],
                by=[waiting.by for waiting in ready],
                replace=False,
                inherit_admin=True,
                state=self._state,
                origins=[waiting.origin for waiting in ready],
            )
            for waiting, result in zip(ready, results, strict=True):
                outcomes.append((waiting, await _settle(waiting, transaction, result)))
        return outcomes


async def _prepare(
    waiting: _Waiting[Any], transaction: Transaction, outcomes: list[tuple[_Waiting[Any], Outcome]]
) -> bool:
    """Whether a registration goes on."""
    try:
        if waiting.prepare is not None:
            await waiting.prepare(transaction)
    except asyncpg.PostgresError:
        raise  # the transaction has ended for everybody
    except Exception as error:
        outcomes.append((waiting, error))
        return False
    return True


async def _settle(waiting: _Waiting[Any], transaction: Transaction, result: Result) -> Outcome:
    try:
        return (await waiting.settle(transaction, result),)
    except Exception as error:
        if isinstance(result, Rejected) and not isinstance(error, asyncpg.PostgresError):
            return error
        raise  # the handle must not stay without what belongs to it
