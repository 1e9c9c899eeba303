"""Registering identifiers: what is stored, what is refused and in which words, and that tenants never meet."""

from datetime import UTC, datetime
from typing import Any

import pytest

from protocol.codes import ResponseCode
from protocol.handle import Handle
from protocol.value import HandleValue, ValueList
from registry.accounts.roles import Role
from registry.outcomes import Denied, Found
from registry.prefixes import PrefixStatus
from registry.problem_types import NOT_FOUND, ApiProblem, ProblemType
from registry.problem_types.identifiers import (
    IDENTIFIER_EXISTS,
    NAME_REFUSED,
    PREFIX_MOVING,
    PREFIX_NOT_ACTIVE,
    VALUE_REFUSED,
)
from tests.integration.registry.allocation.office import a_site
from tests.integration.registry.identifiers.plant import (
    ACME,
    ACME_PREFIX,
    EDITOR,
    RIVAL_EDITOR,
    URL,
    Plant,
    caller,
)

PUMP = "88.100.1/PUMP-7"


async def test_what_is_registered_resolves_with_the_administrators_of_its_prefix(plant: Plant) -> None:
    made = await plant.create(PUMP)

    assert made.version == 1
    answer = await plant.bench.ask(PUMP)
    assert isinstance(answer, Found)
    assert [value.type for value in answer.values] == ["URL", "HS_ADMIN"]
    assert await plant.acts() == [("identifier.create", PUMP, 1)]


async def test_prefix_and_suffix_may_be_named_separately(plant: Plant) -> None:
    made = await plant.create(prefix=ACME_PREFIX, suffix="a/b c")
    assert str(made.handle) == "88.100.1/a/b c"


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"identifier": PUMP, "prefix": ACME_PREFIX},
        {"identifier": PUMP, "mint": "random"},
        {"prefix": ACME_PREFIX},
        {"prefix": ACME_PREFIX, "suffix": "x", "mint": "random"},
        {"prefix": ACME_PREFIX, "mint": "random", "range": "rng_x"},
        {"prefix": "88.100.1/x", "suffix": "y"},
        {"prefix": "88.100.1/x", "mint": "random"},
    ],
)
async def test_an_identifier_is_named_in_one_way(plant: Plant, members: dict[str, Any]) -> None:
    with pytest.raises(ApiProblem) as refused:
        await plant.create(**members)
    assert refused.value.type.status in {400, 422}


async def test_a_draft_is_unknown_to_the_world_and_known_to_its_owner(plant: Plant) -> None:
    await plant.create(PUMP, state="draft")

    answer = await plant.bench.ask(PUMP)
    assert isinstance(answer, Denied)
    assert answer.code is ResponseCode.HANDLE_NOT_FOUND
    assert (await plant.read(PUMP)).state == "draft"


async def test_what_exists_is_told_with_its_spelling_and_how_it_could_be_changed(plant: Plant) -> None:
    await plant.create("88.100.1/pump-7")
    plant.bench.now_s += 86_400
    await plant.replace("88.100.1/pump-7", {**URL, "data": "https://www.example.com/2"})

    with pytest.raises(ApiProblem) as refused:
        await plant.create(PUMP)

    registered = datetime.fromtimestamp(1_800_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert refused.value.type is IDENTIFIER_EXISTS
    assert refused.value.detail == (
        f"88.100.1/PUMP-7 exists as 88.100.1/pump-7 (differs in case only), registered {registered}."
    )
    assert refused.value.remedy.startswith(
        'To change it: PUT /api/v1/identifiers/88.100.1%2Fpump-7 with If-Match: "2".'
    )


async def test_the_same_registration_sent_twice_is_refused_the_second_time(plant: Plant) -> None:
    await plant.create(PUMP)
    with pytest.raises(ApiProblem) as refused:
        await plant.create(PUMP)
    assert refused.value.type is IDENTIFIER_EXISTS
    assert refused.value.detail.startswith("88.100.1/PUMP-7 exists, registered ")


@pytest.mark.parametrize("state", ["draft", "suspended", "retired"])
async def test_a_name_in_any_state_is_taken(plant: Plant, state: str) -> None:
    await plant.create(PUMP, state="draft" if state == "draft" else "active")
    if state != "draft":
        await plant.state(PUMP, state, reason="x")
    with pytest.raises(ApiProblem) as refused:
        await plant.create(PUMP)
    assert refused.value.type is IDENTIFIER_EXISTS


async def test_a_deleted_name_can_be_registered_again_and_counts_as_registered_then(plant: Plant) -> None:
    await plant.create(PUMP)
    await plant.delete(PUMP)
    plant.bench.now_s += 60
    assert (await plant.create(PUMP)).version == 3
    assert (await plant.read(PUMP)).registered_ms == int(plant.bench.now_s * 1_000)


@pytest.mark.parametrize(
    "name",
    [
        "88.100.1/PUMP\u200b7",
        "88.100.1/\u202e7",
        "88.100.1/a\nb",
        "88.100.1/a\x00b",
        "88.100.1/e\u0301",
        "88.100.1",
    ],
)
async def test_a_name_that_deceives_is_refused(plant: Plant, name: str) -> None:
    with pytest.raises(ApiProblem) as refused:
        await plant.create(name)
    assert refused.value.type is NAME_REFUSED
    assert refused.value.errors[0].pointer == "/identifier"


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "file:///etc/passwd", "https://user:secret@example.com/"]
)
async def test_a_target_that_is_no_web_address_is_refused(plant: Plant, url: str) -> None:
    with pytest.raises(ApiProblem) as refused:
        await plant.create(PUMP, values=[URL, {"index": 2, "type": "url", "data": url}])
    assert refused.value.type is VALUE_REFUSED
    assert refused.value.errors[0].pointer == "/values/1/data"
    assert "secret" not in refused.value.detail


