"""Listing and homing on a real database: whose names are told, page by page, and which prefixes are answered for."""

import pytest

from protocol.codes import ResponseCode
from protocol.handle import Handle, Prefix
from protocol.value import HandleValue, ValueList
from protocol.valuetypes import AdminPermission
from registry.homing import admin_value
from registry.listing import COUNT_MAX, Count, Page
from registry.operations import minted
from registry.outcomes import OPERATOR, Denied, Found, Rejected, Replaced, Result, Unchanged
from tests.integration.registry.bench import ADMINISTRATOR, STRANGER, Bench, admin, url

HOME = Prefix.parse("88.100")


async def names(bench: Bench, *, limit: int = 1_000) -> list[str]:
    """Every handle of the home prefix, page by page."""
    found: list[str] = []
    after: bytes | None = b""
    while after is not None:
        page = await bench.operations.list_handles(HOME, by=ADMINISTRATOR, after=after, limit=limit)
        assert isinstance(page, Page)
        assert len(page.names) <= limit
        found += [name.decode() for name in page.names]
        after = page.after
    return found


@pytest.mark.parametrize("limit", [1, 2, 1_000])
async def test_a_listing_gives_every_handle_once_whatever_the_page(bench: Bench, limit: int) -> None:
    for name in ("88.100/b", "88.100/A", "88.100/c/d", "88.100/gone", "88.100.5/other", "88.1001/other"):
        await bench.create(name, url("https://plant.example/"))
    await bench.operations.delete([Handle.parse("88.100/gone")], by=OPERATOR)

    assert await names(bench, limit=limit) == ["88.100/A", "88.100/b", "88.100/c/d"]


async def test_handles_are_counted_as_they_are_listed(bench: Bench) -> None:
    for name in ("88.100/a", "88.100/b", "88.100/gone"):
        await bench.create(name, url("https://plant.example/"))
    await bench.operations.delete([Handle.parse("88.100/gone")], by=OPERATOR)

    assert await bench.operations.count_handles(HOME, by=ADMINISTRATOR) == Count(2, is_exact=True)
    assert COUNT_MAX > 2


async def test_listing_takes_its_right_on_the_prefix(bench: Bench) -> None:
    may_write = admin(STRANGER, AdminPermission.ADD_HANDLE | AdminPermission.READ_VALUE, 101)
    await bench.home("88.100", admin(), may_write)

    refused = await bench.operations.list_handles(HOME, by=STRANGER)
    uncounted = await bench.operations.count_handles(HOME, by=STRANGER)

    assert isinstance(refused, Rejected)
    assert refused.code == ResponseCode.INVALID_ADMINISTRATOR
    assert isinstance(uncounted, Rejected)


async def test_what_is_not_homed_is_not_listed(bench: Bench) -> None:
    refused = await bench.operations.list_handles(Prefix.parse("99.1"), by=OPERATOR)

    assert isinstance(refused, Rejected)
    assert refused.code == ResponseCode.SERVER_NOT_RESPONSIBLE


async def test_prefix_records_below_a_prefix_are_listed_and_no_others(bench: Bench) -> None:
    for name in ("0.NA/88.100.5", "0.NA/88.100.5.1", "0.NA/88.100.6"):
        await bench.create(name, url("https://plant.example/"))
    only_records = admin(STRANGER, AdminPermission.LIST_DERIVED_PREFIXES, 101)
    await bench.home("88.100", admin(), only_records)

    for by in (ADMINISTRATOR, STRANGER):
        page = await bench.operations.list_derived(HOME, by=by)
        assert page == Page((b"0.NA/88.100.5", b"0.NA/88.100.5.1", b"0.NA/88.100.6"), None)


async def test_values_that_exist_are_modified_and_others_are_not_made(bench: Bench) -> None:
    await bench.create("88.100/a", url("https://old.example/"), admin())
    handle = Handle.parse("88.100/a")

    async def modify(*values: HandleValue) -> Result:
        return await bench.operations.modify_values(handle, ValueList.of(values), by=ADMINISTRATOR)

    missing = await modify(url("https://new.example/"), url("https://new.example/", 7))
    assert isinstance(missing, Rejected)
    assert missing.code == ResponseCode.VALUES_NOT_FOUND
    assert next(iter(await bench.values("88.100/a"))).data == b"https://old.example/"

    done = await modify(url("https://new.example/"))
    again = await modify(url("https://new.example/"))
    assert isinstance(done, Replaced)
    assert isinstance(again, Unchanged)
    assert next(iter(await bench.values("88.100/a"))).data == b"https://new.example/"


async def test_a_homed_prefix_is_answered_for_and_an_unhomed_one_is_not_any_more(bench: Bench) -> None:
    prefix = Prefix.parse("99.1")
    assert isinstance(await bench.ask("99.1/a"), Denied)

    assert await bench.operations.home(prefix, by=ADMINISTRATOR) is None
    await bench.create("99.1/a", url("https://plant.example/"), by=ADMINISTRATOR)
    assert isinstance(await bench.ask("99.1/a"), Found)
    assert b"99.1" in (await bench.operations.homed()).names

    assert await bench.operations.unhome(prefix, by=ADMINISTRATOR) is None
    denied = await bench.ask("99.1/a")
    assert isinstance(denied, Denied)
    assert denied.code == ResponseCode.SERVER_NOT_RESPONSIBLE

    assert await bench.operations.home(prefix, by=ADMINISTRATOR) is None
    assert isinstance(await bench.ask("99.1/a"), Found)
    assert [action for name, action, _ in await bench.log() if name == b"0.NA/99.1"] == [4, 5, 4]


async def test_homing_twice_changes_nothing(bench: Bench) -> None:
    for _ in range(2):
        assert await bench.operations.home(HOME, by=STRANGER) is None

    refused = await bench.create("88.100/a", url("https://plant.example/"), by=STRANGER)

    assert isinstance(refused, Rejected)
    assert await bench.log() == []


async def test_a_prefix_whose_record_is_here_is_homed_under_its_own_administrators(bench: Bench) -> None:
    await bench.create("0.NA/88.100.5", admin_value(STRANGER))

    await bench.operations.home(Prefix.parse("88.100.5"), by=ADMINISTRATOR)

    refused = await bench.create("88.100.5/a", url("https://plant.example/"), by=ADMINISTRATOR)
    assert isinstance(refused, Rejected)
    assert not isinstance(
        await bench.create("88.100.5/a", url("https://plant.example/"), by=STRANGER), Rejected
    )


async def test_nobody_unhomes_what_an_organisation_holds_nor_the_ground_he_stands_on(bench: Bench) -> None:
    await bench.home("88.100.5", organisation="org_1")

    for prefix in (Prefix.parse("88.100.5"), HOME):
        refused = await bench.operations.unhome(prefix, by=ADMINISTRATOR)
        assert isinstance(refused, Rejected)
        assert refused.code == ResponseCode.OPERATION_NOT_SUPPORTED
    homed = await bench.operations.home(Prefix.parse("88.100.5"), by=ADMINISTRATOR)
    assert isinstance(homed, Rejected)


def test_a_minted_name_begins_with_what_was_given_and_is_new_each_time() -> None:
    start = Handle.parse("88.100/")

    first, second = minted(start), minted(start)

    assert first != second
    assert first.octets.startswith(b"88.100/")
    assert len(first.suffix) == 36
