"""Applications and prefixes over the API of a running node, as those see it who apply, review and operate."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from itertools import count
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from protocol.handle import Prefix
from protocol.jsonform import site_to_json
from protocol.site import single_server_site
from protocol.valuetypes import PublicKey
from registry.accounts.roles import Role
from registry.outcomes import COMMAND
from tests.support.api_world import ApiWorld, api_world, plain
from tests.support.postgres import TestPostgres
from tests.support.registries import HttpAnswer, basic
from tests.support.scratch import scratch_directory

APPLICATIONS = "/api/v1/applications"
PREFIXES = "/api/v1/prefixes"
KEY = PublicKey(b"RSA_PUB_KEY", (65_537, 1 << 2_047 | 1)).encode()
SITE = site_to_json(
    single_server_site(
        addresses=("8.8.8.8",),
        tcp_port=2_641,
        udp_port=2_641,
        http_port=8_000,
        https=False,
        primary=True,
        public_key=KEY,
    )
)
LABELS = count(1)
URL = {"index": 1, "type": "URL", "data": {"format": "string", "value": "https://plant.example/pump"}}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(postgres: TestPostgres) -> AsyncIterator[ApiWorld]:
    """One node for all tests: each applies for a label of its own."""
    dsn = postgres.database()
    with scratch_directory() as directory:
        async with api_world(dsn, directory) as made:
            yield made
    postgres.drop(dsn)


class People:
    """Who asks in these tests."""

    def __init__(self, world: ApiWorld) -> None:
        self._world = world
        self.label = f"line-{next(LABELS)}"
        """One that nobody has."""
        self.prefix = f"88.100.{self.label}"
        self.holder = world.own.tokens[Role.ENTERPRISE_ADMINISTRATOR]
        self.rival = world.foreign.tokens[Role.ENTERPRISE_ADMINISTRATOR]
        self.reviewer = world.tokens[Role.REVIEWER]
        self.operator = world.tokens[Role.OPERATOR]

    async def post(self, who: str, path: str, body: Any = None, **headers: str) -> HttpAnswer:
        """POST as somebody."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self._world.ask(who, "POST", path, body, given)

    async def get(self, who: str, path: str) -> HttpAnswer:
        """GET as somebody."""
        return await self._world.ask(who, "GET", path)

    async def applied(self, **wish: Any) -> str:
        """Apply as the holder: the path of the application."""
        body = {"parent": "88.100", "label": self.label, "purpose": "pumps", **wish}
        answer = await self.post(self.holder, APPLICATIONS, body)
        assert answer.status == 201, answer.body
        return answer.headers["Location"]

    async def approved(self, **wish: Any) -> str:
        """Apply, and approve as the reviewer: the path of the application."""
        path = await self.applied(**wish)
        answer = await self.post(self.reviewer, path + "/review", {"decision": "approve"}, If_Match='"1"')
        assert answer.status == 200, answer.body
        return path

    async def allocated(self, **wish: Any) -> str:
        """Apply, approve and allocate: the path of the prefix."""
        answer = await self.post(self.operator, await self.approved(**wish) + "/allocation")
        assert answer.status == 201, answer.body
        return answer.headers["Location"]


@pytest.fixture
def people(world: ApiWorld) -> People:
    return People(world)


def slug(answer: HttpAnswer) -> str:
    return str(plain(answer)["type"]).rpartition("/")[2]


async def test_from_the_application_to_the_first_identifier(world: ApiWorld, people: People) -> None:
    prefix = await people.allocated()

    assert prefix == f"{PREFIXES}/{people.prefix}"
    shown = plain(await people.get(people.holder, prefix))
    assert (shown["state"], shown["hosting"], shown["organisation"]) == (
        "active",
        "hosted",
        world.own.organisation,
    )
    assert shown["writable"]
    assert shown["site"]["servers"][0]["address"] == "127.0.0.1"
    assert [act["act"] for act in shown["history"]] == ["allocate"]
    made = await people.post(
        people.holder, "/api/v1/identifiers", {"identifier": f"{people.prefix}/PUMP-1", "values": [URL]}
    )
    assert made.status == 201, made.body
    assert (await world.plant.get(f"/api/handles/{people.prefix}/pump-1")).rc == 1


async def test_the_next_free_number_is_told_at_the_approval(people: People) -> None:
    first, second = await people.approved(label=None), await people.approved(label=None)
    prefixes = [plain(await people.get(people.holder, path))["prefix"] for path in (first, second)]
    assert len(set(prefixes)) == 2
    assert all(prefix.startswith("88.100.") for prefix in prefixes)


async def test_of_two_reviewers_the_second_is_told_what_was_decided(people: People) -> None:
    path = await people.applied()
    answers = await asyncio.gather(
        *(
            people.post(
                people.reviewer, path + "/review", {"decision": decision, "reason": "x"}, If_Match='"1"'
            )
            for decision in ("approve", "reject")
        )
    )
    assert sorted(answer.status for answer in answers) == [200, 409]
    (refused,) = [answer for answer in answers if answer.status == 409]
    assert slug(refused) == "application-state"


