"""Ranges: a million suffixes with one row, unknown until they are activated, and nobody else's meanwhile."""

import asyncio
from typing import Any

import msgspec
import pytest

from protocol.codes import ResponseCode
from registry.identifiers.forms import RANGE_NUMBERS_MAX, NewIdentifier
from registry.identifiers.ranges import SHAPES_MAX
from registry.identifiers.service import make_identifiers
from registry.outcomes import Created, Denied, Found
from registry.problem_types import NOT_FOUND, ApiProblem
from registry.problem_types.identifiers import (
    PATTERN_REFUSED,
    RANGE_MISMATCH,
    RANGE_OVERLAP,
    RANGE_RESERVED,
    RANGE_SHAPES,
    SERIES_EXHAUSTED,
)
from tests.integration.registry.identifiers.plant import (
    ACME_PREFIX,
    EDITOR,
    RIVAL_EDITOR,
    RIVAL_PREFIX,
    URL,
    Plant,
)

LINE = "LINE4-{yyyy}-{seq:8}"


async def test_a_million_suffixes_are_reserved_with_one_row(plant: Plant) -> None:
    made = await plant.reserve(LINE, RANGE_NUMBERS_MAX)

    assert (made.first, made.last, made.pattern) == (1, RANGE_NUMBERS_MAX, "LINE4-2027-{seq:8}")
    async with plant.bench.store.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM identifier_ranges") == 1
    assert (await plant.acts())[0][:2] == ("range.reserve", made.id)
    following = await plant.reserve(LINE, 10)
    assert following.first == RANGE_NUMBERS_MAX + 1


async def test_a_suffix_is_unknown_until_it_is_activated(plant: Plant) -> None:
    made = await plant.reserve(LINE, 100)
    name = "88.100.1/LINE4-2027-00000042"
    answer = await plant.bench.ask(name)
    assert isinstance(answer, Denied)
    assert answer.code is ResponseCode.HANDLE_NOT_FOUND

    await plant.create(name, range=made.id)

    assert isinstance(await plant.bench.ask(name), Found)
    assert (await plant.read(name)).range_id == made.id
    assert await plant.identifiers.ranges.read(made.id, EDITOR) == (made, 42)


async def test_without_its_range_no_suffix_is_registered(plant: Plant) -> None:
    made = await plant.reserve(LINE, 100)
    outcomes = await plant.batch(
        new("88.100.1/LINE4-2027-00000001"),
        new("88.100.1/line4-2027-00000100"),
        new("88.100.1/LINE4-2027-00000101"),
        new("88.100.1/LINE4-2027-0000001"),
        new("88.100.1/LINE4-2027-00000002", range=made.id),
        new("88.100.1/LINE4-2027-00000101", range=made.id),
        new("88.100.1/LINE4-2027-00000003", range="rng_" + "a" * 20),
        new("88.100.2/LINE4-2027-00000003", range=made.id),
    )
    assert [outcome.type if isinstance(outcome, ApiProblem) else Created for outcome in outcomes] == [
        RANGE_RESERVED,
        RANGE_RESERVED,
        Created,
        Created,
        Created,
        RANGE_MISMATCH,
        RANGE_MISMATCH,
        NOT_FOUND,
    ]
    assert isinstance(outcomes[0], ApiProblem)
    assert made.id in outcomes[0].detail


async def test_minting_goes_round_ranges(plant: Plant) -> None:
    await plant.reserve("M{seq:5}", 10, first=3)
    await plant.reserve("M{seq:5}", 5, first=13)
    outcomes = await plant.batch(
        *[{"action": "create", "prefix": ACME_PREFIX, "mint": "M{seq:5}", "values": [URL]}] * 4
    )
    made = [str(outcome.handle)[9:] for outcome in outcomes if isinstance(outcome, Created)]
    assert sorted(made) == ["M00001", "M00002", "M00018", "M00019"]


async def test_ranges_never_overlap_each_other_or_what_is_registered(plant: Plant) -> None:
    first = await plant.reserve("R{seq:4}", 100, first=100)
    await plant.create("88.100.1/R0300")
    for start, count in ((199, 1), (50, 51), (100, 100), (120, 10), (0, 9_000), (300, 1), (290, 20)):
        with pytest.raises(ApiProblem) as refused:
            await plant.reserve("r{seq:4}", count, first=start)
        assert refused.value.type is RANGE_OVERLAP
    assert (await plant.reserve("R{seq:4}", 99, first=200)).first == 200
    assert (await plant.reserve("R{seq:4}", 99)).first == 1
    assert (await plant.reserve("R{seq:4}", 10)).first == 301
    assert first.first == 100


async def test_reservations_at_once_never_overlap(plant: Plant) -> None:
    made = await asyncio.gather(*(plant.reserve("C{seq:6}", 1_000) for _ in range(12)))
    assert sorted(row.first for row in made) == [1 + 1_000 * number for number in range(12)]


