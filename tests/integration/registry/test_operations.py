"""Operations on a real database: what is written, what is refused, what is left alone."""

import asyncio
import struct

import pytest

from protocol.codes import ResponseCode
from protocol.errors import StoreUnavailable
from protocol.handle import Handle
from protocol.value import HandleValue, ValueList, ValueReference
from protocol.valuetypes import AdminPermission, ValueReferences
from registry.outcomes import (
    BATCH_ITEMS_MAX,
    OPERATOR,
    Created,
    Creation,
    Deleted,
    Denied,
    Found,
    Identity,
    Referred,
    Rejected,
    Replaced,
    Unchanged,
)
from registry.record import RECORD_OCTETS_MAX
from tests.integration.registry.bench import ADMINISTRATOR, STRANGER, Bench, admin, creation, secret, url
from tests.support.postgres import TestPostgres

PUMP = "88.100/pump-7"


def code(result: object) -> ResponseCode:
    """The code of a rejection or denial."""
    assert isinstance(result, Rejected | Denied), result
    return result.code


async def test_what_is_created_is_found_in_any_ascii_case_and_echoes_the_question(bench: Bench) -> None:
    assert await bench.create(PUMP, url("https://plant.example/7"), admin()) == Created(Handle.parse(PUMP), 1)

    answer = await bench.ask("88.100/PUMP-7")

    assert isinstance(answer, Found)
    assert answer.handle.octets == b"88.100/PUMP-7"
    assert [value.index for value in answer.values] == [1, 100]
    assert await bench.log() == [(b"88.100/pump-7", 1, 1)]


async def test_stored_octets_are_the_sent_octets_but_for_the_timestamp(bench: Bench) -> None:
    value = HandleValue(
        index=7,
        type="X.odd",
        data=bytes(range(256)),
        ttl=1,
        timestamp=99,
        references=(ValueReference(b"1/2", 3),),
    )
    await bench.create(PUMP, value)

    answer = await bench.ask(PUMP)

    assert isinstance(answer, Found)
    sent = value.encode()
    assert answer.values.octets == sent[:4] + struct.pack(">I", int(bench.now_s)) + sent[8:]


async def test_an_existing_handle_is_rejected_unless_it_is_alike(bench: Bench) -> None:
    await bench.create(PUMP, url("https://a.example/"), admin())
    bench.now_s += 100

    alike = await bench.create(PUMP, admin(), url("https://a.example/"))
    different = await bench.create(PUMP, url("https://b.example/"))

    assert alike == Unchanged(Handle.parse(PUMP), 1)
    assert code(different) == ResponseCode.HANDLE_ALREADY_EXISTS
    assert len(await bench.log()) == 1


async def test_replacing_keeps_the_timestamps_of_identical_values(bench: Bench) -> None:
    await bench.create(PUMP, url("https://a.example/"), url("https://b.example/", 2), admin())
    first_s = int(bench.now_s)
    bench.now_s += 100

    result = await bench.create(PUMP, url("https://a.example/"), url("https://c.example/", 2), replace=True)

    assert result == Replaced(Handle.parse(PUMP), 2)
    assert [(value.index, value.timestamp) for value in await bench.values(PUMP)] == [
        (1, first_s),
        (2, first_s + 100),
    ]
    assert [entry[1:] for entry in await bench.log()] == [(1, 1), (3, 2)]


async def test_put_values_adds_and_overwrites(bench: Bench) -> None:
    await bench.create(PUMP, url("https://a.example/"), admin())

    added = await bench.put(PUMP, url("https://b.example/", 2))
    refused = await bench.put(PUMP, url("https://c.example/", 2), overwrite=False)
    replaced = await bench.put(PUMP, url("https://c.example/", 2))
    again = await bench.put(PUMP, url("https://c.example/", 2))

    assert added == Replaced(Handle.parse(PUMP), 2, overwritten=False)
    assert code(refused) == ResponseCode.VALUE_ALREADY_EXISTS
    assert replaced == Replaced(Handle.parse(PUMP), 3, overwritten=True)
    assert again == Unchanged(Handle.parse(PUMP), 3)
    assert code(await bench.put("88.100/none", url("https://c.example/"))) == ResponseCode.HANDLE_NOT_FOUND


