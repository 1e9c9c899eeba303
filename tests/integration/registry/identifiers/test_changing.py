"""Changing identifiers: what stays, who may, in which states; and of two editors the second is told."""

import asyncio
from typing import Any

import msgspec
import pytest

from protocol.codes import ResponseCode
from protocol.statuses import Status, parse_status
from registry.accounts.roles import Role
from registry.identifiers.values import ValueForm
from registry.outcomes import OPERATOR, Deleted, Denied, Found, Replaced, Unchanged
from registry.problem_types import NOT_FOUND, PRECONDITION_FAILED, ApiProblem
from registry.problem_types.identifiers import (
    STATE_INCOMPLETE,
    STATE_REFUSED,
    VALUE_PROTECTED,
    VALUE_REFUSED,
)
from tests.integration.registry.bench import secret
from tests.integration.registry.identifiers.plant import (
    EDITOR,
    RIVAL_EDITOR,
    URL,
    Plant,
    any_version,
    caller,
    version,
)

PUMP = "88.100.1/PUMP-7"
DESC: dict[str, Any] = {"index": 2, "type": "DESC", "data": "a pump"}


async def test_new_values_replace_the_public_ones_and_leave_administrators_and_secrets(plant: Plant) -> None:
    await plant.create(PUMP, values=[URL, DESC])
    await plant.bench.put(PUMP, secret("hidden"), by=OPERATOR)

    done = await plant.replace(PUMP, {**DESC, "data": "another"})

    assert isinstance(done, Replaced)
    assert done.version == 3
    values = {value.index: value for value in await plant.bench.values(PUMP, OPERATOR)}
    assert {index: value.type for index, value in values.items()} == {
        2: "DESC",
        100: "HS_ADMIN",
        300: "HS_SECKEY",
    }
    assert values[2].data == b"another"
    assert values[300].data == b"hidden"


async def test_a_value_that_stays_as_it_is_keeps_its_time(plant: Plant) -> None:
    await plant.create(PUMP, values=[URL, DESC])
    plant.bench.now_s += 60
    await plant.replace(PUMP, URL, {**DESC, "data": "another"})
    times = {value.index: value.timestamp for value in await plant.bench.values(PUMP)}
    assert times[2] - times[1] == 60


async def test_the_same_values_again_change_nothing(plant: Plant) -> None:
    await plant.create(PUMP)
    assert isinstance(await plant.replace(PUMP, URL), Unchanged)
    assert (await plant.read(PUMP)).version == 1


async def test_of_two_editors_the_second_is_told_that_the_identifier_has_changed(plant: Plant) -> None:
    await plant.create(PUMP)

    results = await asyncio.gather(
        *(
            plant.replace(PUMP, {**URL, "data": f"https://www.example.com/{number}"}, match=version(1))
            for number in range(6)
        ),
        return_exceptions=True,
    )

    done = [result for result in results if isinstance(result, Replaced)]
    refused = [result for result in results if isinstance(result, ApiProblem)]
    assert len(done) == 1
    assert len(refused) == 5
    assert {problem.type for problem in refused} == {PRECONDITION_FAILED}
    assert (await plant.read(PUMP)).version == 2


async def test_single_values_are_added_replaced_and_removed(plant: Plant) -> None:
    await plant.create(PUMP)
    form = msgspec.convert(DESC, ValueForm)
    async with plant.writing() as tx:
        done = await plant.identifiers.put_value(tx, PUMP, form, EDITOR, match=version(1))
        assert done.version == 2
        done = await plant.identifiers.remove_value(tx, PUMP, 1, EDITOR, match=version(2))
    assert [value.index for value in await plant.bench.values(PUMP)] == [2, 100]

    with pytest.raises(ApiProblem) as refused:
        async with plant.writing() as tx:
            await plant.identifiers.remove_value(tx, PUMP, 7, EDITOR, match=any_version)
    assert (refused.value.type, refused.value.detail) == (NOT_FOUND, "The identifier has no such value.")


async def test_a_value_without_the_permission_to_write_it_is_protected(plant: Plant) -> None:
    await plant.create(PUMP, values=[{**URL, "permissions": "1010"}])
    with pytest.raises(ApiProblem) as refused:
        await plant.replace(PUMP, {**URL, "data": "https://www.example.com/other"})
    assert refused.value.type is VALUE_PROTECTED


async def test_new_values_are_checked_like_the_first_ones(plant: Plant) -> None:
    await plant.create(PUMP)
    for bad in ({**URL, "data": "javascript:alert(1)"}, {"index": 2, "type": "HS_SECKEY", "data": "x"}):
        with pytest.raises(ApiProblem) as refused:
            await plant.replace(PUMP, bad)
        assert refused.value.type is VALUE_REFUSED


async def test_nobody_changes_or_deletes_what_belongs_to_somebody_else(plant: Plant) -> None:
    await plant.create("88.100.2/x", by=RIVAL_EDITOR)
    for name in ("88.100.2/x", "88.100.2/unknown", "88.100.7/x", "0.NA/88.100.2"):
        for attempt in (
            plant.replace(name, URL),
            plant.delete(name),
            plant.state(name, "suspended", reason="x"),
        ):
            with pytest.raises(ApiProblem) as refused:
                await attempt
            assert (refused.value.type, refused.value.detail) == (NOT_FOUND, "There is no such identifier.")
    assert (await plant.read("88.100.2/x", RIVAL_EDITOR)).version == 1


