"""The API of a running node, as its clients see it."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from protocol.codes import ResponseCode
from registry.problem_types import ALL
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


BROWSER: Final = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


async def test_a_problem_has_a_page_for_people_and_json_for_programs(plant: RunningRegistry) -> None:
    target = "/api/v1/problems/not-found"
    page = await plant.ask("GET", target, headers=BROWSER)
    data = await plant.get(target)

    assert page.headers["Content-Type"] == "text/html;charset=utf-8"
    assert "There is no such thing" in page.body.decode()
    assert data.headers["Content-Type"] == "application/json"
    assert b'"title_zh":"\xe4\xb8\x8d\xe5\xad\x98\xe5\x9c\xa8"' in data.body
    assert page.headers["Vary"] == data.headers["Vary"] == "Accept"


async def test_every_problem_and_response_code_is_listed(plant: RunningRegistry) -> None:
    page = await plant.ask("GET", "/api/v1/problems", headers=BROWSER)
    listed = json.loads((await plant.get("/api/v1/problems")).body)

    assert {item["type"] for item in listed["items"]} == {kind.uri for kind in ALL}
    assert {code["code"] for code in listed["response_codes"]} == set(ResponseCode)
    assert all(kind.uri in page.body.decode() for kind in ALL)


async def test_the_reference_runs_no_script_and_loads_nothing_from_elsewhere(plant: RunningRegistry) -> None:
    page = await plant.get("/api/v1/docs")
    text = page.body.decode()

    assert page.status == 200
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "unsafe-inline" not in page.headers["Content-Security-Policy"]
    assert "<script" not in text
    assert not re.search(r'(?:src|href)="(?:https?:)?//', text)
