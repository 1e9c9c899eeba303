"""Reads of one tick share a statement, and nothing older."""

import asyncio
from collections.abc import Sequence

import pytest

from protocol.errors import StoreUnavailable
from registry.reads import KEYS_MAX, SharedReads
from registry.writing import Row


def row(key: bytes) -> Row:
    return Row(key, key, b"", 0, None, 0, 0, 1, 1)


class Database:
    """Answers for keys that begin with k, and notes every statement."""

    def __init__(self) -> None:
        self.statements: list[list[bytes]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()
        self.lost = False

    async def one(self, key: bytes) -> Row | None:
        return (await self.many([key])).get(key)

    async def many(self, keys: Sequence[bytes]) -> dict[bytes, Row]:
        self.statements.append(list(keys))
        self.asked.set()
        await self.gate.wait()
        if self.lost:
            raise StoreUnavailable("gone")
        return {key: row(key) for key in keys if key.startswith(b"k")}

    def reads(self) -> SharedReads:
        return SharedReads(self.one, self.many)


async def test_what_is_asked_in_one_tick_is_one_statement() -> None:
    database = Database()
    reads = database.reads()

    answers = await asyncio.gather(*(reads.read(key) for key in (b"k1", b"k2", b"no", b"k1")))

    assert answers == [row(b"k1"), row(b"k2"), None, row(b"k1")]
    assert database.statements == [[b"k1", b"k2", b"no"]]


async def test_a_read_does_not_join_a_statement_that_has_started() -> None:
    database = Database()
    reads = database.reads()
    database.gate.clear()
    first = asyncio.create_task(reads.read(b"k1"))
    await database.asked.wait()

    second = asyncio.create_task(reads.read(b"k1"))
    await asyncio.sleep(0.01)
    database.gate.set()
    await asyncio.gather(first, second)

    assert database.statements == [[b"k1"], [b"k1"]]


async def test_many_keys_are_parted() -> None:
    database = Database()
    reads = database.reads()

    await asyncio.gather(*(reads.read(b"k%d" % number) for number in range(KEYS_MAX + 5)))

    assert [len(statement) for statement in database.statements] == [KEYS_MAX, 5]


async def test_an_outage_reaches_every_reader_of_the_statement() -> None:
    database = Database()
    database.lost = True
    reads = database.reads()

    answers = await asyncio.gather(reads.read(b"k1"), reads.read(b"k2"), return_exceptions=True)

    assert all(isinstance(answer, StoreUnavailable) for answer in answers)
    with pytest.raises(StoreUnavailable):
        await reads.read(b"k3")


async def test_a_reader_that_gives_up_takes_nobody_with_it() -> None:
    database = Database()
    reads = database.reads()
    database.gate.clear()
    impatient, patient = asyncio.create_task(reads.read(b"k1")), asyncio.create_task(reads.read(b"k1"))
    await database.asked.wait()

    impatient.cancel()
    await asyncio.sleep(0)
    database.gate.set()

    assert await patient == row(b"k1")


async def test_closing_waits_for_what_was_asked() -> None:
    database = Database()
    reads = database.reads()
    asked = asyncio.create_task(reads.read(b"k1"))
    await asyncio.sleep(0)

    await reads.close()

    assert await asked == row(b"k1")
