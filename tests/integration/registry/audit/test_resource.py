"""The audit over HTTP: who sees what of it, and that reading it leaves an entry too."""

import hashlib
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import asyncpg
import pytest

from registry.accounts.roles import Right
from registry.api.resources.audit import ROUTES
from registry.audit.entry import FIRST_LINK, Entry, canonical, canonical_detail
from registry.audit.numbering import SESSION_SETTINGS, Numbering
from registry.outcomes import OPERATOR, Origin
from tests.integration.registry.api.harness import (
    CALLERS,
    ORGANISATION,
    OTHER_ORGANISATION,
    Front,
    caller,
    running_front,
)
from tests.integration.registry.bench import creation, url

AUDITOR = frozenset({Right.AUDIT_READ})
FOREIGN = 3
"""The number of the other organisation's entry."""


async def number_all(dsn: str) -> None:
    connection = await asyncpg.connect(dsn, server_settings=SESSION_SETTINGS)
    numbering = Numbering(connection, wall_clock=lambda: 1_800_000_000.0)
    await numbering.start()
    while await numbering.step():
        pass
    await connection.close()


@pytest.fixture
async def front(database: str, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Front]:
    """Give an API whose audit holds an act of the node between those of two organisations."""
    monkeypatch.setitem(CALLERS, "auditor", caller("usr_auditor", None, rights=AUDITOR))
    monkeypatch.setitem(CALLERS, "own", caller("usr_own", ORGANISATION, rights=AUDITOR))
    async with running_front(database, scratch, ROUTES) as running:
        async with running.services.store.connection() as connection:
            await connection.execute("TRUNCATE audit_log, transaction_log")
        for organisation, name in ((ORGANISATION, "own"), (OTHER_ORGANISATION, "foreign")):
            origin = Origin(actor="key_one", organisation=organisation, via="api", request_id="request-1")
            batch = [creation(f"88.1/{name}-{place}", url("https://plant.example/")) for place in range(3)]
            if organisation == OTHER_ORGANISATION:
                async with running.services.operations.transaction(
                    Origin(actor="system", via="system")
                ) as tx:
                    tx.audit("node.start", "88.1", detail={"reason": "重启"})
            await running.services.operations.create(batch, by=OPERATOR, origin=origin)
        await number_all(database)
        running.token = "auditor"
        yield running


async def test_an_auditor_of_the_node_sees_everything(front: Front) -> None:
    answer = await front.ask("GET", "/api/v1/audit")
    assert answer.status == 200
    assert [item["target"] for item in answer.json["items"]] == ["88.1/foreign-0", "88.1", "88.1/own-0"]
    assert answer.json["next"] is None
    entry = answer.json["items"][1]
    assert (entry["number"], entry["action"], entry["detail"]) == (2, "node.start", {"reason": "重启"})
    assert (entry["organisation"], entry["changes"], entry["digest"]) == (None, 0, None)


async def test_an_auditor_of_an_organisation_sees_what_concerns_it(front: Front) -> None:
    answer = await front.ask("GET", "/api/v1/audit", token="own")
    assert [item["target"] for item in answer.json["items"]] == ["88.1/own-0"]


async def test_another_organisation_is_as_unknown_as_one_that_never_was(front: Front) -> None:
    foreign = await front.ask("GET", f"/api/v1/audit?organisation={OTHER_ORGANISATION}", token="own")
    unknown = await front.ask("GET", "/api/v1/audit?organisation=org_zzzzzzzzzzzzzzzzzzzz", token="own")
    assert foreign.status == unknown.status == 404
    assert foreign.json["detail"] == unknown.json["detail"]


@pytest.mark.parametrize("path", ["/api/v1/audit/{}", "/api/v1/audit/{}/changes"])
async def test_a_foreign_entry_is_as_unknown_as_one_that_never_was(front: Front, path: str) -> None:
    answers = [
        await front.ask("GET", path.format(number), token="own") for number in (FOREIGN, 2, 99, "x", 10**30)
    ]
    assert {answer.status for answer in answers} == {404}
    assert {answer.json["detail"] for answer in answers} == {"There is no such entry."}


@pytest.mark.parametrize(
    "path", ["/api/v1/audit", "/api/v1/audit/head", "/api/v1/audit/1", "/api/v1/audit/1/changes"]
)
async def test_reading_takes_the_right(front: Front, path: str) -> None:
    assert (await front.ask("GET", path, token="one")).status == 403
    assert (await front.ask("GET", path, token="")).status == 401