async def test_values_are_removed_all_or_none(bench: Bench) -> None:
    await bench.create(PUMP, url("https://a.example/"), url("https://b.example/", 2))
    handle = Handle.parse(PUMP)

    missing = await bench.operations.remove_values(handle, [1, 9], by=OPERATOR)
    removed = await bench.operations.remove_values(handle, [1, 2, 2], by=OPERATOR)

    assert code(missing) == ResponseCode.VALUES_NOT_FOUND
    assert isinstance(removed, Replaced)
    assert code(await bench.ask(PUMP)) == ResponseCode.VALUES_NOT_FOUND


async def test_a_deleted_handle_keeps_its_row_and_counts_on_when_it_comes_back(bench: Bench) -> None:
    handle = Handle.parse(PUMP)
    await bench.create(PUMP, url("https://a.example/"), secret("hush"))

    (deleted,) = await bench.operations.delete([handle], by=OPERATOR)
    (gone,) = await bench.operations.delete([handle], by=OPERATOR)
    row = await bench.store.read(handle.key)
    unknown = await bench.ask(PUMP)
    again = await bench.create("88.100/Pump-7", url("https://b.example/"))

    assert deleted == Deleted(handle, 2)
    assert code(gone) == ResponseCode.HANDLE_NOT_FOUND
    assert row is not None
    assert (row.public_values, row.restricted_values, row.version) == (b"", None, 2)
    assert code(unknown) == ResponseCode.HANDLE_NOT_FOUND
    assert again == Created(handle, 3)
    assert [entry[1:] for entry in await bench.log()] == [(1, 1), (2, 2), (1, 3)]
    assert (await bench.log())[-1][0] == b"88.100/Pump-7"


async def test_a_batch_gives_one_result_per_item_in_its_order(bench: Bench) -> None:
    await bench.create("88.100/b", url("https://b.example/"))
    items = [
        creation("88.100/c", url("https://c.example/")),
        creation("88.100/b", url("https://b.example/")),
        creation("88.200/x", url("https://x.example/")),
        creation("88.100/b", url("https://other.example/")),
        creation("88.100/a", url("https://a.example/"), url("https://a.example/")),
        Creation(Handle.parse(b"88.100/\xff"), ValueList.of([url("https://a.example/")])),
        creation("88.100/C", url("https://c.example/")),
    ]

    results = await bench.operations.create(items, by=OPERATOR)

    assert isinstance(results[0], Created)
    assert isinstance(results[1], Unchanged)
    assert code(results[2]) == ResponseCode.SERVER_NOT_RESPONSIBLE
    assert code(results[3]) == ResponseCode.HANDLE_ALREADY_EXISTS
    assert code(results[4]) == ResponseCode.VALUE_ALREADY_EXISTS
    assert code(results[5]) == ResponseCode.INVALID_HANDLE
    assert isinstance(results[6], Unchanged)


async def test_a_batch_has_a_limit(bench: Bench) -> None:
    items = [creation("88.100/x", url("https://x.example/"))] * (BATCH_ITEMS_MAX + 1)

    with pytest.raises(ValueError, match="at most"):
        await bench.operations.create(items, by=OPERATOR)


async def test_a_large_batch_skips_what_is_there_and_rejects_what_differs(bench: Bench) -> None:
    items = [creation(f"88.100/item-{number}", url(f"https://x.example/{number}")) for number in range(1_000)]
    await bench.operations.create(items[:600], by=OPERATOR)
    changed = [*items[:10], creation("88.100/item-10", url("https://other.example/")), *items[11:]]

    results = await bench.operations.create(changed, by=OPERATOR)

    kinds = [type(result) for result in results]
    assert (kinds.count(Unchanged), kinds.count(Rejected), kinds.count(Created)) == (599, 1, 400)
    assert isinstance(results[10], Rejected)
    assert len(await bench.log()) == 1_000


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((), "at least one value"),
        ((url("x", 0),), "an index is a number"),
        ((HandleValue(index=1, type="", data=b""),), "a type is"),
        ((HandleValue(index=1, type="HS_ADMIN", data=b"?"),), "no HS_ADMIN"),
        ((HandleValue(index=1, type="HS_SECKEY", data=b"open"),), "publicly readable"),
        ((HandleValue(index=1, type="X", data=bytes(RECORD_OCTETS_MAX)),), "a message has room for"),
        (tuple(url("x", index) for index in range(1, 2_050)), "at most 2048"),
    ],
)
async def test_values_that_cannot_be_stored_say_why(
    bench: Bench, values: tuple[HandleValue, ...], words: str
) -> None:
    result = await bench.create(PUMP, *values)

    assert code(result) == ResponseCode.INVALID_VALUE
    assert isinstance(result, Rejected)
    assert words in result.message


