"""Organisations, users, sessions and API keys over HTTP, as clients meet them."""

import asyncio
from dataclasses import replace
from urllib.parse import quote

from registry.outcomes import COMMAND
from tests.integration.registry.accounts.office import PASSWORD
from tests.integration.registry.accounts.plant import (
    API,
    PROFILE,
    Plant,
    make_user,
    ok,
    sign_in,
    state_of,
)
from tests.integration.registry.api.harness import Front


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


async def test_an_organisation_learns_who_of_the_node_has_read_its_people(front: Front) -> None:
    """Whoever reads personal data does so before the eyes of those whose data they are."""
    plant = await Plant.open(front)
    reviewer = await sign_in(front, None, "reviewer-0")
    who = (await ok(front.ask("GET", f"{API}/whoami", token=reviewer)))["id"]
    contact = (await ok(plant.ask("GET", plant.path)))["contact"]
    await ok(front.ask("GET", f"{plant.path}/people/{contact}", token=reviewer))
    await ok(front.ask("GET", f"{API}/users/{plant.user}/personal", token=reviewer))

    query = "SELECT action, target FROM audit_log WHERE organisation = $1 AND actor = $2 ORDER BY id"
    async with front.services.store.connection() as connection:
        read = [tuple(record) for record in await connection.fetch(query, plant.id, who)]
    assert read[-2:] == [("person.read", f"{plant.id}/{contact}"), ("user.read_personal", plant.user)]
