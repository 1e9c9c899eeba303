"""Organisations, users, sessions and API keys over HTTP, as clients meet them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from registry.accounts import service
from registry.accounts.keys import NewKey
from registry.accounts.passwords import Passwords
from registry.accounts.roles import Right
from registry.accounts.service import HOST
from registry.api.table import ROUTES
from registry.outcomes import COMMAND
from tests.integration.registry.accounts.office import CODES, PASSWORD, profile
from tests.integration.registry.api.harness import Answer, Front, running_front

API = "/api/v1"
PROFILE = msgspec.to_builtins(profile())
CONTACT = {"name": "韩梅梅", "mobile": "13800138000", "email": "hmm@plant.example"}
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


@pytest.fixture
async def front(database: str, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Front]:
    """Give a running API whose passwords cost little, and the token of an operator."""
    monkeypatch.setattr(service, "Passwords", partial(Passwords, time_cost=1, memory_kib=64))
    async with running_front(
        database, scratch, ROUTES, plain_http_credentials="loopback", homes=("88.100",)
    ) as made:
        async with made.services.operations.transaction(COMMAND) as tx:
            made.token = (await made.services.accounts.make_operator_key(tx)).token
        yield made


async def ok(asked: Any, status: int = 200) -> Any:
    """The body of an answer that is no refusal."""
    answer: Answer = await asked
    assert answer.status == status, (answer.status, answer.body)
    return answer.json if answer.body else None


async def sign_in(front: Front, organisation: str | None, login: str) -> str:
    body = {"organisation": organisation, "login": login, "password": PASSWORD}
    return str((await ok(front.ask("POST", f"{API}/sessions", body, token=""), 201))["token"])


async def make_user(
    front: Front, role: str, login: str, organisation: str | None = None, token: str | None = None
) -> Any:
    body = {"organisation": organisation, "role": role, "login": login, "password": PASSWORD, "name": "李雷"}
    return await ok(front.ask("POST", f"{API}/users", body, token=token), 201)


class Plant:
    """An approved organisation with its administrator."""

    def __init__(self, front: Front, organisation: str, user: str, token: str) -> None:
        self.front = front
        self.id = organisation
        self.path = f"{API}/organisations/{organisation}"
        self.user = user
        self.token = token

    @classmethod
    async def open(cls, front: Front, number: int = 0) -> "Plant":
        """Taken in by the operator, approved by a reviewer, with a user of its own."""
        body = {"profile": {**PROFILE, "certificate_number": CODES[number]}, "contact": CONTACT}
        made = await ok(front.ask("POST", f"{API}/organisations", body), 201)
        reviewer = f"reviewer-{number}"
        await make_user(front, "reviewer", reviewer)
        token = await sign_in(front, None, reviewer)
        path = f"{API}/organisations/{made['id']}"
        decision = {"decision": "approve"}
        await ok(front.ask("POST", f"{path}/review", decision, token=token, headers={"If-Match": '"1"'}))
        user = await make_user(front, "enterprise_administrator", "li.lei", made["id"])
        return cls(front, made["id"], user["id"], await sign_in(front, made["id"], "li.lei"))

    async def ask(self, method: str, target: str, body: Any = None, **more: Any) -> Answer:
        """Ask as the administrator."""
        return await self.front.ask(method, target, body, token=self.token, **more)

    async def key(self, *rights: str, **fields: Any) -> Any:
        """Make an API key."""
        body = {"name": "ERP", "rights": list(rights), **fields}
        return await ok(self.ask("POST", f"{API}/api-keys", body), 201)


async def test_an_enterprise_is_taken_in_reviewed_and_runs_itself(front: Front) -> None:
    plant = await Plant.open(front)
    whoami = await ok(plant.ask("GET", f"{API}/whoami"))
    assert (whoami["kind"], whoami["id"], whoami["organisation"]) == ("user", plant.user, plant.id)
    assert whoami["role"] == "enterprise_administrator"
    own = await ok(plant.ask("GET", plant.path))
    assert (own["state"], own["version"], own["profile"]["name"]) == ("approved", 2, PROFILE["name"])
    editor = await make_user(front, "enterprise_editor", "han.meimei", token=plant.token)
    assert editor["organisation"] == plant.id
    shown = await plant.key("identifier:read", "identifier:write")
    key = await ok(front.ask("GET", f"{API}/whoami", token=shown["token"]))
    assert (key["kind"], key["rights"], key["name"]) == (
        "key",
        ["identifier:read", "identifier:write"],
        "ERP",
    )
    acts = await ok(plant.ask("GET", f"{plant.path}/history"))
    assert [act["act"] for act in acts["items"]] == ["approve", "create"]


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


async def state_of(front: Front) -> list[Any]:
    """Everything that must not change; last uses aside."""
    tables = ("organisations", "users", "people", "personal_fields", "identities", "api_keys")
    async with front.services.store.connection() as connection:
        return [
            await connection.fetch(f"SELECT to_jsonb(t) - 'last_used' FROM {table} AS t ORDER BY 1")  # noqa: S608
            for table in tables
        ]


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


async def test_signing_out_and_listing_ones_sessions(front: Front) -> None:
    plant = await Plant.open(front)
    second = await sign_in(front, plant.id, "li.lei")
    listed = (await ok(plant.ask("GET", f"{API}/sessions")))["items"]
    assert [session["present"] for session in listed].count(True) == 1
    assert len(listed) == 2
    assert (await plant.ask("DELETE", f"{API}/sessions/current")).status == 204
    await asyncio.sleep(0.6)
    assert (await plant.ask("GET", f"{API}/whoami")).status == 401
    assert (await front.ask("GET", f"{API}/whoami", token=second)).status == 200
    assert (await front.ask("GET", f"{API}/sessions")).status == 403  # the operator's is a key


async def test_ones_own_password_takes_the_present_one(front: Front) -> None:
    plant = await Plant.open(front)
    other = await sign_in(front, plant.id, "li.lei")
    path, new = f"{API}/users/{plant.user}/password", "another horse battery"
    assert (await plant.ask("PUT", path, {"password": new})).status == 422
    wrong = await plant.ask("PUT", path, {"password": new, "current": "wrong horse battery"})
    assert (wrong.status, wrong.slug) == (401, "sign-in-refused")
    assert (await plant.ask("PUT", path, {"password": new, "current": PASSWORD})).status == 204
    await asyncio.sleep(0.6)
    assert (await plant.ask("GET", f"{API}/whoami")).status == 200
    assert (await front.ask("GET", f"{API}/whoami", token=other)).status == 401
    weak = await plant.ask("PUT", path, {"password": "password1234", "current": new})
    assert (weak.status, weak.json["errors"][0]["pointer"]) == (422, "/password")


async def test_a_key_is_shown_once_and_again_only_to_a_repetition(front: Front) -> None:
    plant = await Plant.open(front)
    body, headers = {"name": "ERP", "rights": ["identifier:read"]}, {"Idempotency-Key": "order-0815"}
    first = await plant.ask("POST", f"{API}/api-keys", body, headers=headers)
    again = await plant.ask("POST", f"{API}/api-keys", body, headers=headers)
    assert (first.status, again.headers["idempotency-replayed"], again.json) == (201, "true", first.json)
    assert first.headers["cache-control"] == "no-store"
    token = first.json["token"]
    key = first.json["key"]["id"]
    for target in (f"/api-keys/{key}", "/api-keys", "/whoami"):
        assert token not in (await plant.ask("GET", API + target)).body.decode()
    async with front.services.store.connection() as connection:
        for table in ("idempotency_keys", "api_keys", "audit_log"):
            rows = await connection.fetch(f"SELECT * FROM {table}")  # noqa: S608
            assert token.encode() not in str([tuple(row) for row in rows]).encode()
            assert token.split("_")[3] not in str([tuple(row) for row in rows])


async def test_a_rotation_keeps_the_old_token_for_a_while(front: Front) -> None:
    plant = await Plant.open(front)
    made = await plant.key("identifier:read")
    path = f"{API}/api-keys/{made['key']['id']}"
    rotated = await ok(plant.ask("POST", f"{path}/rotation", {"overlap_days": 1}))
    for token in (made["token"], rotated["token"]):
        assert (await front.ask("GET", f"{API}/whoami", token=token)).status == 200
    assert (await plant.ask("DELETE", path)).status == 204
    await asyncio.sleep(0.6)
    assert (await front.ask("GET", f"{API}/whoami", token=rotated["token"])).status == 401
    assert (await plant.ask("POST", f"{path}/rotation", {})).slug == "key-state"


async def test_a_test_key_makes_nothing(front: Front) -> None:
    plant = await Plant.open(front)
    made = await plant.key("key:write", "identifier:read", test=True)
    assert made["token"].startswith("hg_test_")
    body = {"name": "x", "rights": ["identifier:read"]}
    refused = await front.ask("POST", f"{API}/api-keys", body, token=made["token"])
    assert (refused.status, refused.slug) == (403, "test-key")
    tried = await front.ask("POST", f"{API}/api-keys?dry_run=true", body, token=made["token"])
    assert tried.status == 201
    assert len((await ok(plant.ask("GET", f"{API}/api-keys")))["items"]) == 1


async def test_a_dry_run_leaves_nothing(front: Front) -> None:
    plant = await Plant.open(front)
    before = await state_of(front)
    user = {"role": "reader", "login": "trial", "password": PASSWORD, "name": "x"}
    for method, target, body in (
        ("POST", "/users", user),
        ("POST", "/api-keys", {"name": "x", "rights": ["identifier:read"]}),
        ("PUT", f"/organisations/{plant.id}", {"profile": {**PROFILE, "name": "x"}}),
        ("PUT", f"/organisations/{plant.id}/contact", {"person": {"name": "x"}}),
    ):
        answer = await plant.ask(method, f"{API}{target}?dry_run=true", body, headers={"If-Match": '"2"'})
        assert answer.status in (200, 201), answer.body
    assert await state_of(front) == before


async def test_off_boarding_ends_sessions_and_lists_what_is_left(front: Front) -> None:
    plant = await Plant.open(front)
    leaver = await make_user(front, "enterprise_administrator", "leaver", plant.id)
    token = await sign_in(front, plant.id, "leaver")
    body = {"name": "his", "rights": ["identifier:read"]}
    keys = [
        (await ok(front.ask("POST", f"{API}/api-keys", body, token=token), 201))["token"] for _ in range(2)
    ]
    path = f"{API}/users/{leaver['id']}"
    suspended = await ok(plant.ask("POST", f"{path}/suspension", {"reason": "离岗"}))
    assert (suspended["user"]["state"], suspended["keys_left"], suspended["keys_revoked"]) == (
        "suspended",
        2,
        0,
    )
    await asyncio.sleep(0.6)
    assert (await front.ask("GET", f"{API}/whoami", token=token)).status == 401
    assert (await front.ask("GET", f"{API}/whoami", token=keys[0])).status == 200
    await ok(plant.ask("POST", f"{path}/resumption", {"reason": "返岗"}))
    suspended = await ok(plant.ask("POST", f"{path}/suspension", {"reason": "离职", "revoke_keys": True}))
    assert (suspended["keys_left"], suspended["keys_revoked"]) == (0, 2)
    await asyncio.sleep(0.6)
    assert (await front.ask("GET", f"{API}/whoami", token=keys[0])).status == 401
    assert (await plant.ask("DELETE", path)).status == 204
    listed = await ok(plant.ask("GET", f"{plant.path}/references?subject={leaver['id']}"))
    assert (listed["items"], listed["next"]) == ([], None)


async def test_suspending_an_organisation_ends_everything_of_it_within_a_second(front: Front) -> None:
    plant = await Plant.open(front)
    key = (await plant.key("identifier:read"))["token"]
    await ok(front.ask("POST", f"{plant.path}/suspension", {"reason": "违规"}))
    await asyncio.sleep(0.6)
    assert (await plant.ask("GET", f"{API}/whoami")).status == 401
    assert (await front.ask("GET", f"{API}/whoami", token=key)).status == 401
    shown = await ok(front.ask("GET", plant.path))
    assert (shown["state"], shown["review"], shown["suspended_reason"]) == ("suspended", "approved", "违规")
    await ok(front.ask("POST", f"{plant.path}/resumption", {"reason": "已整改"}))
    await asyncio.sleep(0.6)
    assert (await front.ask("GET", f"{API}/whoami", token=key)).status == 200
    assert (await plant.ask("GET", f"{API}/whoami")).status == 401


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


async def test_lists_page_by_id_without_gaps_or_repetition(front: Front) -> None:
    plant = await Plant.open(front)
    made = {(await plant.key("identifier:read"))["key"]["id"] for _ in range(5)}
    seen: list[str] = []
    target = f"{API}/api-keys?limit=2"
    while True:
        page = await ok(plant.ask("GET", target))
        seen += [key["id"] for key in page["items"]]
        if page["next"] is None:
            break
        target = f"{API}/api-keys?limit=2&cursor={page['next']}"
    assert len(seen) == len(set(seen))
    assert set(seen) == made
    foreign = await plant.ask("GET", f"{API}/users?cursor=AAAA")
    assert (foreign.status, foreign.json["errors"][0]["pointer"]) == (400, "?cursor")


async def test_an_identity_is_assigned_listed_and_withdrawn(front: Front) -> None:
    plant = await Plant.open(front)
    identity = {"identity": "300:88.100/ADMIN", "subject": plant.user}
    refused = await plant.ask("POST", f"{plant.path}/identities", identity)
    assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "/identity")
    for text in ("ADMIN", "x:88.100/ADMIN", "0:88.100/ADMIN", "99999999999:88.100/ADMIN", "300:"):
        answer = await plant.ask("POST", f"{plant.path}/identities", {**identity, "identity": text})
        assert answer.status == 422, text
    async with front.services.operations.transaction(COMMAND) as tx:
        row = await tx.prefix_row(b"88.100")
        assert row is not None
        await tx.save_prefix(replace(row, organisation=plant.id))
    await ok(plant.ask("POST", f"{plant.path}/identities", identity), 201)
    again = await plant.ask("POST", f"{plant.path}/identities", identity)
    assert (again.status, again.slug) == (409, "identity-taken")
    listed = await ok(plant.ask("GET", f"{plant.path}/identities"))
    assert [(entry["identity"], entry["subject"]) for entry in listed["items"]] == [
        ("300:88.100/ADMIN", plant.user)
    ]
    path = f"{plant.path}/identities/{quote('300:88.100/ADMIN', safe='')}"
    assert (await plant.ask("DELETE", path)).status == 204
    assert (await plant.ask("DELETE", path)).status == 404
    assert (await plant.ask("DELETE", f"{plant.path}/identities/nonsense")).status == 404


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


async def test_quotas_are_set_by_the_operator_and_hold(front: Front) -> None:
    plant = await Plant.open(front)
    quotas = {"requests_per_minute": 6000, "identifiers_per_day": 10, "users_max": 1, "keys_max": 0}
    await ok(front.ask("PUT", f"{plant.path}/quotas", quotas, headers={"If-Match": '"2"'}))
    key = await plant.ask("POST", f"{API}/api-keys", {"name": "x", "rights": ["identifier:read"]})
    assert (key.status, key.slug) == (429, "quota-exceeded")
    user = {"role": "reader", "login": "second", "password": PASSWORD, "name": "x"}
    assert (await plant.ask("POST", f"{API}/users", user)).slug == "quota-exceeded"
    stale = await front.ask("PUT", f"{plant.path}/quotas", quotas, headers={"If-Match": '"2"'})
    assert stale.status == 412