async def test_a_review_names_the_version_that_was_read(people: People) -> None:
    path = await people.applied()
    assert (await people.post(people.reviewer, path + "/review", {"decision": "approve"})).status == 428
    other = await people.post(people.reviewer, path + "/review", {"decision": "approve"}, If_Match='"9"')
    assert other.status == 412


async def test_a_rejection_needs_a_reason(people: People) -> None:
    path = await people.applied()
    answer = await people.post(people.reviewer, path + "/review", {"decision": "reject"}, If_Match='"1"')
    assert (answer.status, slug(answer)) == (400, "invalid-request")


async def test_what_belongs_to_others_is_not_there(people: People) -> None:
    prefix, application = await people.allocated(), await people.approved(label="wanted")

    for path in (application, prefix, prefix + "/history"):
        foreign = plain(await people.get(people.rival, path))
        unknown = plain(
            await people.get(people.rival, path.replace("app_", "app_x").replace(people.label, "unknown"))
        )
        assert foreign["status"] == 404
        assert {**foreign, "instance": "", "request_id": ""} == {**unknown, "instance": "", "request_id": ""}
    for path in (APPLICATIONS, PREFIXES):
        listed = plain(await people.get(people.rival, path))["items"]
        assert not [
            item for item in listed if item["prefix"] == people.prefix or item.get("label") == "wanted"
        ]
    assert (await people.post(people.rival, application + "/withdrawal", {})).status == 404
    assert (await people.post(people.rival, prefix + "/administrator-key")).status == 404


async def test_nobody_applies_for_somebody_else(world: ApiWorld, people: People) -> None:
    body = {"organisation": world.foreign.organisation, "parent": "88.100", "purpose": "pumps"}
    answer = await people.post(people.holder, APPLICATIONS, body)
    assert answer.status == 404


@pytest.mark.parametrize("path", ["/suspension", "/resumption", "/revocation", "/purge"])
async def test_a_holder_does_not_operate(people: People, path: str) -> None:
    prefix = await people.allocated()
    answer = await people.post(people.holder, prefix + path, {"reason": "mine"})
    assert (answer.status, slug(answer)) == (403, "forbidden")


async def test_a_suspension_is_seen_by_everybody_and_ends(world: ApiWorld, people: People) -> None:
    prefix = await people.allocated()
    await people.post(
        people.holder, "/api/v1/identifiers", {"identifier": f"{people.prefix}/PUMP-1", "values": [URL]}
    )
    assert (await people.post(people.operator, prefix + "/suspension", {"reason": "unpaid"})).status == 200

    shown = plain(await people.get(people.holder, prefix))
    assert (shown["state"], shown["possible"], shown["writable"]) == (
        "suspended",
        ["resume", "revoke"],
        False,
    )
    assert shown["status_text"].endswith(": unpaid")
    assert (await world.plant.get(f"/api/handles/{people.prefix}/pump-1")).rc == 200
    again = await people.post(people.operator, prefix + "/suspension", {"reason": "unpaid"})
    assert (again.status, slug(again)) == (409, "prefix-state")
    assert "possible: resume, revoke" in plain(again)["detail"]
    assert (await people.post(people.operator, prefix + "/resumption", {"reason": "paid"})).status == 200
    assert (await world.plant.get(f"/api/handles/{people.prefix}/pump-1")).rc == 1


async def test_a_dry_run_suspends_nothing(world: ApiWorld, people: People) -> None:
    prefix = await people.allocated()
    answer = await people.post(people.operator, prefix + "/suspension?dry_run=true", {"reason": "unpaid"})
    assert (answer.status, plain(answer)["state"]) == (200, "suspended")
    assert plain(await people.get(people.holder, prefix))["state"] == "active"
    assert "HS_SITE" in (await world.plant.get(f"/api/handles/0.NA/{people.prefix}")).body.decode()


async def test_an_administrators_key_is_told_once_and_works(world: ApiWorld, people: People) -> None:
    prefix = await people.allocated()
    answer = await people.post(people.holder, prefix + "/administrator-key")
    assert answer.status == 201, answer.body
    assert answer.headers["Cache-Control"] == "no-store"
    identity, key = plain(answer)["identity"], plain(answer)["key"]
    assert identity == f"300:{people.prefix}/ADMIN"

    user = quote(identity, safe="")
    written = await world.plant.ask(
        "PUT", f"/api/handles/{people.prefix}/pump-2", body={"values": [URL]}, headers=basic(user, key)
    )
    assert written.status == 201, written.body
    for shown in (
        await people.get(people.holder, prefix),
        await people.get(people.operator, "/api/v1/audit"),
    ):
        assert key not in shown.body.decode()
        assert b64encode(key.encode()).decode() not in shown.body.decode()
    async with world.services.store.connection() as connection:
        entries = await connection.fetch("SELECT detail, actor, organisation, via FROM audit_log")
    assert not [entry for entry in entries if key in entry["detail"]]
    (entered,) = [entry for entry in entries if entry["via"] == "rest"]  # where the holder finds it
    assert (entered["actor"], entered["organisation"]) == (identity, world.own.organisation)