async def test_reading_the_audit_is_audited(front: Front, database: str) -> None:
    await front.ask("GET", "/api/v1/audit", token="own", headers={"X-Request-Id": "request-of-mine"})
    await number_all(database)
    (latest, *_) = (await front.ask("GET", "/api/v1/audit?limit=1")).json["items"]
    assert (latest["actor"], latest["action"], latest["organisation"]) == (
        "usr_own",
        "audit.list",
        ORGANISATION,
    )
    assert latest["request_id"] == "request-of-mine"


async def test_pages_follow_each_other(front: Front) -> None:
    first = (await front.ask("GET", "/api/v1/audit?limit=2&action=identifier")).json
    second = (await front.ask("GET", "/api/v1/audit?limit=1&action=identifier")).json
    third = (await front.ask("GET", f"/api/v1/audit?limit=1&action=identifier&cursor={second['next']}")).json
    targets = [item["target"] for page in (second, third) for item in page["items"]]
    assert targets == [item["target"] for item in first["items"]] == ["88.1/foreign-0", "88.1/own-0"]


@pytest.mark.parametrize(
    "query",
    [
        "cursor=AAAA",
        "cursor=!",
        "limit=0",
        "limit=201",
        "since=yesterday",
        "since=2026-11-20T10:00:00",
        "colour=red",
    ],
)
async def test_bad_parameters_are_refused(front: Front, query: str) -> None:
    assert (await front.ask("GET", f"/api/v1/audit?{query}")).status == 400


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("since=0001-01-01T00:00:00Z&until=9999-12-31T23:59:59Z", 3),
        ("since=9999-12-31T23:59:59Z", 0),
        ("until=0001-01-01T00:00:00%2B14:00", 0),
        ("actor=key_one", 2),
        ("actor=%27%3B--", 0),
        ("target=88.1&action=node.start", 1),
    ],
)
async def test_entries_are_chosen_by_parameters(front: Front, query: str, count: int) -> None:
    answer = await front.ask("GET", f"/api/v1/audit?{query}")
    assert (answer.status, len(answer.json["items"])) == (200, count)


async def test_the_changes_of_an_entry_are_listed(front: Front) -> None:
    first = (await front.ask("GET", "/api/v1/audit/1/changes?limit=2", token="own")).json
    second = (
        await front.ask("GET", f"/api/v1/audit/1/changes?limit=2&cursor={first['next']}", token="own")
    ).json
    changes = [*first["items"], *second["items"]]
    assert [change["identifier"] for change in changes] == [f"88.1/own-{place}" for place in range(3)]
    assert {(change["action"], change["version"]) for change in changes} == {("create", 1)}
    assert second["next"] is None
    assert (await front.ask("GET", "/api/v1/audit/1/changes?cursor=AQ")).status == 400


async def test_whoever_keeps_the_entries_can_compute_the_chain(front: Front) -> None:
    """What the answer holds is all that the hash covers."""
    items = (await front.ask("GET", "/api/v1/audit")).json["items"]
    head = (await front.ask("GET", "/api/v1/audit/head")).json
    single = (await front.ask("GET", "/api/v1/audit/1")).json
    chain = FIRST_LINK
    for item in reversed(items):
        at_ms = round(datetime.fromisoformat(item["at"]).timestamp() * 1_000)
        entry = Entry(
            item["transaction"],
            item["id"],
            at_ms,
            item["actor"],
            item["organisation"],
            item["via"],
            item["action"],
            item["target"],
            item["changes"],
            None if item["digest"] is None else bytes.fromhex(item["digest"]),
            canonical_detail(item["detail"]),
            item["request_id"],
        )
        chain = hashlib.sha256(chain + canonical(entry)).digest()
        assert item["chain"] == chain.hex()
    assert single == items[-1]
    assert (head["number"], head["chain"], head["changes"]) == (3, chain.hex(), 6)
    assert head["waiting"] >= 1  # what these readings themselves have entered


async def test_an_entry_that_somebody_made_unreadable_is_shown(front: Front) -> None:
    async with front.services.store.connection() as connection:
        await connection.execute("UPDATE audit_log SET detail = 'no JSON' WHERE action = 'node.start'")
    answer = await front.ask("GET", "/api/v1/audit/2")
    assert answer.json["detail"] == {"unreadable": "no JSON"}
