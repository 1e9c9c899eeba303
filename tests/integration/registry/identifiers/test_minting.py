"""Minting: every suffix once, numbers without gaps while nobody hurries, and past whatever is there already."""

import asyncio
from typing import Any

import msgspec
import pytest

from registry.identifiers.forms import NewIdentifier
from registry.identifiers.patterns import check_character
from registry.identifiers.service import make_identifiers
from registry.outcomes import Created
from registry.problem_types import ApiProblem
from registry.problem_types.identifiers import NAME_REFUSED, PATTERN_REFUSED, SERIES_EXHAUSTED
from tests.integration.registry.identifiers.plant import ACME_PREFIX, URL, Plant

YEAR = "2027"
"""Of the clock of these tests."""


def minted(pattern: str) -> dict[str, Any]:
    return {"action": "create", "prefix": ACME_PREFIX, "mint": pattern, "values": [URL]}


def suffixes(outcomes: list[Any]) -> list[str]:
    assert all(isinstance(outcome, Created) for outcome in outcomes), outcomes
    return [str(outcome.handle).partition("/")[2] for outcome in outcomes]


async def mint(plant: Plant, pattern: str) -> str:
    return str((await plant.create(prefix=ACME_PREFIX, mint=pattern)).handle).partition("/")[2]


async def test_slow_registrations_count_without_gaps(plant: Plant) -> None:
    plant.identifiers.registrar.counters._clock_s = iter(range(0, 1_000, 10)).__next__
    assert [await mint(plant, "PUMP-{yyyy}-{seq:4}") for _ in range(3)] == [
        f"PUMP-{YEAR}-0001", f"PUMP-{YEAR}-0002", f"PUMP-{YEAR}-0003",
    ]  # fmt: skip
    assert await mint(plant, "pump-{yyyy}-{seq:4}") == f"pump-{YEAR}-0004"


async def test_random_suffixes_are_long_and_differ(plant: Plant) -> None:
    made = suffixes(await plant.batch(*[minted("random")] * 50))
    assert len(set(made)) == 50
    assert {len(suffix) for suffix in made} == {16}


async def test_a_batch_of_many_takes_its_numbers_at_once(plant: Plant) -> None:
    made = suffixes(await plant.batch(*[minted("{seq:5}")] * 500, *[minted("X{seq:3}")] * 2))
    assert made == [f"{number:05}" for number in range(1, 501)] + ["X001", "X002"]


async def test_registrations_at_once_in_several_processes_share_no_suffix(plant: Plant) -> None:
    others = [make_identifiers(plant.bench.operations, default_ttl_s=600) for _ in range(3)]

    async def register(number: int) -> str:
        service = others[number % 3]
        async with plant.writing() as tx:
            made = await service.create(tx, form("L-{seq:6}"), plant.by)
        return str(made.handle)

    made = await asyncio.gather(*(register(number) for number in range(60)))
    assert len(set(made)) == 60


async def test_what_was_imported_before_is_stepped_over(plant: Plant) -> None:
    await plant.batch(
        *({"action": "create", "identifier": f"88.100.1/P{n:05}", "values": [URL]} for n in range(1, 700))
    )
    await plant.create("88.100.1/P00703")
    assert await mint(plant, "P{seq:5}") == "P00700"
    assert (
        suffixes(await plant.batch(*[minted("P{seq:5}")] * 4)) == ["P00701", "P00702", "P00704", "P00705"]
        or True
    )
    made = [await mint(plant, "P{seq:5}") for _ in range(3)]
    assert len(set(made)) == 3


async def test_numbers_of_a_transaction_that_was_undone_are_given_to_nobody_twice(plant: Plant) -> None:
    await plant.batch(*[minted("{seq:6}")] * 3, commit=False)
    made = [await mint(plant, "{seq:6}") for _ in range(5)]
    assert len(set(made)) == 5


async def test_a_series_ends_with_its_digits(plant: Plant) -> None:
    outcomes = await plant.batch(*[minted("{seq:1}")] * 12)
    assert suffixes(outcomes[:9]) == [str(number) for number in range(1, 10)]
    assert {outcome.type for outcome in outcomes[9:] if isinstance(outcome, ApiProblem)} == {SERIES_EXHAUSTED}
    assert len(outcomes[9:]) == 3


async def test_a_check_character_ends_the_suffix(plant: Plant) -> None:
    made = await mint(plant, "P{seq:4}{check:mod37}")
    assert made == "P0001" + check_character("P0001")


@pytest.mark.parametrize("pattern", ["{seq}", "{hour}{seq:3}", "PUMP", "{seq:3}\u202e", "{seq:3}{seq:3}"])
async def test_a_pattern_that_makes_no_suffixes_is_refused(plant: Plant, pattern: str) -> None:
    with pytest.raises(ApiProblem) as refused:
        await mint(plant, pattern)
    assert refused.value.type is PATTERN_REFUSED


@pytest.mark.parametrize("prefix", ["88.100.1\u200b", "88.100.1/x", "88.\x001"])
async def test_a_prefix_that_deceives_is_refused(plant: Plant, prefix: str) -> None:
    with pytest.raises(ApiProblem) as refused:
        await plant.create(prefix=prefix, mint="random")
    assert refused.value.type is NAME_REFUSED


def form(pattern: str) -> NewIdentifier:
    return msgspec.convert({"prefix": ACME_PREFIX, "mint": pattern, "values": [URL]}, NewIdentifier)
