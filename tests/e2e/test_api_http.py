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
