"""What was used, as it is listed: pages, quotas, and nothing of others."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from registry.api.call import cursor_of
from registry.api.resources.usage import ROUTES
from tests.integration.registry.api.harness import ORGANISATION, OTHER_ORGANISATION, Front, running_front

_DAYS = """
    INSERT INTO usage_days SELECT organisation, day, 10, 1, 5
    FROM unnest($1::text[]) AS organisation,
        generate_series(date '2026-01-01', date '2026-01-03', interval '1 day') AS day"""


@pytest.fixture
async def front(database: str, scratch: Path) -> AsyncIterator[Front]:
    async with running_front(database, scratch, ROUTES) as running:
        async with running.services.store.connection() as connection:
            await connection.execute(_DAYS, [ORGANISATION, OTHER_ORGANISATION])
        yield running


async def days(front: Front, query: str, token: str | None = None) -> list[tuple[str, str]]:
    """Every page of a list."""
    found: list[tuple[str, str]] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = await front.ask("GET", f"/api/v1/usage?{query}&cursor={cursor}", token=token)
        assert answer.status == 200, answer
        found += [(item["organisation"], item["day"]) for item in answer.json["items"]]
        cursor = answer.json["next"]
    return found


async def test_a_member_sees_the_own_days_the_latest_first(front: Front) -> None:
    listed = await days(front, "limit=2&last=2026-12-31&first=2025-01-01")

    assert [day for who, day in listed if day.startswith("2026-01-0")] == [
        "2026-01-03",
        "2026-01-02",
        "2026-01-01",
    ]
    assert {who for who, _ in listed} == {ORGANISATION}


async def test_another_organisation_is_answered_as_an_unknown_one(front: Front) -> None:
    foreign = await front.ask("GET", f"/api/v1/usage?organisation={OTHER_ORGANISATION}")
    unknown = await front.ask("GET", "/api/v1/usage?organisation=org_zzzzzzzzzzzzzzzzzzzz")
    as_node = await front.ask("GET", "/api/v1/usage?organisation=org_zzzzzzzzzzzzzzzzzzzz", token="node")

    assert foreign.status == unknown.status == as_node.status == 404
    assert foreign.json["detail"] == unknown.json["detail"] == as_node.json["detail"]


async def test_the_node_level_sees_every_organisation(front: Front) -> None:
    listed = await days(front, "limit=1&first=2026-01-02&last=2026-01-03", token="node")

    assert listed == [
        (ORGANISATION, "2026-01-03"),
        (OTHER_ORGANISATION, "2026-01-03"),
        (ORGANISATION, "2026-01-02"),
        (OTHER_ORGANISATION, "2026-01-02"),
    ]


async def test_the_quota_stands_beside_the_days(front: Front) -> None:
    answer = await front.ask("GET", "/api/v1/usage")

    assert answer.json["quota"] == {"requests_per_minute": 6_000, "identifiers_per_day": 50_000_000}


@pytest.mark.parametrize(
    "position", [b"\x00", b'["2026-01-01"]', b'["2026-01-01","\\u0000"]', b"[1,2]", b"\xff"]
)
async def test_a_cursor_of_another_list_is_refused(front: Front, position: bytes) -> None:
    answer = await front.ask("GET", f"/api/v1/usage?cursor={cursor_of(position)}", token="node")

    assert (answer.status, answer.slug) == (400, "invalid-request")
