"""What a stranger learns from the operations of a node, and for whom nobody may take him."""

from typing import cast

from protocol.client.client import HandleClient
from protocol.codes import ResponseCode
from protocol.handle import Handle
from protocol.value import HandleValue, ValueList
from registry.elsewhere import Elsewhere
from registry.operations import Operations
from registry.outcomes import ANYBODY, COMMAND, OPERATOR, Creation, Deleted, Identity, Rejected
from registry.writing import State
from tests.integration.registry.bench import ADMINISTRATOR, STRANGER, Bench, admin, url
from tests.integration.registry.test_operations import code


async def test_an_administrator_of_the_node_whose_key_another_node_holds_is_named_as_he_is_spelled(
    bench: Bench,
) -> None:
    spelled, other = (Identity(index=300, handle=Handle.parse(name)) for name in ("99.1/ADMIN", "99.1/admin"))
    context = Operations(
        store=bench.store,
        prefixes=bench.prefixes,
        sealer=bench.sealer,
        generations=bench.generations,
        wall_clock=lambda: bench.now_s,
        server_admins=[spelled, ADMINISTRATOR],
        elsewhere=Elsewhere(cast(HandleClient, None)),
    ).context

    assert await context.is_server_admin(spelled)
    assert not await context.is_server_admin(other)  # that node may tell the two apart
    assert await context.is_server_admin(Identity(index=300, handle=Handle.parse("88.100/admin")))


async def test_a_stranger_who_writes_learns_of_no_draft(bench: Bench) -> None:
    anybodys = HandleValue(index=1, type="DESC", data=b"x", permissions=0x0F)
    draft, nothing = Handle.parse("88.100/draft"), Handle.parse("88.100/nothing")
    async with bench.operations.transaction(COMMAND) as transaction:
        await transaction.create(
            [Creation(draft, ValueList.of([anybodys, admin()]))], by=OPERATOR, state=State.DRAFT
        )
    other = ValueList.of([HandleValue(index=1, type="DESC", data=b"y", permissions=0x0F)])
    said = []
    for handle in (draft, nothing):
        item = [Creation(handle, other)]
        results = [
            *await bench.operations.delete([handle], by=STRANGER),
            await bench.operations.modify_values(handle, other, by=STRANGER),
            await bench.operations.modify_values(handle, other, by=ANYBODY),
            await bench.operations.put_values(handle, other, by=STRANGER),
            await bench.operations.remove_values(handle, [1], by=STRANGER),
            *await bench.operations.create(item, by=STRANGER),
            *await bench.operations.create(item, by=STRANGER, replace=True),
        ]
        said.append([(code(result), result.message) for result in results if isinstance(result, Rejected)])

    assert said[0] == said[1]
    assert len(said[0]) == 7
    assert code((await bench.operations.create([Creation(draft, other)], by=ADMINISTRATOR))[0]) == 101
    assert isinstance((await bench.operations.delete([draft], by=ADMINISTRATOR))[0], Deleted)


async def test_a_stranger_learns_nothing_of_restricted_values_by_guessing(bench: Bench) -> None:
    sealed = url("hidden", 5, permissions=0x0C)
    fixed = url("fixed", 6, permissions=0x08)
    await bench.create("88.100/pump", url("x"), sealed, fixed, admin())
    before = await bench.log()

    for guess in ("hidden", "wrong"):
        whole = (url("x"), url(guess, 5, permissions=0x0C), fixed, admin())
        results = [
            await bench.create("88.100/pump", *whole, by=STRANGER, replace=True),
            await bench.put("88.100/pump", url(guess, 5, permissions=0x0C), by=STRANGER),
            await bench.put("88.100/pump", url(guess, 6, permissions=0x08), by=STRANGER),
            await bench.put("88.100/pump", url("new", 5), by=STRANGER, overwrite=False),
            await bench.put("88.100/pump", url("new", 9), by=STRANGER, overwrite=False),
            await bench.operations.remove_values(Handle.parse("88.100/pump"), [5], by=STRANGER),
            await bench.operations.remove_values(Handle.parse("88.100/pump"), [9], by=STRANGER),
        ]
        assert {code(result) for result in results} == {ResponseCode.INVALID_ADMINISTRATOR}
    assert await bench.log() == before