async def test_deleting_takes_the_right_to_delete(plant: Plant) -> None:
    await plant.create(PUMP)
    writer = caller(rights=EDITOR.rights - {right for right in EDITOR.rights if right.endswith("delete")})
    with pytest.raises(ApiProblem) as refused:
        await plant.delete(PUMP, by=writer)
    assert refused.value.type.status == 403
    assert isinstance(await plant.delete(PUMP), Deleted)
    with pytest.raises(ApiProblem):
        await plant.delete(PUMP)


async def test_a_draft_goes_into_force(plant: Plant) -> None:
    await plant.create(PUMP, state="draft")
    assert (await plant.state(PUMP, "active")).version == 2
    assert isinstance(await plant.bench.ask(PUMP), Found)
    assert (await plant.acts())[-1] == ("identifier.activate", PUMP, 0)


async def test_a_suspended_identifier_says_so_until_it_is_resumed(plant: Plant) -> None:
    await plant.create(PUMP)
    await plant.state(PUMP, "suspended", reason="recalled")

    answer = await plant.bench.ask(PUMP)
    assert isinstance(answer, Denied)
    assert answer.code is ResponseCode.VALUES_NOT_FOUND
    status = parse_status(answer.message)
    assert status is not None
    assert (status.status, status.reason, status.by) == (Status.SUSPENDED, "recalled", "its registrant")
    found = await plant.read(PUMP)
    assert (found.state, found.reason) == ("suspended", "recalled")
    assert found.values is not None
    assert found.values.count == 2

    await plant.state(PUMP, "active")
    assert isinstance(await plant.bench.ask(PUMP), Found)
    assert (await plant.read(PUMP)).reason is None


async def test_a_retired_identifier_tells_its_successor_for_good(plant: Plant) -> None:
    await plant.create(PUMP)
    await plant.state(
        PUMP,
        "retired",
        reason="end of life",
        successor="88.100.1/PUMP-8",
        redirect=True,
        since="2026-01-01T00:00:00Z",
    )

    told = await plant.bench.values(PUMP)
    assert [(value.index, value.type) for value in told] == [(1, "DESC"), (2, "HS_ALIAS")]
    status = parse_status(told[0].data.decode())
    assert status is not None
    assert (status.reason, status.successor) == ("end of life", "88.100.1/PUMP-8")
    found = await plant.read(PUMP)
    assert (found.state, found.reason, str(found.successor)) == ("retired", "end of life", "88.100.1/PUMP-8")
    assert [kind for _, kind in found.restricted] == ["HS_ADMIN"]
    again = plant.state(PUMP, "retired", reason="x")
    for attempt in (again, plant.state(PUMP, "active"), plant.replace(PUMP, URL), plant.delete(PUMP)):
        with pytest.raises(ApiProblem) as refused:
            await attempt
        assert refused.value.type is STATE_REFUSED


@pytest.mark.parametrize(
    ("state", "members", "pointer"),
    [
        ("suspended", {}, "/reason"),
        ("retired", {}, "/reason"),
        ("suspended", {"reason": "x", "successor": "88.100.1/y"}, "/successor"),
        ("retired", {"reason": "x", "successor": "88.100.1/pump-7"}, "/successor"),
        ("retired", {"reason": "x", "redirect": True}, "/redirect"),
        ("retired", {"reason": "x", "since": "2999-01-01T00:00:00Z"}, "/since"),
        ("retired", {"reason": "x", "since": "0001-01-01T00:00:00Z"}, "/since"),
    ],
)
async def test_a_change_of_state_that_lacks_something_says_what(
    plant: Plant, state: str, members: dict[str, Any], pointer: str
) -> None:
    await plant.create(PUMP)
    with pytest.raises(ApiProblem) as refused:
        await plant.state(PUMP, state, **members)
    assert refused.value.type is STATE_INCOMPLETE
    assert [fault.pointer for fault in refused.value.errors] == [pointer]


async def test_the_audit_tells_who_suspended_what_and_why(plant: Plant) -> None:
    await plant.create(PUMP)
    await plant.state(PUMP, "suspended", reason="recalled")
    async with plant.bench.store.connection() as connection:
        record = await connection.fetchrow(
            "SELECT actor, organisation, target, detail FROM audit_log WHERE action = 'identifier.suspend'"
        )
    assert record is not None
    assert tuple(record) == (EDITOR.id, EDITOR.organisation, PUMP, '{"reason":"recalled","version":2}')


async def test_what_a_deleted_identifier_was_suspended_for_is_forgotten(plant: Plant) -> None:
    await plant.create(PUMP)
    await plant.state(PUMP, "suspended", reason="recalled")
    await plant.delete(PUMP)
    async with plant.bench.store.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM handle_states") == 0


async def test_a_reader_changes_nothing(plant: Plant) -> None:
    await plant.create(PUMP)
    with pytest.raises(ApiProblem) as refused:
        await plant.replace(PUMP, {**URL, "data": "https://www.example.com/2"}, by=caller(role=Role.READER))
    assert refused.value.type.status == 403