async def test_the_unused_rest_is_released_and_free_again(plant: Plant) -> None:
    made = await plant.reserve("S{seq:4}", 100)
    await plant.create("88.100.1/S0010", range=made.id)

    with pytest.raises(ApiProblem) as refused:
        await plant.release(made.id, first=10)
    assert refused.value.type is RANGE_OVERLAP
    left = await plant.release(made.id)
    assert (left.first, left.last, left.count, left.reserved) == (1, 10, 10, 100)
    await plant.create("88.100.1/S0011")
    with pytest.raises(ApiProblem):
        await plant.create("88.100.1/S0009")
    with pytest.raises(ApiProblem):
        await plant.create("88.100.1/S0012", range=made.id)
    assert await plant.release(made.id) == left


async def test_a_range_of_which_nothing_was_used_is_released_as_a_whole(plant: Plant) -> None:
    made = await plant.reserve("S{seq:4}", 100)
    assert (await plant.release(made.id)).count == 0
    await plant.create("88.100.1/S0001")
    again = await plant.reserve("S{seq:4}", 50, first=2)
    assert again.first == 2


async def test_ranges_are_read_listed_released_and_used_by_their_holder_only(plant: Plant) -> None:
    made = await plant.reserve("S{seq:4}", 100)
    service = plant.identifiers.ranges
    for identity in (made.id, "rng_" + "a" * 20, "nonsense"):
        for attempt in (service.read(identity, RIVAL_EDITOR), plant.release(identity, by=RIVAL_EDITOR)):
            with pytest.raises(ApiProblem) as refused:
                await attempt
            assert (refused.value.type, refused.value.detail) == (NOT_FOUND, "There is no such range.")
    with pytest.raises(ApiProblem) as unseen:
        await service.list(ACME_PREFIX, RIVAL_EDITOR, after="", limit=5)
    with pytest.raises(ApiProblem) as refused:
        await plant.reserve("x{seq:3}", 5, by=RIVAL_EDITOR)
    for error in (unseen, refused):
        assert (error.value.type, error.value.detail) == (NOT_FOUND, "There is no such prefix.")
    with pytest.raises(ApiProblem) as refused:
        await plant.create("88.100.2/S0001", by=RIVAL_EDITOR, range=made.id)
    assert refused.value.type is RANGE_MISMATCH
    assert await service.list(RIVAL_PREFIX, RIVAL_EDITOR, after="", limit=5) == []
    assert await service.list(ACME_PREFIX, EDITOR, after="", limit=5) == [made]


@pytest.mark.parametrize(
    "pattern", ["random", "{seq:3}{check:mod37}", "{seq:3}{random:8}", "PUMP", "{seq:3}\u200b"]
)
async def test_a_range_takes_a_pattern_with_one_number(plant: Plant, pattern: str) -> None:
    with pytest.raises(ApiProblem) as refused:
        await plant.reserve(pattern, 5)
    assert refused.value.type is PATTERN_REFUSED


async def test_a_range_does_not_go_beyond_its_digits(plant: Plant) -> None:
    with pytest.raises(ApiProblem) as refused:
        await plant.reserve("{seq:3}", 1_000)
    assert refused.value.type is SERIES_EXHAUSTED
    assert (await plant.reserve("{seq:3}", 1_000, first=0)).last == 999


async def test_the_shapes_of_ranges_below_a_prefix_are_bounded(plant: Plant) -> None:
    for length in range(SHAPES_MAX):
        await plant.reserve("x" * length + "{seq:3}", 1)
    with pytest.raises(ApiProblem) as refused:
        await plant.reserve("x" * SHAPES_MAX + "{seq:3}", 1)
    assert refused.value.type is RANGE_SHAPES
    await plant.reserve("y{seq:3}", 1)


async def test_prefixes_without_ranges_ask_nothing_about_them(plant: Plant) -> None:
    async with plant.bench.store.connection() as connection:
        await connection.execute("DROP TABLE identifier_ranges, identifier_range_shapes")
    assert isinstance((await plant.batch(new("88.100.1/x")))[0], Created)


def new(name: str, **members: Any) -> dict[str, Any]:
    return {"action": "create", "identifier": name, "values": [URL], **members}


async def test_where_case_matters_ranges_and_series_of_other_spellings_are_others(plant: Plant) -> None:
    plant.identifiers = make_identifiers(plant.bench.make_operations(case_sensitive=True), default_ttl_s=600)
    made = await plant.reserve("Line-{seq:3}", 5)
    assert (await plant.reserve("LINE-{seq:3}", 5)).first == 1
    async with plant.bench.make_operations(case_sensitive=True).transaction(EDITOR.origin("r")) as tx:
        forms = [
            msgspec.convert({"identifier": f"88.100.1/{name}", "values": [URL], **members}, NewIdentifier)
            for name, members in (
                ("Line-002", {"range": made.id}), ("LINE-002", {"range": made.id}), ("line-002", {}), ("Line-003", {})
            )
        ]  # fmt: skip
        outcomes = await plant.identifiers.registrar.register(tx, forms, EDITOR)
    assert [outcome.type if isinstance(outcome, ApiProblem) else Created for outcome in outcomes] == [
        Created,
        RANGE_MISMATCH,
        Created,
        RANGE_RESERVED,
    ]
