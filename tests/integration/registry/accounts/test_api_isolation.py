"""What one organisation, role or key cannot do to another over HTTP, and texts that mean harm."""

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from registry.accounts.keys import NewKey
from registry.accounts.roles import Right
from registry.accounts.service import HOST
from registry.outcomes import COMMAND
from tests.integration.registry.accounts.office import PASSWORD
from tests.integration.registry.accounts.plant import (
    API,
    CONTACT,
    PROFILE,
    Plant,
    make_user,
    ok,
    sign_in,
    state_of,
)
from tests.integration.registry.api.harness import Front

HOSTILE = (
    "'; DROP TABLE users; --",
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "%00",
    "${jndi:ldap://x}",
    "{{7*7}}",
    "a" * 200,
)
UNSEEN = ("a\u0000b", "a\u202eb", "a\u200bb", "a\u0085b")


async def test_the_second_of_two_reviewers_is_told_what_was_decided(front: Front) -> None:
    made = await ok(front.ask("POST", f"{API}/organisations", {"profile": PROFILE}), 201)
    path, tokens = f"{API}/organisations/{made['id']}/review", []
    for name in ("first", "second"):
        await make_user(front, "reviewer", name)
        tokens.append(await sign_in(front, None, name))
    body, match = {"decision": "reject", "reason": "证照不清晰"}, {"If-Match": '"1"'}
    answers = await asyncio.gather(
        *(front.ask("POST", path, body, token=token, headers=match) for token in tokens)
    )
    assert sorted(answer.status for answer in answers) == [200, 409]
    (refused,) = [answer for answer in answers if answer.status == 409]
    assert "rejected" in refused.json["detail"]
    missing = await front.ask("POST", path, {"decision": "reject"}, token=tokens[0], headers=match)
    assert missing.status == 400


async def test_a_reviewer_decides_on_the_version_that_he_has_read(front: Front) -> None:
    made = await ok(front.ask("POST", f"{API}/organisations", {"profile": PROFILE}), 201)
    await make_user(front, "reviewer", "first")
    token, path = await sign_in(front, None, "first"), f"{API}/organisations/{made['id']}"
    changed = {"profile": {**PROFILE, "name": "示例阀门厂"}}
    await ok(front.ask("PUT", path, changed, headers={"If-Match": '"1"'}))
    body = {"decision": "approve"}
    stale = await front.ask("POST", f"{path}/review", body, token=token, headers={"If-Match": '"1"'})
    assert stale.status == 412
    assert (await front.ask("POST", f"{path}/review", body, token=token)).status == 428


async def test_the_operator_reviews_nothing_and_an_enterprise_takes_nobody_in(front: Front) -> None:
    plant = await Plant.open(front)
    body = {"decision": "approve"}
    refused = await front.ask("POST", f"{plant.path}/review", body, headers={"If-Match": '"2"'})
    assert (refused.status, refused.slug) == (403, "forbidden")
    refused = await plant.ask("POST", f"{API}/organisations", {"profile": PROFILE})
    assert (refused.status, refused.slug) == (403, "forbidden")
    refused = await front.ask("GET", f"{plant.path}/people/per_1")
    assert refused.status == 403  # the operator reads no personal data


