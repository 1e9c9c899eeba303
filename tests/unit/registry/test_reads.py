"""Reads that share statements: what is asked under load waits together, and joins nothing that has started."""

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from protocol.codes import ResponseCode
from protocol.errors import StoreUnavailable
from registry import reads as reads_module
from registry.reads import (
    KEYS_MAX,
    LANES_MAX,
    LANES_USUAL,
    READ_TIME_MAX_S,
    WAITING_MAX,
    PublicRow,
    SharedReads,
    StoreBusy,
)


def row(key: bytes) -> PublicRow:
    return cast(PublicRow, (key, b"", 0, 0, 0))


class Database:
    """Answers for keys that begin with k, when the gate is open, and notes every statement."""

    def __init__(self) -> None:
        self.statements: list[list[bytes]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: BaseException | None = None
        self.within_s: list[float] = []
        self.waits: list[float] = []
        self.refused = 0
        self.closed = 0
        self.reads = SharedReads(
            [Connection(self) for _ in range(LANES_MAX)], on_wait=self.waits.append, on_busy=self._refuse
        )

    def _refuse(self) -> None:
        self.refused += 1

    async def ask(self, *keys: bytes) -> "asyncio.Future[list[PublicRow | None]]":
        """Ask in one tick, and give the statements a chance to start."""
        asked = asyncio.gather(*(self.reads.read(key) for key in keys))
        await asyncio.sleep(0.01)
        return asked


class Connection:
    def __init__(self, database: Database) -> None:
        self.database = database

    async def fetch(self, keys: Sequence[bytes], within_s: float) -> Sequence[PublicRow]:
        database = self.database
        database.statements.append(list(keys))
        database.within_s.append(within_s)
        await database.gate.wait()
        if database.error is not None:
            raise database.error
        return [row(key) for key in keys if key.startswith(b"k")]

    async def close(self) -> None:
        self.database.closed += 1


def numbered(count: int) -> list[bytes]:
    return [b"k%d" % number for number in range(count)]


async def test_what_is_asked_in_one_tick_is_one_statement() -> None:
    database = Database()

    answers = await (await database.ask(b"k1", b"k2", b"no", b"k1"))

    assert answers == [row(b"k1"), row(b"k2"), None, row(b"k1")]
    assert database.statements == [[b"k1", b"k2", b"no", b"k1"]]


async def test_a_lone_read_goes_at_once() -> None:
    database = Database()
    database.gate.clear()
    asked = asyncio.create_task(database.reads.read(b"k1"))

    await asyncio.sleep(0)  # the reader asks
    await asyncio.sleep(0)  # the statement starts

    assert database.statements == [[b"k1"]]
    database.gate.set()
    assert await asked == row(b"k1")


async def test_a_read_does_not_join_a_statement_that_has_started() -> None:
    database = Database()
    database.gate.clear()

    first = await database.ask(b"k1")
    second = await database.ask(b"k1")
    database.gate.set()
    await asyncio.gather(first, second)

    assert database.statements == [[b"k1"], [b"k1"]]


async def test_under_load_reads_wait_together_for_a_lane() -> None:
    database = Database()
    database.gate.clear()

    asked = [await database.ask(b"k%d" % number) for number in range(LANES_USUAL + 5)]
    assert len(database.statements) == LANES_USUAL
    database.gate.set()
    await asyncio.gather(*asked)

    assert [len(statement) for statement in database.statements] == [*([1] * LANES_USUAL), 5]


async def test_whole_statements_that_wait_take_more_lanes_and_no_more_than_there_are() -> None:
    database = Database()
    database.gate.clear()

    asked = await database.ask(*numbered(KEYS_MAX * (LANES_MAX + 2) + 5))

    assert [len(statement) for statement in database.statements] == [KEYS_MAX] * LANES_MAX
    database.gate.set()
    await asked
    assert [len(statement) for statement in database.statements] == [*([KEYS_MAX] * (LANES_MAX + 2)), 5]


async def test_an_outage_reaches_every_reader_of_the_statement_and_nobody_else() -> None:
    database = Database()
    database.error = StoreUnavailable("gone")

    answers = await asyncio.gather(
        database.reads.read(b"k1"), database.reads.read(b"k2"), return_exceptions=True
    )

    assert all(isinstance(answer, StoreUnavailable) for answer in answers)
    database.error = None
    assert await database.reads.read(b"k3") == row(b"k3")


async def test_a_reader_that_gives_up_takes_nobody_with_it() -> None:
    database = Database()
    database.gate.clear()
    impatient, patient = (asyncio.create_task(database.reads.read(b"k1")) for _ in range(2))
    await asyncio.sleep(0.01)

    impatient.cancel()
    await asyncio.sleep(0)
    database.gate.set()

    assert await patient == row(b"k1")


async def test_a_reader_that_raises_takes_nobody_with_it() -> None:
    class Raising:
        def found(self, row: PublicRow | None) -> None:
            raise ValueError

        def failed(self, error: BaseException) -> None:
            raise ValueError

    database = Database()
    for error in (None, StoreUnavailable("gone")):
        database.error = error
        database.reads.ask(b"k0", Raising())

        (answer,) = await asyncio.gather(database.reads.read(b"k1"), return_exceptions=True)

        assert answer == row(b"k1") if error is None else answer is error


async def test_too_many_waiting_reads_are_refused_and_counted() -> None:
    database = Database()
    database.gate.clear()
    room = KEYS_MAX * LANES_MAX + WAITING_MAX
    asked = await database.ask(*numbered(KEYS_MAX * LANES_MAX))
    waiting = await database.ask(*numbered(WAITING_MAX))

    with pytest.raises(StoreBusy) as refused:
        await database.reads.read(b"k")

    assert refused.value.code is ResponseCode.SERVER_TOO_BUSY
    assert database.refused == 1
    database.gate.set()
    assert len(await asked) + len(await waiting) == room


async def test_who_waits_for_a_lane_waits_no_longer_than_who_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a statement may take is what is left of the time since its first key was asked for."""
    now_s = [1_000.0]
    monkeypatch.setattr(reads_module, "monotonic", lambda: now_s[0])
    database = Database()
    database.gate.clear()
    running = [await database.ask(b"k1") for _ in range(LANES_USUAL)]
    late = await database.ask(b"k2")
    now_s[0] += 1.5
    database.gate.set()
    await asyncio.gather(*running, late)
    assert database.within_s == [*([READ_TIME_MAX_S] * LANES_USUAL), READ_TIME_MAX_S - 1.5]
    assert sorted(database.waits) == [*([0.0] * LANES_USUAL), 1.5]

    database.gate.clear()
    running = [await database.ask(b"k1") for _ in range(LANES_USUAL)]
    late = await database.ask(b"k2")
    now_s[0] += READ_TIME_MAX_S
    database.gate.set()
    await asyncio.gather(*running)

    with pytest.raises(StoreUnavailable):
        await late


async def test_closing_waits_for_what_was_asked_and_takes_nothing_more() -> None:
    database = Database()
    asked = asyncio.create_task(database.reads.read(b"k1"))
    await asyncio.sleep(0)

    await database.reads.close()

    assert await asked == row(b"k1")
    assert database.closed == LANES_MAX
    with pytest.raises(StoreUnavailable):
        await database.reads.read(b"k1")
