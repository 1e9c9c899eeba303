"""Batches: many acts in one transaction, each with its own result, or all or nothing."""

from typing import Any

import pytest

from registry.identifiers.service import ERRORS_MAX
from registry.outcomes import Created, Deleted, Denied, Found, Replaced
from registry.problem_types import NOT_FOUND, PRECONDITION_FAILED, ApiProblem
from registry.problem_types.identifiers import (
    BATCH_REFUSED,
    IDENTIFIER_EXISTS,
    ITEM_REPEATED,
    NAME_REFUSED,
    VALUE_REFUSED,
)
from tests.integration.registry.identifiers.plant import RIVAL_EDITOR, URL, Plant


def new(name: str, **members: Any) -> dict[str, Any]:
    return {"action": "create", "identifier": name, "values": [URL], **members}


async def test_a_thousand_identifiers_are_registered_at_once_and_entered_once(plant: Plant) -> None:
    outcomes = await plant.batch(*(new(f"88.100.1/P-{number}") for number in range(1_000)))

    assert all(isinstance(outcome, Created) for outcome in outcomes)
    assert [str(outcome.handle) for outcome in outcomes if isinstance(outcome, Created)][
        17
    ] == "88.100.1/P-17"
    assert await plant.acts() == [("identifier.create", "88.100.1/P-0", 1_000)]
    assert isinstance(await plant.bench.ask("88.100.1/P-999"), Found)


async def test_every_item_of_a_best_effort_has_its_own_result(plant: Plant) -> None:
    for name in ("old", "gone", "suspended"):
        await plant.create(f"88.100.1/{name}")
    await plant.create("88.100.2/theirs", by=RIVAL_EDITOR)

    outcomes = await plant.batch(
        new("88.100.1/a"),
        new("88.100.1/old"),
        new("88.100.1/b\u200b"),
        new("88.100.1/c", values=[{**URL, "data": "javascript:1"}]),
        new("88.100.2/theirs"),
        new("88.100.1/d", state="draft"),
        new("88.100.1/A"),
        {"action": "update", "identifier": "88.100.1/old", "version": 1, "values": [{**URL, "ttl": 1}]},
        {"action": "update", "identifier": "88.100.1/suspended", "version": 7, "values": [URL]},
        {"action": "delete", "identifier": "88.100.1/gone"},
        {"action": "delete", "identifier": "88.100.2/theirs"},
        {"action": "state", "identifier": "88.100.1/suspended", "state": "suspended", "reason": "x"},
        {"action": "state", "identifier": "88.100.1/unknown", "state": "suspended", "reason": "x"},
    )

    assert [outcome.type if isinstance(outcome, ApiProblem) else type(outcome) for outcome in outcomes] == [
        Created,
        IDENTIFIER_EXISTS,
        NAME_REFUSED,
        VALUE_REFUSED,
        NOT_FOUND,
        Created,
        IDENTIFIER_EXISTS,
        Replaced,
        PRECONDITION_FAILED,
        Deleted,
        NOT_FOUND,
        ITEM_REPEATED,
        NOT_FOUND,
    ]
    assert isinstance(await plant.bench.ask("88.100.1/a"), Found)
    assert isinstance(await plant.bench.ask("88.100.2/theirs"), Found)


async def test_a_transactional_batch_is_done_as_a_whole_or_not_at_all(plant: Plant) -> None:
    await plant.create("88.100.1/old")
    items = [new("88.100.1/a"), {"action": "delete", "identifier": "88.100.1/old"}, new("88.100.1/b")]

    with pytest.raises(ApiProblem) as refused:
        await plant.batch(*items, new("88.100.1/c", values=[{**URL, "data": "x"}]), mode="transactional")
    assert refused.value.type is BATCH_REFUSED
    assert [fault.pointer for fault in refused.value.errors] == ["/items/3/values/0/data"]
    assert isinstance(await plant.bench.ask("88.100.1/a"), Denied)
    assert isinstance(await plant.bench.ask("88.100.1/old"), Found)

    outcomes = await plant.batch(*items, mode="transactional")
    assert [type(outcome) for outcome in outcomes] == [Created, Deleted, Created]


async def test_the_refusal_of_a_large_batch_names_a_bounded_number_of_items(plant: Plant) -> None:
    items = [new(f"88.100.2/{number}") for number in range(ERRORS_MAX + 50)]
    with pytest.raises(ApiProblem) as refused:
        await plant.batch(*items, mode="transactional")
    assert len(refused.value.errors) == ERRORS_MAX
    assert refused.value.detail.startswith(f"{ERRORS_MAX + 50} of {ERRORS_MAX + 50} items")


async def test_the_same_batch_sent_twice_registers_nothing_twice(plant: Plant) -> None:
    items = [new(f"88.100.1/P-{number}") for number in range(100)]
    await plant.batch(*items)
    outcomes = await plant.batch(*items)
    assert {outcome.type for outcome in outcomes if isinstance(outcome, ApiProblem)} == {IDENTIFIER_EXISTS}
    assert len(await plant.acts()) == 1


async def test_an_identifier_stands_once_among_the_changes_of_a_batch(plant: Plant) -> None:
    await plant.create("88.100.1/x")
    change = {"action": "state", "identifier": "88.100.1/X", "state": "suspended", "reason": "x"}
    outcomes = await plant.batch({**change, "identifier": "88.100.1/x"}, change)
    assert isinstance(outcomes[0], Replaced)
    assert isinstance(outcomes[1], ApiProblem)
    assert outcomes[1].type is ITEM_REPEATED
