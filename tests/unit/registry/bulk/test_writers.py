"""Batches under way at once."""

import asyncio
from collections.abc import Sequence

import pytest

from protocol.errors import StoreUnavailable
from protocol.handle import Handle
from protocol.value import ValueList
from registry.bulk.rows import Row
from registry.bulk.writers import WRITERS_MAX, Writers
from registry.outcomes import Creation


def batch(*names: str) -> list[Row]:
    """Rows of these handles."""
    return [Row(1, Creation(Handle.parse(name), ValueList(b"", 0)), b"") for name in names]


class Gate:
    """A database that finishes a batch when it is told to."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.open: dict[str, asyncio.Event] = {}

    async def write(self, rows: Sequence[Row], read_octets: int) -> None:
        name = str(rows[0].creation.handle)
        self.begun.append(name)
        await self.open.setdefault(name, asyncio.Event()).wait()
        self.ended.append(name)

    def let(self, name: str) -> None:
        """Let a batch end."""
        self.open.setdefault(name, asyncio.Event()).set()


async def settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_few_batches_are_written_at_once_and_no_more() -> None:
    gate = Gate()
    writers = Writers(gate.write)

    async def submit_all() -> None:
        for number in range(WRITERS_MAX + 1):
            await writers.submit(batch(f"88/{number}"), 0)

    submitting = asyncio.create_task(submit_all())
    await settle()
    assert gate.begun == [f"88/{number}" for number in range(WRITERS_MAX)]

    for number in range(WRITERS_MAX + 1):
        gate.let(f"88/{number}")
    await submitting
    await writers.drain()
    assert len(gate.ended) == WRITERS_MAX + 1


async def test_rows_of_one_handle_are_written_in_the_order_of_the_file() -> None:
    gate = Gate()
    writers = Writers(gate.write)
    await writers.submit(batch("88/a"), 0)
    second = asyncio.create_task(writers.submit(batch("88/b", "88/A"), 0))
    await settle()
    assert gate.begun == ["88/a"]

    gate.let("88/a")
    gate.let("88/b")
    await second
    await writers.drain()
    assert gate.ended == ["88/a", "88/b"]


async def test_what_a_batch_raises_reaches_the_caller() -> None:
    async def fail(rows: Sequence[Row], read_octets: int) -> None:
        raise StoreUnavailable("gone")

    writers = Writers(fail)
    await writers.submit(batch("88/a"), 0)
    with pytest.raises(StoreUnavailable):
        await writers.drain()
    await writers.abandon()


async def test_an_abandoned_import_leaves_no_task() -> None:
    gate = Gate()
    writers = Writers(gate.write)
    await writers.submit(batch("88/a"), 0)
    await settle()
    await writers.abandon()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert gate.ended == []
