"""Reads of handles for those who may see what everybody sees: many keys in one statement when there is load.

What is asked while every lane is busy waits together and is one statement, and what is asked in one tick of the event
loop is one as well; a lone read goes at once. Measured, 32 keys in one statement cost a sixth of 32 statements.
A read never joins a statement that has already started: what it is asked for might have changed since.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final, Protocol

import asyncpg
import structlog

from protocol.codes import ResponseCode
from protocol.errors import StoreUnavailable
from protocol.value import ValueList
from registry.writing import State

KEYS_MAX: Final = 64
"""Keys of one statement; with twice as many, a key costs a tenth less and waits for twice as many others."""
LANES_USUAL: Final = 2
"""Statements at once: the next one is gathered and on its way while the database works on this one."""
LANES_MAX: Final = 4
"""Statements at once while whole statements wait: a database that reads from its disk does more side by side."""
WAITING_MAX: Final = 8_192
"""Keys that wait for a statement; a database that is so far behind answers none of them in time."""
WAITING_READS: Final = "waiting_reads"
"""What the metric calls that limit."""
READ_TIME_MAX_S: Final = 5.0
"""From the question to the answer; deployed clients retry three times in three seconds, then go elsewhere."""

log = structlog.get_logger(__name__)


class PublicRow(asyncpg.Record):
    """What everybody may know of a handle: key, public values, their count, state, and how many values are not public.
    As the database sent it.
    """

    __slots__ = ()

    @property
    def key(self) -> bytes:
        """The storage key."""
        return self[0]  # type: ignore[no-any-return]

    @property
    def public(self) -> ValueList:
        """The public values, ready to be sent."""
        return ValueList(self[1], self[2])

    @property
    def state(self) -> int:
        """One of State."""
        return self[3]  # type: ignore[no-any-return]

    @property
    def restricted_count(self) -> int:
        """How many other values there are."""
        return self[4]  # type: ignore[no-any-return]

    @property
    def in_force(self) -> bool:
        """Whether what it says counts: it exists, and is neither a draft nor suspended."""
        return self[3] in (State.STORED, State.RETIRED)


class Waiter(Protocol):
    """Who has asked. One of both is called, once, from the event loop and never from within ask()."""

    def found(self, row: PublicRow | None) -> None:
        """The row, deleted or not; None when there never was one."""

    def failed(self, error: BaseException) -> None:
        """The database did not answer."""


class Lane(Protocol):
    """A connection that reads, for one statement at a time."""

    async def fetch(self, keys: Sequence[bytes], within_s: float) -> Sequence[PublicRow]:
        """The rows of those keys that have one. Raises StoreUnavailable, also when it takes longer."""

    async def close(self) -> None:
        """Closes the connection, if it is open; for a moment at most."""


class StoreBusy(StoreUnavailable):
    """More is asked of the database than it answers."""

    code = ResponseCode.SERVER_TOO_BUSY


class _Statement:
    """Keys that are read together, and who waits for each."""

    __slots__ = ("asked_s", "keys", "waiters")

    def __init__(self) -> None:
        self.asked_s = monotonic()
        self.keys: list[bytes] = []
        self.waiters: list[Waiter] = []

    def answer(self, rows: Sequence[PublicRow]) -> None:
        """Tell everybody what was read; who raises takes nobody with it."""
        found = {row[0]: row for row in rows}
        for key, waiter in zip(self.keys, self.waiters, strict=True):
            try:
                waiter.found(found.get(key))
            except Exception:
                log.exception("reader_failed")

    def fail(self, error: BaseException) -> None:
        """Tell everybody that nothing was read."""
        for waiter in self.waiters:
            try:
                waiter.failed(error)
            except Exception:
                log.exception("reader_failed")


class SharedReads:
    """Gathers keys into statements."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        *,
        on_wait: Callable[[float], None] | None = None,
        on_busy: Callable[[], None] | None = None,
    ) -> None:
        """lanes: LANES_MAX of them, fewer in tests. on_wait: told how many seconds each statement waited for a lane.
        on_busy: told of every read that was refused.
        """
        self._on_wait = on_wait
        self._on_busy = on_busy
        self._idle = list(lanes)
        self._tasks: dict[Lane, asyncio.Task[None] | None] = dict.fromkeys(lanes)
        self._busy = 0
        self._waiting: deque[_Statement] = deque()
        self._closed = False

    def ask(self, key: bytes, waiter: Waiter) -> None:
        """Read a key with a statement that starts after this call. Raises StoreBusy, or StoreUnavailable once closed.

        Who is waiting hears within READ_TIME_MAX_S.
        """
        waiting = self._waiting
        if not waiting or len(waiting[-1].keys) >= KEYS_MAX:
            self._open()
        statement = waiting[-1]
        statement.keys.append(key)
        statement.waiters.append(waiter)

    async def read(self, key: bytes) -> PublicRow | None:
        """The row, read by a statement that starts after this call. Raises what the statement raises."""
        waiter = _Reader(asyncio.get_running_loop().create_future())
        self.ask(key, waiter)
        return await waiter.future

    async def close(self) -> None:
        """Wait until what was asked for is answered, and close the connections."""
        self._closed = True
        running = [task for task in self._tasks.values() if task is not None]
        if running:
            await asyncio.wait(running)
        for lane in self._tasks:
            await lane.close()

    def _open(self) -> None:
        """Begin to gather a statement, and see to it that it will be sent."""
        if self._closed:
            raise StoreUnavailable("the database is closed")
        waiting = self._waiting
        if len(waiting) * KEYS_MAX >= WAITING_MAX:
            if self._on_busy:
                self._on_busy()
            raise StoreBusy("too many reads wait for the database")
        lanes = LANES_MAX if waiting else LANES_USUAL
        waiting.append(_Statement())
        if self._idle and self._busy < lanes:
            self._busy += 1
            lane = self._idle.pop()
            self._tasks[lane] = asyncio.get_running_loop().create_task(self._serve(lane))

    async def _serve(self, lane: Lane) -> None:
        """Send statements one after the other while there are any; the last used lane is used first."""
        try:
            while self._waiting and (self._busy <= LANES_USUAL or len(self._waiting[0].keys) >= KEYS_MAX):
                await self._send(lane, self._waiting.popleft())
        finally:
            self._busy -= 1
            self._idle.append(lane)

    async def _send(self, lane: Lane, statement: _Statement) -> None:
        waited_s = monotonic() - statement.asked_s
        try:
            if waited_s >= READ_TIME_MAX_S:
                raise StoreUnavailable("the database has not answered others in time")
            rows = await lane.fetch(statement.keys, READ_TIME_MAX_S - waited_s)
        except BaseException as error:  # whatever it is, it is the readers' answer
            statement.fail(error)
            if not isinstance(error, Exception):
                raise
        else:
            statement.answer(rows)
        if self._on_wait:  # once everybody has his answer
            self._on_wait(waited_s)


class _Reader:
    """A waiter that a coroutine waits for."""

    __slots__ = ("future",)

    def __init__(self, future: "asyncio.Future[PublicRow | None]") -> None:
        self.future = future

    def found(self, row: PublicRow | None) -> None:
        """See Waiter."""
        if not self.future.done():  # it may have given up
            self.future.set_result(row)

    def failed(self, error: BaseException) -> None:
        """See Waiter."""
        if self.future.done():
            return
        if isinstance(error, asyncio.CancelledError):
            self.future.cancel()
            return
        self.future.set_exception(error)
