"""Registrations that share a transaction: each gets its own answer, and none pays for another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from protocol.errors import StoreUnavailable
from registry.gathering import GROUP_MAX, SharedCreations
from registry.outcomes import COMMAND, OPERATOR, Created, Creation, Origin, Rejected, Result
from registry.transaction import Transaction
from registry.writing import Writing
from tests.integration.registry.bench import ADMINISTRATOR, STRANGER, Bench, admin, creation, url


async def tell(_: Transaction, result: Result) -> Result:
    return result


def numbered(count: int) -> list[Creation]:
    return [creation(f"88.100/item-{number}", url("x")) for number in range(count)]


async def entries(bench: Bench) -> list[tuple[str, str, int]]:
    async with bench.store.connection() as connection:
        records = await connection.fetch("SELECT actor, target, items FROM audit_log ORDER BY id")
    return [tuple(record) for record in records]


async def test_many_at_once_share_transactions_and_each_is_entered_for_itself(bench: Bench) -> None:
    shared = SharedCreations(bench.operations)

    async def register(number: int, item: Creation) -> Result:
        origin = Origin(actor="operator", request_id=f"request-{number}")
        return await shared.create(item, by=OPERATOR, origin=origin, settle=tell)

    results = await asyncio.gather(*(register(*given) for given in enumerate(numbered(200))))

    assert all(isinstance(result, Created) for result in results)
    async with bench.store.connection() as connection:
        transactions = await connection.fetchval("SELECT count(DISTINCT xact) FROM audit_log")
    assert transactions <= 200 // GROUP_MAX + 2
    assert sorted(await entries(bench)) == sorted(
        ("operator", f"88.100/item-{number}", 1) for number in range(200)
    )


async def test_everybody_acts_with_the_own_rights_and_in_the_own_name(bench: Bench) -> None:
    shared = SharedCreations(bench.operations)
    one, two = Origin(actor="key_one", via="api"), Origin(actor="key_two", via="api")

    allowed, refused = await asyncio.gather(
        shared.create(creation("88.100/a", url("x")), by=ADMINISTRATOR, origin=one, settle=tell),
        shared.create(creation("88.100/b", url("x")), by=STRANGER, origin=two, settle=tell),
    )

    assert isinstance(allowed, Created)
    assert isinstance(refused, Rejected)
    assert await entries(bench) == [("key_one", "88.100/a", 1)]


async def test_the_same_handle_twice_at_once_is_created_once(bench: Bench) -> None:
    shared = SharedCreations(bench.operations)
    items = [creation("88.100/a", url(f"https://{number}.example")) for number in range(20)]

    results = await asyncio.gather(
        *(shared.create(item, by=OPERATOR, origin=COMMAND, settle=tell) for item in items)
    )

    assert sum(isinstance(result, Created) for result in results) == 1
    assert sum(isinstance(result, Rejected) for result in results) == 19


async def test_a_record_without_administrators_gets_those_of_its_prefix(bench: Bench) -> None:
    shared = SharedCreations(bench.operations)
    await shared.create(creation("88.100/a", url("x")), by=OPERATOR, origin=COMMAND, settle=tell)
    assert [value.type for value in await bench.values("88.100/a")] == ["URL", "HS_ADMIN"]
    assert (await bench.values("88.100/a"))[1].data == admin().data


async def test_what_one_cannot_settle_undoes_it_alone(bench: Bench) -> None:
    shared = SharedCreations(bench.operations)

    async def spoil(transaction: Transaction, _: Result) -> Result:
        await transaction.connection.execute("SELECT 1 / 0")
        raise AssertionError("not reached")

    async def register(number: int) -> Result:
        settle = spoil if number == 3 else tell
        return await shared.create(numbered(8)[number], by=OPERATOR, origin=COMMAND, settle=settle)

    results = await asyncio.gather(*map(register, range(8)), return_exceptions=True)

    assert isinstance(results[3], asyncpg.DivisionByZeroError)
    assert sum(isinstance(result, Created) for result in results) == 7
    assert len(await entries(bench)) == 7


async def test_whoever_is_stopped_beforehand_writes_nothing(bench: Bench) -> None:
    shared = SharedCreations(bench.operations)

    async def stop(_: Transaction) -> None:
        raise LookupError("seen before")

    results = await asyncio.gather(
        shared.create(numbered(2)[0], by=OPERATOR, origin=COMMAND, settle=tell, prepare=stop),
        shared.create(numbered(2)[1], by=OPERATOR, origin=COMMAND, settle=tell),
        return_exceptions=True,
    )

    assert isinstance(results[0], LookupError)
    assert isinstance(results[1], Created)
    assert len(await entries(bench)) == 1


async def test_an_outage_is_told_to_everybody(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = SharedCreations(bench.operations)

    @asynccontextmanager
    async def gone(*, commit: bool = True) -> AsyncIterator[Writing]:
        raise StoreUnavailable("gone")
        yield

    monkeypatch.setattr(bench.store, "writing", gone)
    results = await asyncio.gather(
        *(shared.create(item, by=OPERATOR, origin=COMMAND, settle=tell) for item in numbered(5)),
        return_exceptions=True,
    )
    assert all(isinstance(result, StoreUnavailable) for result in results)


async def test_a_client_that_gives_up_takes_nobody_with_it(bench: Bench) -> None:
    shared = SharedCreations(bench.operations)
    tasks = [
        asyncio.create_task(shared.create(item, by=OPERATOR, origin=COMMAND, settle=tell))
        for item in numbered(6)
    ]
    await asyncio.sleep(0)
    tasks[0].cancel()

    results = await asyncio.gather(*tasks, return_exceptions=True)
    await shared.close()

    assert isinstance(results[0], asyncio.CancelledError)
    assert all(isinstance(result, Created) for result in results[1:])