async def test_an_operator_gets_no_key_of_a_holder(people: People) -> None:
    prefix = await people.allocated()
    assert (await people.post(people.operator, prefix + "/administrator-key")).status == 403


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "::1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ],
)
async def test_a_site_that_leads_inwards_is_refused(people: People, address: str) -> None:
    site = {**SITE, "servers": [{**SITE["servers"][0], "address": address}]}
    body = {"parent": "88.100", "label": people.label, "purpose": "x", "hosting": "delegated", "site": site}
    answer = await people.post(people.holder, APPLICATIONS, body)
    assert (answer.status, slug(answer)) == (422, "route-refused")


@pytest.mark.parametrize(
    "address", ["0x7f.1", "2130706433", "0177.0.0.1", "localhost", "127.1", "fe80::1%eth0"]
)
async def test_a_site_with_an_unusual_address_is_not_read(people: People, address: str) -> None:
    site = {**SITE, "servers": [{**SITE["servers"][0], "address": address}]}
    body = {"parent": "88.100", "label": people.label, "purpose": "x", "hosting": "delegated", "site": site}
    answer = await people.post(people.holder, APPLICATIONS, body)
    assert answer.status in (400, 422)


async def test_a_delegated_prefix_waits_for_the_proof_of_its_node(people: People) -> None:
    path = await people.approved(hosting="delegated", site=SITE)
    answer = await people.post(people.operator, path + "/allocation")
    assert (answer.status, slug(answer)) == (409, "node-not-proved")
    shown = plain(await people.get(people.holder, path))["site"]
    assert {name: shown[name] for name in SITE} == SITE


@pytest.mark.parametrize(
    ("wish", "status"),
    [
        ({"label": "ad\u200bmin"}, 422),
        ({"label": "x\u0000y"}, 400),
        ({"label": "a/b"}, 422),
        ({"label": "x" * 129}, 400),
        ({"parent": "88..100"}, 400),
        ({"parent": "88.101"}, 422),
        ({"purpose": "a\u202eb"}, 400),
        ({"purpose": ""}, 400),
        ({"hosting": "elsewhere"}, 400),
        ({"hosting": "delegated"}, 400),
        ({"site": SITE}, 400),
        ({"surplus": 1}, 400),
        ({"organisation": "' OR 1=1 --"}, 400),
    ],
)
async def test_a_wish_that_makes_no_sense_is_refused(people: People, wish: Any, status: int) -> None:
    answer = await people.post(
        people.holder, APPLICATIONS, {"parent": "88.100", "label": people.label, "purpose": "pumps", **wish}
    )
    assert answer.status == status, answer.body


@pytest.mark.parametrize("name", ["88..100", "a%2Fb", "%00", "88.100.77%27%20OR%201", ".", "%E2%80%8B"])
async def test_a_name_that_is_no_prefix_is_not_there(people: People, name: str) -> None:
    assert (await people.get(people.operator, f"{PREFIXES}/{name}")).status == 404


async def test_lists_go_on_where_they_ended(people: People) -> None:
    for label in "abc":
        await people.allocated(label=label)
    seen, cursor = [], ""
    while True:
        page = plain(await people.get(people.operator, f"{PREFIXES}?limit=2&parent=88.100{cursor}"))
        seen += [item["prefix"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == sorted(seen, key=str.upper)
    assert {"88.100.a", "88.100.b", "88.100.c"} <= set(seen)
    assert (await people.get(people.operator, f"{APPLICATIONS}?cursor=AAAA")).status == 400


async def test_a_transfer_is_seen_by_the_new_holder_alone(world: ApiWorld, people: People) -> None:
    prefix = await people.allocated()
    body = {"organisation": world.foreign.organisation, "reason": "sold"}
    assert (await people.post(people.operator, prefix + "/transfer", body)).status == 200
    await world.services.allocation.run_jobs()

    assert (await people.get(people.holder, prefix)).status == 404
    shown = plain(await people.get(people.rival, prefix))
    assert (shown["organisation"], shown["writable"]) == (world.foreign.organisation, True)
    assert shown["work"]["kind"] == "rewrite"
    assert shown["work"]["ended"] is not None


async def test_who_held_a_prefix_until_a_moment_ago_does_nothing_to_it(
    world: ApiWorld, people: People
) -> None:
    """A request that began before the transfer is answered as it stands after it."""
    prefix = await people.allocated()
    services, name = world.services, Prefix.parse(people.prefix)
    async with services.operations.transaction(COMMAND) as tx:
        await services.allocation.transfer(tx, name, world.foreign.organisation, reason="sold")
        asked = asyncio.create_task(people.post(people.holder, prefix + "/administrator-key"))
        await asyncio.sleep(0.3)
        assert not asked.done()
    answer = await asked
    assert (answer.status, slug(answer)) == (404, "not-found")