@pytest.mark.parametrize(
    "values",
    [
        [URL, URL],
        [{"index": 1, "type": "HS_SECKEY", "data": "hidden"}],
        [{"index": 1, "type": "HS_ADMIN", "data": "nonsense"}],
        [{"index": 1, "type": "X", "data": "x" * 300_000}],
    ],
)
async def test_values_that_the_protocol_cannot_carry_or_must_not_show_are_refused(
    plant: Plant, values: list[dict[str, object]]
) -> None:
    with pytest.raises(ApiProblem) as refused:
        await plant.create(PUMP, values=values)
    assert refused.value.type is VALUE_REFUSED


@pytest.mark.parametrize("name", ["88.100.2/PUMP-7", "88.100.3/PUMP-7", "99/x", "0.NA/88.100.1", "88.100/x"])
async def test_a_prefix_of_somebody_else_is_as_unknown_as_one_that_nobody_holds(
    plant: Plant, name: str
) -> None:
    with pytest.raises(ApiProblem) as refused:
        await plant.create(name)
    assert (refused.value.type, refused.value.detail) == (NOT_FOUND, "There is no such prefix.")


async def test_a_key_writes_below_the_prefixes_that_it_was_given_only(plant: Plant) -> None:
    await plant.host("88.100.3", ACME)
    limited = caller(prefixes=frozenset({b"88.100.3"}))
    await plant.create("88.100.3/x", by=limited)
    with pytest.raises(ApiProblem) as refused:
        await plant.create(PUMP, by=limited)
    assert refused.value.type is NOT_FOUND


async def test_below_a_prefix_that_is_suspended_moving_or_gone_nothing_is_registered(plant: Plant) -> None:
    moved = ValueList.of([HandleValue(index=1, type="HS_SITE", data=a_site().encode())])
    cases: list[tuple[dict[str, Any], ProblemType]] = [
        ({"status": PrefixStatus.SUSPENDED, "status_text": "suspended since now"}, PREFIX_NOT_ACTIVE),
        ({"frozen": True}, PREFIX_MOVING),
        ({"homed": False, "moved": moved}, PREFIX_NOT_ACTIVE),
    ]
    for changes, kind in cases:
        await plant.host(ACME_PREFIX, ACME, **changes)
        with pytest.raises(ApiProblem) as refused:
            await plant.create(PUMP)
        assert refused.value.type is kind
        assert bool(refused.value.headers) is (kind is PREFIX_MOVING)


async def test_two_organisations_may_use_the_same_suffix(plant: Plant) -> None:
    await plant.create(PUMP)
    await plant.create("88.100.2/PUMP-7", by=RIVAL_EDITOR)
    assert (await plant.read(PUMP, EDITOR)).version == 1


async def test_who_may_only_read_registers_nothing(plant: Plant) -> None:
    reader = caller(role=Role.READER)
    with pytest.raises(ApiProblem) as refused:
        await plant.create(PUMP, by=reader)
    assert refused.value.type.status == 403


async def test_a_dry_run_tells_what_would_happen_and_leaves_nothing(plant: Plant) -> None:
    items = [{"action": "create", "identifier": PUMP, "values": [URL]}]
    (outcome,) = await plant.batch(*items, commit=False)
    assert not isinstance(outcome, ApiProblem)
    assert isinstance(await plant.bench.ask(PUMP), Denied)
    assert await plant.bench.store.read(Handle.parse(PUMP).key) is None
    assert await plant.acts() == []
