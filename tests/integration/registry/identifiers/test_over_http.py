"""Identifiers over HTTP: entity tags, problems, cursors, repeated requests, and input that means no good."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from protocol.handle import Prefix
from protocol.value import ValueList
from registry.accounts.roles import ROLE_RIGHTS, Role
from registry.api.resources import identifiers, ranges
from registry.outcomes import SYSTEM
from registry.prefixes import PrefixRow
from tests.integration.registry.api.harness import (
    CALLERS,
    ORGANISATION,
    OTHER_ORGANISATION,
    Answer,
    Front,
    caller,
    running_front,
)
from tests.integration.registry.bench import admin

URL = {"index": 1, "type": "URL", "data": "https://www.example.com/"}
BASE = "/api/v1/identifiers"
PUMP = f"{BASE}/88.1.1%2FPUMP-7"
EDITOR = ROLE_RIGHTS[Role.ENTERPRISE_EDITOR]


@pytest.fixture
async def front(database: str, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Front]:
    """Give an API of identifiers on which two organisations hold 88.1.1 and 88.1.2."""
    monkeypatch.setitem(CALLERS, "one", caller("key_one", rights=EDITOR))
    monkeypatch.setitem(CALLERS, "other", caller("key_other", OTHER_ORGANISATION, rights=EDITOR))
    monkeypatch.setitem(CALLERS, "reader", caller("key_reader", rights=ROLE_RIGHTS[Role.READER]))
    async with running_front(database, scratch, (*identifiers.ROUTES, *ranges.ROUTES)) as made:
        for name, organisation in (("88.1.1", ORGANISATION), ("88.1.2", OTHER_ORGANISATION)):
            prefix = Prefix.parse(name)
            async with made.services.operations.transaction(SYSTEM) as tx:
                await tx.save_prefix(
                    PrefixRow(
                        key=prefix.key,
                        name=prefix.octets,
                        homed=True,
                        authorisation=ValueList.of([admin()]),
                        organisation=organisation,
                    )
                )
        yield made


async def register(front: Front, name: str = "88.1.1/PUMP-7", **members: Any) -> Answer:
    return await front.ask("POST", BASE, {"identifier": name, "values": [URL], **members})


async def test_an_identifier_is_registered_read_changed_and_deleted(front: Front) -> None:
    made = await register(front)
    assert (made.status, made.headers["location"], made.headers["etag"]) == (201, PUMP, '"1"')
    assert made.json == {"identifier": "88.1.1/PUMP-7", "result": "created", "version": 1}

    read = await front.ask("GET", PUMP)
    assert read.status == 200
    body = read.json
    assert (body["identifier"], body["prefix"], body["suffix"]) == ("88.1.1/PUMP-7", "88.1.1", "PUMP-7")
    assert (body["state"], body["version"], body["registered"]) == ("active", 1, body["changed"])
    assert [value["type"] for value in body["values"]] == ["URL", "HS_ADMIN"]
    assert (await front.ask("GET", PUMP, headers={"If-None-Match": '"1"'})).status == 304

    back = await front.ask("PUT", PUMP, {"values": body["values"]}, headers={"If-Match": '"1"'})
    assert (back.status, back.json["result"]) == (200, "unchanged")
    put = await front.ask("PUT", PUMP, {"values": [{**URL, "ttl": 60}]}, headers={"If-Match": '"1"'})
    assert (put.status, put.headers["etag"]) == (200, '"2"')
    value = {"index": 2, "type": "DESC", "data": "泵"}
    assert (await front.ask("PUT", f"{PUMP}/values/2", value, headers={"If-Match": '"2"'})).status == 200
    assert (await front.ask("DELETE", f"{PUMP}/values/2", headers={"If-Match": '"3"'})).status == 200
    assert (await front.ask("GET", f"{PUMP}?version=3")).json["values"][1]["data"]["value"] == "泵"

    assert (await front.ask("DELETE", PUMP, headers={"If-Match": '"1"'})).slug == "precondition-failed"
    assert (await front.ask("DELETE", PUMP)).status == 204
    assert (await front.ask("GET", PUMP)).status == 404
    versions = (await front.ask("GET", f"{PUMP}/versions?limit=2")).json
    assert [version["state"] for version in versions["items"]] == ["deleted", "active"]
    rest = (await front.ask("GET", f"{PUMP}/versions?limit=2&cursor={versions['next']}")).json
    assert [version["version"] for version in rest["items"]] == [3, 2]


async def test_what_exists_is_told_as_the_problem_that_it_is(front: Front) -> None:
    await register(front, "88.1.1/pump-7")
    refused = await register(front)
    assert (refused.status, refused.slug) == (409, "identifier-exists")
    assert "exists as 88.1.1/pump-7 (differs in case only), registered" in refused.json["detail"]
    assert 'PUT /api/v1/identifiers/88.1.1%2Fpump-7 with If-Match: "1"' in refused.json["remedy"]


async def test_of_two_editors_the_second_is_refused_and_nobody_overwrites_unseen(front: Front) -> None:
    await register(front)
    assert (await front.ask("PUT", PUMP, {"values": [URL]})).slug == "precondition-required"

    answers = await asyncio.gather(
        *(
            front.ask(
                "PUT",
                PUMP,
                {"values": [{**URL, "data": f"https://www.example.com/{number}"}]},
                headers={"If-Match": '"1"'},
            )
            for number in range(5)
        )
    )
    assert sorted(answer.status for answer in answers) == [200, 412, 412, 412, 412]


async def test_a_request_that_is_sent_twice_is_done_once(front: Front) -> None:
    headers = {"Idempotency-Key": "order-4711"}
    body = {"prefix": "88.1.1", "mint": "P{seq:4}", "values": [URL]}
    first = await front.ask("POST", BASE, body, headers=headers)
    again = await front.ask("POST", BASE, body, headers=headers)
    assert (first.status, again.status, again.headers["idempotency-replayed"]) == (201, 201, "true")
    assert first.body == again.body
    other = await front.ask("POST", BASE, {**body, "mint": "random"}, headers=headers)
    assert other.slug == "idempotency-key-reused"
    answers = await asyncio.gather(*(register(front, "88.1.1/TWICE") for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 7


async def test_what_belongs_to_somebody_else_answers_like_what_nobody_has(front: Front) -> None:
    made = await front.ask("POST", BASE, {"identifier": "88.1.2/x", "values": [URL]}, token="other")
    assert made.status == 201
    held = await front.ask(
        "POST", "/api/v1/ranges", {"prefix": "88.1.2", "pattern": "R{seq:4}", "count": 5}, token="other"
    )
    requests: list[tuple[str, str, Any]] = [
        ("GET", f"{BASE}/88.1.{{}}%2Fx", None),
        ("GET", f"{BASE}/88.1.{{}}%2Fx?version=1", None),
        ("GET", f"{BASE}/88.1.{{}}%2Fx?at=2026-01-01T00:00:00Z", None),
        ("GET", f"{BASE}/88.1.{{}}%2Fx/versions", None),
        ("GET", f"{BASE}/88.1.{{}}%2Fx/restricted", None),
        ("PUT", f"{BASE}/88.1.{{}}%2Fx", {"values": [URL]}),
        ("PUT", f"{BASE}/88.1.{{}}%2Fx/values/1", URL),
        ("DELETE", f"{BASE}/88.1.{{}}%2Fx/values/1", None),
        ("POST", f"{BASE}/88.1.{{}}%2Fx/state", {"state": "suspended", "reason": "x"}),
        ("DELETE", f"{BASE}/88.1.{{}}%2Fx", None),
        ("GET", f"{BASE}?prefix=88.1.{{}}", None),
        ("GET", "/api/v1/ranges?prefix=88.1.{}", None),
    ]
    for method, target, body in requests:
        foreign = await front.ask(method, target.format(2), body)
        unknown = await front.ask(method, target.format(9), body)
        assert foreign.status == 404, target
        assert told(foreign) == told(unknown), target
    for name in ("88.1.{}/new", "88.1.{}/x"):
        assert told(await register(front, name.format(2))) == told(await register(front, name.format(9)))
    for target in ("/api/v1/ranges/{}", "/api/v1/ranges/{}/release"):
        method, body = ("POST", {}) if target.endswith("release") else ("GET", None)
        foreign = await front.ask(method, target.format(held.json["id"]), body)
        unknown = await front.ask(method, target.format("rng_" + "a" * 20), body)
        assert foreign.status == 404
        assert told(foreign) == told(unknown)


@pytest.mark.parametrize(
    "text",
    [
        "'; DROP TABLE handles; --",
        '" OR ""="',
        "$(reboot) `id` ; cat /etc/passwd",
        "<script>alert(1)</script>",
        "{{7*7}} ${7*7} %s %n",
        "../../etc/passwd",
        "a\x00b",
        "\r\nX-Injected: yes",
        "\u202eevil",
        "zero\u200bwidth",
        "x" * 100_000,
        "%00",
    ],
)
async def test_whatever_stands_in_a_field_is_data_or_is_refused(front: Front, text: str) -> None:
    await register(front)
    encoded = quote(text, safe="")
    answers = [
        await register(front, f"88.1.1/{text}"),
        await register(front, values=[{"index": 2, "type": text, "data": text}]),
        await register(front, "88.1.1/v", values=[{"index": 2, "type": "DESC", "data": text}]),
        await register(front, "88.1.1/u", values=[{**URL, "data": f"https://www.example.com/{text}"}]),
        await register(front, "88.1.1/p", values=[{**URL, "permissions": text, "ttl": text}]),
        await register(front, "88.1.1/r", range=text),
        await front.ask("POST", BASE, {"prefix": text, "suffix": text, "values": [URL]}),
        await front.ask("POST", BASE, {"prefix": "88.1.1", "mint": text, "values": [URL]}),
        await front.ask("POST", f"{PUMP}/state", {"state": "suspended", "reason": text}),
        await front.ask("POST", f"{PUMP}/state", {"state": "retired", "reason": "x", "successor": text}),
        await front.ask(
            "POST", "/api/v1/ranges", {"prefix": "88.1.1", "pattern": text + "{seq:3}", "count": 1}
        ),
        await front.ask("POST", "/api/v1/ranges", {"prefix": text, "pattern": "{seq:3}", "count": 1}),
        await front.ask("POST", f"{BASE}/batch", {"items": [{"action": "delete", "identifier": text}]}),
        await front.ask("GET", f"{BASE}?prefix=88.1.1&from={encoded}"),
        await front.ask("GET", f"{BASE}?prefix={encoded}"),
        await front.ask("GET", f"{BASE}?prefix=88.1.1&cursor={encoded}"),
        await front.ask("GET", f"{BASE}/{encoded}"),
        await front.ask("GET", f"{BASE}/88.1.1%2F{encoded}?version=1"),
        await front.ask("GET", f"/api/v1/ranges/{encoded}"),
        await front.ask("GET", f"/api/v1/ranges?prefix=88.1.1&cursor={encoded}"),
    ]
    assert {answer.status for answer in answers} <= {200, 201, 400, 404, 409, 413, 414, 422}
    assert all("x-injected" not in answer.headers for answer in answers)
    assert (await front.ask("GET", f"{BASE}?prefix=88.1.1")).status == 200
    listed = (await front.ask("GET", f"{BASE}?prefix=88.1.1")).json["items"]
    assert not any("\u202e" in item["identifier"] or "\u200b" in item["identifier"] for item in listed)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=1000000000",
        "limit=-1",
        "limit=x",
        "cursor=AAAA=",
        "state=dead",
        "page=2",
        "limit=1&limit=2",
    ],
)
async def test_a_page_is_bounded(front: Front, query: str) -> None:
    refused = await front.ask("GET", f"{BASE}?prefix=88.1.1&{query}")
    assert (refused.status, refused.slug) == (400, "invalid-request")


async def test_a_list_is_walked_with_its_cursors(front: Front) -> None:
    items = [{"action": "create", "identifier": f"88.1.1/{n:03}", "values": [URL]} for n in range(25)]
    await front.ask("POST", f"{BASE}/batch", {"items": items})
    names: list[str] = []
    target = f"{BASE}?prefix=88.1.1&limit=10&from=003"
    cursor = ""
    while True:
        page = (await front.ask("GET", target + (f"&cursor={cursor}" if cursor else ""))).json
        names += [item["identifier"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert names == [f"88.1.1/{n:03}" for n in range(3, 25)]


async def test_a_batch_tells_of_every_item_and_is_bounded(front: Front) -> None:
    await register(front)
    items = [
        {"action": "create", "identifier": "88.1.1/a", "values": [URL]},
        {"action": "create", "identifier": "88.1.1/PUMP-7", "values": [URL]},
        {"action": "update", "identifier": "88.1.1/PUMP-7", "version": 1, "values": [{**URL, "ttl": 5}]},
        {"action": "delete", "identifier": "88.1.2/x"},
        {"action": "create", "identifier": "88.1.1/b", "values": [{**URL, "data": "javascript:1"}]},
    ]
    answer = await front.ask("POST", f"{BASE}/batch", {"mode": "best_effort", "items": items})
    assert answer.status == 200
    assert (answer.json["done"], answer.json["refused"]) == (2, 3)
    results = answer.json["items"]
    assert [item["result"] for item in results] == ["created", "refused", "updated", "refused", "refused"]
    assert [item["problem"]["status"] for item in results if "problem" in item] == [409, 404, 422]
    assert results[4]["problem"]["pointer"] == "/values/0/data"

    refused = await front.ask("POST", f"{BASE}/batch", {"items": items})
    assert (refused.status, refused.slug) == (409, "batch-refused")
    many = [{"action": "delete", "identifier": "88.1.1/a"}] * 10_001
    bad: list[list[Any]] = [many, [], [{"action": "burn"}], [{}]]
    for body in ({"items": wrong} for wrong in bad):
        assert (await front.ask("POST", f"{BASE}/batch", body)).status == 400


async def test_a_dry_run_of_any_write_changes_nothing(front: Front) -> None:
    await register(front)
    for method, target, body in (
        ("POST", BASE, {"identifier": "88.1.1/dry", "values": [URL]}),
        ("PUT", PUMP, {"values": [{**URL, "ttl": 1}]}),
        ("POST", f"{PUMP}/state", {"state": "retired", "reason": "x"}),
        ("DELETE", PUMP, None),
        ("POST", f"{BASE}/batch", {"items": [{"action": "delete", "identifier": "88.1.1/PUMP-7"}]}),
        ("POST", "/api/v1/ranges", {"prefix": "88.1.1", "pattern": "{seq:3}", "count": 1}),
    ):
        answer = await front.ask(method, f"{target}?dry_run=true", body, headers={"If-Match": "*"})
        assert answer.status < 300, answer
        assert answer.headers["dry-run"] == "true"
    assert (await front.ask("GET", f"{BASE}/88.1.1%2Fdry")).status == 404
    assert (await front.ask("GET", PUMP)).json["version"] == 1
    assert (await front.ask("GET", "/api/v1/ranges?prefix=88.1.1")).json["items"] == []


async def test_restricted_values_are_for_those_who_may_write_and_their_reading_is_entered(
    front: Front,
) -> None:
    hidden = {"index": 300, "type": "COST", "data": "planted-secret", "permissions": "1100"}
    await register(front, values=[URL, hidden])
    assert "planted-secret" not in (await front.ask("GET", PUMP)).body.decode()
    assert (await front.ask("GET", f"{PUMP}/restricted", token="reader")).status == 403
    answer = await front.ask("GET", f"{PUMP}/restricted")
    assert answer.json["values"][0]["data"]["value"] == "planted-secret"
    assert "no-store" in answer.headers["cache-control"]
    async with front.services.store.connection() as connection:
        entries = await connection.fetch(
            "SELECT actor, action, target, detail FROM audit_log ORDER BY xact, id"
        )
    assert tuple(entries[-1])[:3] == ("key_one", "identifier.read_restricted", "88.1.1/PUMP-7")
    assert "planted-secret" not in str([tuple(entry) for entry in entries])


async def test_a_range_is_reserved_used_and_released(front: Front) -> None:
    body = {"prefix": "88.1.1", "pattern": "LINE4-{seq:6}", "count": 1_000_000 - 1}
    made = await front.ask("POST", "/api/v1/ranges", body)
    assert made.status == 201
    target = made.headers["location"]
    assert (await register(front, "88.1.1/LINE4-000007")).slug == "range-reserved"
    assert (await register(front, "88.1.1/LINE4-000007", range=made.json["id"])).status == 201
    assert (await front.ask("GET", f"{BASE}/88.1.1%2FLINE4-000007")).json["range"] == made.json["id"]
    assert (await front.ask("GET", target)).json["last_activated"] == 7
    assert (await front.ask("POST", f"{target}/release", {})).json["count"] == 7
    assert (await front.ask("POST", "/api/v1/ranges", {**body, "count": 1_000_001})).status == 400
    assert (await front.ask("POST", "/api/v1/ranges", {**body, "count": 0})).status == 400


def told(answer: Answer) -> dict[str, Any]:
    """The body of a refusal but for what names the request."""
    assert answer.slug
    return {name: value for name, value in answer.json.items() if name not in {"instance", "request_id"}}
