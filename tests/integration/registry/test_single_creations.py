"""Single creations of administrators: they share transactions, and each is judged and entered for itself."""

import asyncio

import pytest

from protocol.codes import ResponseCode
from protocol.handle import Handle
from registry.gathering import GROUP_MAX, REGISTRATIONS_WAITING, TooManyWaiting
from registry.outcomes import Created, Identity, Origin, Rejected, Replaced, Result, Unchanged
from registry.single_creations import SingleCreations
from tests.integration.registry.bench import ADMINISTRATOR, STRANGER, Bench, admin, creation, url


def origin_of(by: Identity) -> Origin:
    return Origin(actor=str(by), via="handle")


async def create(
    creations: SingleCreations,
    name: str,
    address: str = "x",
    *,
    by: Identity = ADMINISTRATOR,
    replace: bool = False,
) -> Result:
    return await creations.create(creation(name, url(address)), by=by, replace=replace, origin=origin_of(by))


async def test_many_at_once_share_transactions(bench: Bench) -> None:
    creations = SingleCreations(bench.operations)

    results = await asyncio.gather(*(create(creations, f"88.100/{number}") for number in range(100)))

    assert all(isinstance(result, Created) for result in results)
    async with bench.store.connection() as connection:
        record = await connection.fetchrow("SELECT count(DISTINCT xact), count(*) FROM audit_log")
    assert record is not None
    transactions, entries = record
    assert transactions <= 100 // GROUP_MAX + 2
    assert entries == transactions  # it is the same administrator who asks, in one request
    assert len(await bench.log()) == 100


async def test_in_one_transaction_each_is_judged_by_who_asks(bench: Bench) -> None:
    creations = SingleCreations(bench.operations)

    mine, his, again = await asyncio.gather(
        create(creations, "88.100/a"),
        create(creations, "88.100/b", by=STRANGER),
        create(creations, "88.100/c"),
    )

    assert isinstance(mine, Created)
    assert isinstance(again, Created)
    assert isinstance(his, Rejected)
    assert his.code is ResponseCode.INVALID_ADMINISTRATOR


async def test_administrators_whom_a_node_tells_apart_by_case_have_their_own_rights(bench: Bench) -> None:
    creations = SingleCreations(bench.make_operations(case_sensitive=True))
    namesake = Identity(index=300, handle=Handle.parse("88.100/admin"))
    assert namesake == ADMINISTRATOR

    mine, his = await asyncio.gather(
        create(creations, "88.100/a"), create(creations, "88.100/b", by=namesake)
    )

    assert isinstance(mine, Created)
    assert isinstance(his, Rejected)


async def test_what_replaces_and_what_does_not_may_come_together(bench: Bench) -> None:
    creations = SingleCreations(bench.operations)
    for name in ("88.100/a", "88.100/b", "88.100/c"):
        await bench.create(name, url("old"), admin())

    replaced, refused, fresh = await asyncio.gather(
        create(creations, "88.100/a", "new", replace=True),
        create(creations, "88.100/b", "new"),
        create(creations, "88.100/new", replace=True),
    )

    assert isinstance(replaced, Replaced)
    assert isinstance(refused, Rejected)
    assert refused.code is ResponseCode.HANDLE_ALREADY_EXISTS
    assert isinstance(fresh, Created)
    assert next(value.data for value in await bench.values("88.100/b")) == b"old"


async def test_the_same_name_twice_at_once_is_created_once(bench: Bench) -> None:
    creations = SingleCreations(bench.operations)

    results = await asyncio.gather(*(create(creations, "88.100/a") for _ in range(4)))

    assert (
        sorted(type(result).__name__ for result in results) == [Created.__name__] + [Unchanged.__name__] * 3
    )


async def test_what_comes_beyond_the_limit_is_refused_at_once_and_counted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    met: list[str] = []
    creations = SingleCreations(bench.make_operations(on_limit=met.append))
    monkeypatch.setattr("registry.gathering.WAITING_MAX", 2)

    results = await asyncio.gather(
        *(create(creations, f"88.100/{number}") for number in range(3)), return_exceptions=True
    )

    assert sum(isinstance(result, Created) for result in results) == 2
    assert isinstance(results[2], TooManyWaiting)
    assert results[2].code is ResponseCode.SERVER_TOO_BUSY
    assert met == [REGISTRATIONS_WAITING]