async def test_foreign_objects_are_answered_exactly_as_unknown_ones(front: Front) -> None:
    plant, other = await Plant.open(front), await Plant.open(front, 1)
    key = (await other.key("identifier:read"))["key"]["id"]
    contact = (await ok(other.ask("GET", other.path)))["contact"]
    reason, match = {"reason": "x"}, {"If-Match": '"1"'}
    person, known = {"person": {"name": "x"}}, {"name": "x"}
    password = {"password": "another horse battery"}
    identity = {"identity": "300:88.100.1/ADMIN", "subject": other.id}
    asked: list[tuple[str, str, Any]] = [
        ("GET", "/organisations/{org}", None),
        ("PUT", "/organisations/{org}", {"profile": PROFILE}),
        ("POST", "/organisations/{org}/submission", None),
        ("GET", "/organisations/{org}/history", None),
        ("PUT", "/organisations/{org}/contact", person),
        ("PUT", "/organisations/{org}/legal-representative", person),
        ("GET", "/organisations/{org}/people/{per}", None),
        ("DELETE", "/organisations/{org}/people/{per}", None),
        ("POST", "/organisations/{org}/identities", identity),
        ("GET", "/organisations/{org}/identities", None),
        ("DELETE", "/organisations/{org}/identities/300%3A88.100.1%2FADMIN", None),
        ("GET", "/organisations/{org}/references", None),
        ("GET", "/users/{usr}", None),
        ("GET", "/users/{usr}/personal", None),
        ("PUT", "/users/{usr}/personal", known),
        ("PUT", "/users/{usr}/role", {"role": "reader"}),
        ("PUT", "/users/{usr}/password", password),
        ("POST", "/users/{usr}/suspension", reason),
        ("POST", "/users/{usr}/resumption", reason),
        ("DELETE", "/users/{usr}", None),
        ("GET", "/api-keys/{key}", None),
        ("POST", "/api-keys/{key}/rotation", {}),
        ("POST", "/api-keys/{key}/suspension", reason),
        ("POST", "/api-keys/{key}/resumption", reason),
        ("DELETE", "/api-keys/{key}", None),
    ]
    foreign = {"org": other.id, "usr": other.user, "key": key, "per": contact}
    unknown = {name: f"{value[:4]}{'a' * 20}" for name, value in foreign.items()}
    before = await state_of(front)
    for method, target, body in asked:
        bodies = []
        for names in (foreign, unknown):
            answer = await plant.ask(method, API + target.format(**names), body, headers=match)
            assert (answer.status, answer.slug) == (404, "not-found"), (method, target, answer)
            told = answer.json
            assert told.pop("request_id") in told.pop("instance")
            bodies.append((told, sorted(answer.headers)))
        assert bodies[0] == bodies[1], (method, target)
    assert await state_of(front) == before
    for target in ("organisations", "users", "api-keys"):
        text = (await plant.ask("GET", f"{API}/{target}")).body.decode()
        assert other.id not in text


async def test_nobody_escalates_over_the_api(front: Front) -> None:
    plant, other = await Plant.open(front), await Plant.open(front, 1)
    user = {"login": "someone", "password": PASSWORD, "name": "x"}
    quotas = dict.fromkeys(("requests_per_minute", "identifiers_per_day", "users_max", "keys_max"), 1)
    key, reason = {"name": "x", "rights": ["identifier:read"]}, {"reason": "x"}
    refused: list[tuple[str, str, Any, str]] = [
        *(
            ("POST", "/users", {**user, "role": role, "organisation": organisation}, "role-not-grantable")
            for role, organisation in (
                ("operator", None),
                ("reviewer", plant.id),
                ("reader", other.id),
                ("auditor", "org_x"),
            )
        ),
        *(
            ("POST", "/api-keys", {"name": "x", "rights": [right]}, "rights-not-grantable")
            for right in ("node:operate", "organisation:review", "organisation:suspend")
        ),
        ("POST", "/api-keys", {**key, "organisation": other.id}, "rights-not-grantable"),
        ("PUT", f"/users/{plant.user}/role", {"role": "auditor"}, "self-change"),
        ("POST", f"/users/{plant.user}/suspension", reason, "self-change"),
        ("DELETE", f"/users/{plant.user}", None, "self-change"),
        ("PUT", f"/organisations/{plant.id}/quotas", quotas, "forbidden"),
        ("POST", f"/organisations/{plant.id}/suspension", reason, "forbidden"),
    ]
    for method, target, body, slug in refused:
        answer = await plant.ask(method, API + target, body, headers={"If-Match": '"1"'})
        assert (answer.status, answer.slug) == (403, slug), (method, target, answer.body)


