"""The API of a running node, as its clients see it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.registries import RunningRegistry, running_registry


@pytest.fixture
async def plant(database: str, scratch: Path) -> AsyncIterator[RunningRegistry]:
    async with running_registry(database, scratch) as running:
        yield running


async def test_the_document_of_the_api_is_there_for_everybody(plant: RunningRegistry) -> None:
    answer = await plant.get("/api/v1/openapi.json")

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Request-ID"]


async def test_an_identifier_with_a_plain_slash_is_shown_how_it_is_spelled(plant: RunningRegistry) -> None:
    answer = await plant.get("/api/v1/identifiers/88.1/PUMP-7")

    assert answer.status == 404
    assert "/api/v1/identifiers/88.1%2FPUMP-7" in answer.body.decode()


async def test_what_the_front_end_refuses_is_a_problem_too(database: str, scratch: Path) -> None:
    async with running_registry(database, scratch, source_rate_per_s=0.001, source_burst=1) as plant:
        first = await plant.get("/api/v1/problems")
        second = await plant.get("/api/v1/problems")
        record = await plant.get("/api/handles/88.1/x")

    assert (first.status, second.status) == (200, 429)
    assert second.headers["Content-Type"] == "application/problem+json"
    assert b'"type":"/api/v1/problems/network-rate"' in second.body
    assert int(second.headers["Retry-After"]) > 0
    assert second.headers["X-Request-ID"] in second.body.decode()
    assert (record.status, record.rc) == (429, 3)
