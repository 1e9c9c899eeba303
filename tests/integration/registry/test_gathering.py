"""Writes that share a transaction: each gets its own answer, and none pays for another."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import pytest

from protocol.errors import StoreUnavailable
from registry.gathering import GROUP_MAX, Gathering, Waiting
from registry.outcomes import COMMAND, OPERATOR, Created, Creation, Origin, Rejected, Result
from registry.transaction import Transaction
from registry.writing import Writing
from tests.integration.registry.bench import Bench, creation, url


class Refused(Exception):
    """A registration that is refused."""


async def create(transaction: Transaction, group: Sequence[Waiting[Creation]]) -> list[Result | Refused]:
    results = await transaction.create(
        [waiting.asked for waiting in group], by=OPERATOR, origins=[waiting.origin for waiting in group]
    )
    return [Refused(result.message) if isinstance(result, Rejected) else result for result in results]


def gathering(bench: Bench) -> Gathering[Creation, Result | Refused]:
    return Gathering(bench.operations, create)


async def tell(_: Transaction, result: Result | Refused) -> Result | Refused:
    return result


def numbered(count: int) -> list[Creation]:
    return [creation(f"88.100/item-{number}", url("x")) for number in range(count)]


async def entries(bench: Bench) -> list[tuple[str, str, int]]:
    async with bench.store.connection() as connection:
        records = await connection.fetch("SELECT actor, target, items FROM audit_log ORDER BY id")
    return [tuple(record) for record in records]


async def test_many_at_once_share_transactions_and_each_is_entered_for_itself(bench: Bench) -> None:
    shared = gathering(bench)

    async def register(number: int, item: Creation) -> Result | Refused:
        origin = Origin(actor="operator", request_id=f"request-{number}")
        return await shared.do(item, origin=origin, settle=tell)

    results = await asyncio.gather(*(register(*given) for given in enumerate(numbered(200))))

    assert all(isinstance(result, Created) for result in results)
    async with bench.store.connection() as connection:
        transactions = await connection.fetchval("SELECT count(DISTINCT xact) FROM audit_log")
    assert transactions <= 200 // GROUP_MAX + 2
    assert sorted(await entries(bench)) == sorted(
        ("operator", f"88.100/item-{number}", 1) for number in range(200)
    )


async def test_the_same_handle_twice_at_once_is_created_once(bench: Bench) -> None:
    shared = gathering(bench)
    items = [creation("88.100/a", url(f"https://{number}.example")) for number in range(20)]

    results = await asyncio.gather(
        *(shared.do(item, origin=COMMAND, settle=tell) for item in items), return_exceptions=True
    )

    assert sum(isinstance(result, Created) for result in results) == 1
    assert sum(isinstance(result, Refused) for result in results) == 19


async def test_what_one_cannot_settle_undoes_it_alone(bench: Bench) -> None:
    shared = gathering(bench)

    async def spoil(transaction: Transaction, _: Result | Refused) -> Result | Refused:
        await transaction.connection.execute("SELECT 1 / 0")
        raise AssertionError("not reached")

    async def register(number: int) -> Result | Refused:
        settle = spoil if number == 3 else tell
        return await shared.do(numbered(8)[number], origin=COMMAND, settle=settle)

    results = await asyncio.gather(*map(register, range(8)), return_exceptions=True)

    assert isinstance(results[3], asyncpg.DivisionByZeroError)
    assert sum(isinstance(result, Created) for result in results) == 7
    assert len(await entries(bench)) == 7


async def test_whoever_is_stopped_beforehand_writes_nothing(bench: Bench) -> None:
    shared = gathering(bench)

    async def stop(_: Transaction) -> None:
        raise LookupError("seen before")

    results = await asyncio.gather(
        shared.do(numbered(2)[0], origin=COMMAND, settle=tell, prepare=stop),
        shared.do(numbered(2)[1], origin=COMMAND, settle=tell),
        return_exceptions=True,
    )

    assert isinstance(results[0], LookupError)
    assert isinstance(results[1], Created)
    assert len(await entries(bench)) == 1


async def test_an_outage_is_told_to_everybody(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = gathering(bench)

    @asynccontextmanager
    async def gone(*, commit: bool = True) -> AsyncIterator[Writing]:
        raise StoreUnavailable("gone")
        yield

    monkeypatch.setattr(bench.store, "writing", gone)
    results = await asyncio.gather(
        *(shared.do(item, origin=COMMAND, settle=tell) for item in numbered(5)),
        return_exceptions=True,
    )
    assert all(isinstance(result, StoreUnavailable) for result in results)


async def test_a_client_that_gives_up_takes_nobody_with_it(bench: Bench) -> None:
    shared = gathering(bench)
    tasks = [asyncio.create_task(shared.do(item, origin=COMMAND, settle=tell)) for item in numbered(6)]
    await asyncio.sleep(0)
    tasks[0].cancel()

    results = await asyncio.gather(*tasks, return_exceptions=True)
    await shared.close()

    assert isinstance(results[0], asyncio.CancelledError)
    assert all(isinstance(result, Created) for result in results[1:])