async def test_reading_personal_data_takes_the_right_and_leaves_an_entry(front: Front) -> None:
    plant = await Plant.open(front)
    editor = await make_user(front, "enterprise_editor", "editor", token=plant.token)
    contact = (await ok(plant.ask("GET", plant.path)))["contact"]
    read = await ok(plant.ask("GET", f"{plant.path}/people/{contact}"))
    assert {field["field"]: field["value"] for field in read["fields"]} == CONTACT
    user = await ok(plant.ask("GET", f"{API}/users/{editor['id']}/personal"))
    assert {field["field"]: field["value"] for field in user["fields"]} == {"login": "editor", "name": "李雷"}
    token = await sign_in(front, plant.id, "editor")
    assert (await front.ask("GET", f"{plant.path}/people/{contact}", token=token)).status == 403
    own = await ok(front.ask("GET", f"{API}/whoami/personal", token=token))
    assert own["fields"]
    async with front.services.store.connection() as connection:
        entries = await connection.fetch("SELECT actor, target FROM audit_log WHERE action LIKE '%read%'")
        text = str(await connection.fetch("SELECT a::text FROM audit_log AS a"))
    assert (plant.user, f"{plant.id}/{contact}") in [tuple(entry) for entry in entries]
    assert len(entries) == 3
    assert not any(value in text for value in (*CONTACT.values(), "李雷", PASSWORD))
    erased = await plant.ask("DELETE", f"{plant.path}/people/{contact}")
    assert erased.status == 204
    assert (await ok(plant.ask("GET", f"{plant.path}/people/{contact}")))["fields"] == []


async def test_refusals_at_sign_in_are_all_alike(front: Front) -> None:
    plant = await Plant.open(front)
    told = set()
    for organisation, login in (
        (plant.id, "li.lei"),
        (plant.id, "nobody"),
        ("org_unknown", "li.lei"),
        (None, "li.lei"),
    ):
        body = {"organisation": organisation, "login": login, "password": "wrong horse battery"}
        answer = await front.ask("POST", f"{API}/sessions", body, token="")
        assert (answer.status, answer.slug) == (401, "sign-in-refused")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        problem = answer.json
        told.add((problem["detail"], problem["remedy"], tuple(sorted(answer.headers))))
    assert len(told) == 1


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_texts_are_kept_as_they_are_or_refused(front: Front, text: str) -> None:
    body = {"profile": {**PROFILE, "name": text, "introduction": text}, "contact": {"name": text}}
    made = await ok(front.ask("POST", f"{API}/organisations", body), 201)
    read = await ok(front.ask("GET", f"{API}/organisations/{made['id']}"))
    assert (read["profile"]["name"], read["profile"]["introduction"]) == (text, text)
    user = {"role": "auditor", "login": text[:50], "password": PASSWORD, "name": text}
    assert (await front.ask("POST", f"{API}/users", user)).status in (201, 422)
    for target in ("organisations", "users", "api-keys", "sessions"):
        assert (await front.ask("GET", f"{API}/{target}/{quote(text, safe='')}")).status in (404, 405)
        page = await front.ask("GET", f"{API}/{target}?cursor={quote(text, safe='')}")
        assert page.status in (400, 403)


@pytest.mark.parametrize("text", UNSEEN)
async def test_texts_with_unseen_characters_are_refused(front: Front, text: str) -> None:
    for body in (
        {"profile": {**PROFILE, "name": text}},
        {"profile": {**PROFILE, "region": {"province": "310000", "detail": text}}},
        {"profile": PROFILE, "contact": {"name": text}},
    ):
        answer = await front.ask("POST", f"{API}/organisations", body)
        assert answer.status in (400, 422), answer.body
    user = {"role": "auditor", "login": text, "password": PASSWORD, "name": "x"}
    assert (await front.ask("POST", f"{API}/users", user)).status in (400, 422)
    key = {"name": text, "rights": ["node:operate"]}
    assert (await front.ask("POST", f"{API}/api-keys", key)).status in (400, 422)


async def test_a_key_that_may_only_make_keys_makes_no_users(front: Front) -> None:
    plant = await Plant.open(front)
    new = NewKey(organisation=plant.id, name="x", rights=frozenset({Right.USER_WRITE, Right.KEY_WRITE}))
    async with front.services.operations.transaction(COMMAND) as tx:
        token = (await front.services.accounts.keys.create(tx, HOST, new)).token
    user = {"role": "enterprise_administrator", "login": "raised", "password": PASSWORD, "name": "x"}
    refused = await front.ask("POST", f"{API}/users", user, token=token)
    assert (refused.status, refused.slug) == (403, "role-not-grantable")
    taken = {"password": "another horse battery"}
    refused = await front.ask("PUT", f"{API}/users/{plant.user}/password", taken, token=token)
    assert (refused.status, refused.slug) == (403, "role-not-grantable")