async def test_a_record_cannot_grow_beyond_a_message(bench: Bench) -> None:
    half = bytes(RECORD_OCTETS_MAX // 2)
    await bench.create(PUMP, HandleValue(index=1, type="X", data=half))

    result = await bench.put(PUMP, HandleValue(index=2, type="X", data=half))

    assert code(result) == ResponseCode.INVALID_VALUE


async def test_restricted_values_are_sealed_and_shown_to_those_who_may_read(bench: Bench) -> None:
    await bench.create(PUMP, url("https://a.example/"), admin(), secret("hush-hush"))

    row = await bench.store.read(Handle.parse(PUMP).key)

    assert row is not None
    assert b"hush" not in (row.restricted_values or b"")
    assert [value.index for value in await bench.values(PUMP)] == [1, 100]
    assert [value.data for value in await bench.values(PUMP, ADMINISTRATOR)][-1] == b"hush-hush"
    assert code(await bench.ask(PUMP, STRANGER)) == ResponseCode.INVALID_ADMINISTRATOR


async def test_values_that_nobody_may_read_are_shown_to_no_administrator(bench: Bench) -> None:
    await bench.create(
        "88.100/x", HandleValue(index=1, type="X", data=b"?", permissions=0x04), admin(index=2)
    )

    only = await bench.operations.resolve(Handle.parse("88.100/x"), indexes=[1], reader=ADMINISTRATOR)

    assert code(only) == ResponseCode.ACCESS_DENIED


async def test_creating_takes_a_right_on_the_prefix(bench: Bench) -> None:
    assert isinstance(await bench.create("88.100/a", url("x"), by=ADMINISTRATOR), Created)
    assert code(await bench.create("88.100/b", url("x"), by=STRANGER)) == ResponseCode.INVALID_ADMINISTRATOR


async def test_rights_do_not_add_up_over_administrator_values(bench: Bench) -> None:
    adds = admin(STRANGER, AdminPermission.ADD_VALUE, 100)
    modifies = admin(STRANGER, AdminPermission.MODIFY_VALUE, 101)
    await bench.create(PUMP, url("x"), adds, modifies)

    both = await bench.put(PUMP, url("y"), url("z", 2), by=STRANGER)
    one = await bench.put(PUMP, url("y"), by=STRANGER)

    assert code(both) == ResponseCode.INVALID_ADMINISTRATOR
    assert isinstance(one, Replaced)


async def test_a_value_without_admin_write_is_not_changed_in_place(bench: Bench) -> None:
    await bench.create(PUMP, url("x", permissions=0x0A), admin())

    assert code(await bench.put(PUMP, url("y"), by=ADMINISTRATOR)) == ResponseCode.ACCESS_DENIED


async def test_a_secret_cannot_be_guessed_by_putting_it(bench: Bench) -> None:
    await bench.create(PUMP, secret("hush"), admin())

    guess = await bench.put(PUMP, secret("hush"), by=STRANGER)
    record = await bench.create(PUMP, secret("hush"), admin(), by=STRANGER)

    assert code(guess) == ResponseCode.INVALID_ADMINISTRATOR
    assert code(record) == ResponseCode.HANDLE_ALREADY_EXISTS


async def test_members_of_a_group_have_its_rights_also_through_a_group_in_it(bench: Bench) -> None:
    def group(*members: tuple[str, int]) -> HandleValue:
        references = tuple(ValueReference(name.encode(), index) for name, index in members)
        return HandleValue(index=200, type="HS_VLIST", data=ValueReferences(references).encode())

    await bench.create("88.100/crew", group(("88.100/inner", 200), ("88.100/crew", 200)))
    await bench.create("88.100/inner", group(("88.100/STRANGER", 300)))
    crew = Identity(index=200, handle=Handle.parse("88.100/crew"))
    await bench.create(PUMP, url("x"), admin(crew))

    assert isinstance(await bench.put(PUMP, url("y"), by=STRANGER), Replaced)
    outsider = Identity(index=301, handle=STRANGER.handle)
    assert code(await bench.put(PUMP, url("z"), by=outsider)) == ResponseCode.INVALID_ADMINISTRATOR


async def test_a_record_without_administrator_inherits_that_of_its_prefix(bench: Bench) -> None:
    await bench.create(PUMP, url("x", 100), inherit_admin=True)
    again = await bench.create(PUMP, url("x", 100), inherit_admin=True)
    await bench.create("88.100/own", url("x"), admin(STRANGER, index=5), inherit_admin=True)

    assert [(value.index, value.type) for value in await bench.values(PUMP)] == [
        (100, "URL"),
        (101, "HS_ADMIN"),
    ]
    assert isinstance(again, Unchanged)
    assert [value.index for value in await bench.values("88.100/own")] == [1, 5]


async def test_a_secret_authenticates_its_identity_and_no_other(bench: Bench) -> None:
    await bench.create("88.100/ADMIN", secret("right"), secret("other", 301), admin())
    check = bench.operations.authenticate

    assert await check(ADMINISTRATOR, b"right") == ADMINISTRATOR
    assert await check(ADMINISTRATOR, b"other") is None
    assert await check(ADMINISTRATOR, b"") is None
    assert await check(STRANGER, b"right") is None
    anybody = Identity(index=0, handle=Handle.parse("88.100/admin"))
    found = await check(anybody, b"other")
    assert found is not None
    assert found.index == 301


async def test_a_case_sensitive_node_keeps_the_case_of_suffixes_only(bench: Bench) -> None:
    operations = bench.make_operations(case_sensitive=True)
    await operations.create([creation("88.100/Ab", url("x"))], by=OPERATOR)

    assert isinstance(await operations.resolve(Handle.parse("88.100/Ab")), Found)
    assert code(await operations.resolve(Handle.parse("88.100/AB"))) == ResponseCode.HANDLE_NOT_FOUND


async def test_on_a_case_sensitive_node_names_that_differ_in_case_are_different_administrators(
    bench: Bench,
) -> None:
    operations = bench.make_operations(case_sensitive=True)
    lower = Identity(index=300, handle=Handle.parse("88.100/admin"))
    values = (url("x"), admin(ADMINISTRATOR))
    await operations.create([creation("88.100/pump", *values)], by=OPERATOR)

    (refused,) = await operations.delete([Handle.parse("88.100/pump")], by=lower)
    (deleted,) = await operations.delete([Handle.parse("88.100/pump")], by=ADMINISTRATOR)

    assert code(refused) == ResponseCode.INVALID_ADMINISTRATOR
    assert isinstance(deleted, Deleted)


async def test_on_a_case_sensitive_node_groups_are_found_as_they_are_spelled(bench: Bench) -> None:
    operations = bench.make_operations(case_sensitive=True)
    crew = Identity(index=200, handle=Handle.parse("88.100/Crew"))
    members = ValueReferences((ValueReference(STRANGER.handle.octets, STRANGER.index),)).encode()
    group = HandleValue(index=200, type="HS_VLIST", data=members)
    await operations.create(
        [creation("88.100/Crew", group), creation("88.100/pump", url("x"), admin(crew))], by=OPERATOR
    )

    (result,) = await operations.delete([Handle.parse("88.100/pump")], by=STRANGER)

    assert isinstance(result, Deleted)


async def test_a_delegated_prefix_is_referred_to(bench: Bench) -> None:
    site = bytes.fromhex("0001020b0001800200000000 00000000 00000000".replace(" ", ""))
    places = [
        HandleValue(index=1, type="HS_SITE", data=site),
        HandleValue(index=2, type="HS_SITE.PREFIX", data=site),
    ]
    await bench.create("0.NA/88.100.5", *places, admin())

    record = await bench.ask("88.100.5")
    below = await bench.ask("0.NA/88.100.5.7")
    handle = await bench.ask("88.100.5/pump")
    elsewhere = await bench.ask("99/x")

    assert isinstance(record, Found)
    assert isinstance(below, Referred)
    assert (below.code, [v.type for v in below.values]) == (ResponseCode.PREFIX_REFERRAL, ["HS_SITE.PREFIX"])
    assert isinstance(handle, Referred)
    assert (handle.code, [v.type for v in handle.values]) == (ResponseCode.SERVICE_REFERRAL, ["HS_SITE"])
    assert code(elsewhere) == ResponseCode.SERVER_NOT_RESPONSIBLE
    assert code(await bench.ask("0.NA/88.100.5.7", refer=False)) == ResponseCode.HANDLE_NOT_FOUND
    assert code(await bench.ask("88.100.5/pump", refer=False)) == ResponseCode.SERVER_NOT_RESPONSIBLE
    refused = await bench.create("0.NA/88.100.5.7", *places)
    assert code(refused) == ResponseCode.SERVER_NOT_RESPONSIBLE


async def test_the_authorisation_copy_is_never_answered(bench: Bench) -> None:
    assert code(await bench.ask("0.NA/88.100")) == ResponseCode.SERVER_NOT_RESPONSIBLE


async def test_a_root_answers_for_top_level_prefixes(root: Bench) -> None:
    assert isinstance(await root.create("0.NA/88", url("x"), by=ADMINISTRATOR), Created)
    assert isinstance(await root.ask("88"), Found)
    assert code(await root.ask("0.NA/99")) == ResponseCode.HANDLE_NOT_FOUND
    assert code(await root.create("0.NA/8..8", url("x"))) == ResponseCode.INVALID_HANDLE


async def test_renewing_a_prefix_record_that_is_homed_here_renews_the_copy(root: Bench) -> None:
    await root.create("0.NA/0.NA", url("x"), admin(STRANGER))

    row = await root.prefixes.row(b"0.NA")

    assert row is not None
    assert [value.index for value in row.authorisation] == [1, 100]


async def test_deleting_a_prefix_record_that_is_homed_here_ends_what_it_allowed(bench: Bench) -> None:
    await bench.create("0.NA/88.100.7", url("x"), admin(STRANGER))
    await bench.home("88.100.7", admin(STRANGER))
    assert isinstance(await bench.create("88.100.7/a", url("x"), by=STRANGER), Created)

    await bench.operations.delete([Handle.parse("0.NA/88.100.7")], by=OPERATOR)

    assert code(await bench.create("88.100.7/b", url("x"), by=STRANGER)) == ResponseCode.INVALID_ADMINISTRATOR


async def test_a_write_ends_cached_answers_after_its_commit(bench: Bench) -> None:
    before = await bench.ask(PUMP)

    await bench.create(PUMP, url("x"))

    assert not bench.generations.current(before.stamp)
    after = await bench.ask(PUMP)
    await bench.create(PUMP, url("x"))
    assert bench.generations.current(after.stamp)


async def test_two_writers_of_one_new_handle_have_one_winner(bench: Bench) -> None:
    for round_ in range(20):
        name = f"88.100/contested-{round_}"
        results = await asyncio.gather(*(bench.create(name, url(f"https://{n}.example/")) for n in range(4)))

        assert sorted(type(result).__name__ for result in results) == ["Created", *["Rejected"] * 3]
        assert {r.code for r in results if isinstance(r, Rejected)} == {ResponseCode.HANDLE_ALREADY_EXISTS}


@pytest.mark.parametrize("size", [20, 500])
async def test_overlapping_batches_in_different_order_do_not_deadlock(bench: Bench, size: int) -> None:
    def batch(writer: int) -> list[Creation]:
        items = [creation(f"88.100/item-{n}", url(f"https://{writer}.example/{n}")) for n in range(size)]
        return items if writer % 2 else items[::-1]

    async with asyncio.timeout(30):
        outcomes = await asyncio.gather(
            *(bench.operations.create(batch(writer), by=OPERATOR, replace=True) for writer in range(4))
        )

    assert all(isinstance(result, Created | Replaced) for results in outcomes for result in results)
    created = [result for results in outcomes for result in results if isinstance(result, Created)]
    assert len(created) == size
    log = await bench.log()
    assert len(log) == 4 * size
    row = await bench.store.read(b"88.100/ITEM-0")
    assert row is not None
    assert row.version == 4


async def test_a_copy_that_meets_an_unfinished_writer_gives_way_and_waits(bench: Bench) -> None:
    items = [creation(f"88.100/item-{n:03}", url("x")) for n in range(200)]
    async with bench.store.writing() as writing:
        await writing.insert([(b"88.100/ITEM-150", b"88.100/item-150", b"88.100", b"", 0, None, 0, 0, 1, 1)])
        batch = asyncio.create_task(bench.operations.create(items, by=OPERATOR))
        await asyncio.sleep(0.4)
        assert not batch.done()

    results = await batch

    assert code(results[150]) == ResponseCode.HANDLE_ALREADY_EXISTS
    assert sum(isinstance(result, Created) for result in results) == 199


async def test_a_lost_database_is_an_outage_and_nothing_is_acknowledged(own_postgres: TestPostgres) -> None:
    bench = await Bench.open(own_postgres.database(), homes=("88.100",))
    try:
        assert isinstance(await bench.create(PUMP, url("x")), Created)
        own_postgres.crash()
        with pytest.raises(StoreUnavailable):
            await bench.create("88.100/lost", url("x"))
        with pytest.raises(StoreUnavailable):
            await bench.ask(PUMP)

        own_postgres.start()

        assert isinstance(await bench.ask(PUMP), Found)
        assert code(await bench.ask("88.100/lost")) == ResponseCode.HANDLE_NOT_FOUND
    finally:
        await bench.close()
