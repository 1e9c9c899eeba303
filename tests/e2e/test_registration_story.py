"""A story over real processes: an enterprise applies at its secondary node, registers ten thousand products, moves to a
node of its own while a client goes on asking, is suspended and resumed, and the auditor sees all of it.
"""

import asyncio
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import asyncpg
import pytest

from deploy.local.deployment import OPERATOR_KEY, Deployment
from deploy.local.postgres import EmbeddedPostgres
from registry.accounts.roles import Role
from tests.support.api import (
    ApiUser,
    allocate_prefix,
    make_key,
    make_operator,
    make_organisation,
    make_user,
)
from tests.support.asking import Address, Answered, ask_udp, resolution
from tests.support.machine import Machine, deployment
from tests.support.processes import NodeProcess

SECONDARY: Final = "88.100"
PREFIX: Final = "88.100.7"
PRODUCTS: Final = 10_000
BATCH: Final = 1_000
ASKERS: Final = 2
DELEGATION_TTL_S: Final = 2
DENIAL_TTL_S: Final = 2
AT_THE_NODE_S: Final = 1.0
"""How soon a suspension counts at the node that allocated the prefix."""
ELSEWHERE_S: Final = DELEGATION_TTL_S + DENIAL_TTL_S + 4.0
"""How soon it counts at a recursive node; the rest is for two busy cores."""
MOVED_WITHIN_S: Final = 60.0
NUMBERED_WITHIN_S: Final = 20.0
POLL_S: Final = 0.05

SUCCESS, DENIED_BY_STATUS, REFERRAL = 1, 200, 302


@pytest.fixture
def machine() -> Iterator[Machine]:
    with deployment() as made:
        yield made


def product(number: int) -> str:
    return f"{PREFIX}/PUMP-{number:05}"


def page(number: int) -> str:
    return f"https://plant.example/pumps/{number:05}"


def item(number: int) -> dict[str, Any]:
    """A registration that nobody may cache, so that every question reaches the node that serves it."""
    value = {
        "index": 1,
        "type": "URL",
        "ttl": 0,
        "data": {"format": "string", "value": page(number)},
    }
    return {"action": "create", "identifier": product(number), "values": [value]}


async def eventually(
    holds: Callable[[], Awaitable[bool]],
    within_s: float,
    what: str,
    *,
    seen: Callable[[], object] = lambda: "",
) -> None:
    """Wait until something holds. seen: what a failure shows beside."""
    started_s = time.monotonic()
    while not await holds():
        assert time.monotonic() - started_s < within_s, f"not within {within_s:.0f} s: {what} {seen()}"
        await asyncio.sleep(POLL_S)


@dataclass(slots=True)
class Asker:
    """A supply-chain client that asks for one product after the other, all the time."""

    ask: Callable[[str], Awaitable[Answered]]
    fine: frozenset[int] = frozenset({SUCCESS})
    """Response codes that are answers."""
    codes: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    stopping: bool = False

    async def run(self) -> None:
        while not self.stopping:
            number = random.randrange(PRODUCTS)
            try:
                answer = await self.ask(product(number))
            except (TimeoutError, OSError) as error:
                self.faults.append(f"{product(number)}: unanswered: {error!r}")
                continue
            self.codes[answer.rc] += 1
            right = answer.rc != SUCCESS or answer.url == page(number)
            if answer.rc not in self.fine or not right:
                self.faults.append(f"{product(number)}: {answer.rc} {answer.text} {answer.url}")


@dataclass(slots=True, kw_only=True)
class Scene:
    """The deployment with a secondary node that knows the enterprise, and who acts."""

    machine: Machine
    deployment: Deployment
    session: aiohttp.ClientSession
    operator: ApiUser
    reviewer: ApiUser
    auditor: ApiUser
    organisation: str = ""
    administrator: ApiUser | None = None

    @property
    def enterprise(self) -> ApiUser:
        """The enterprise's administrator."""
        assert self.administrator is not None
        return self.administrator

    def address(self, daemon: str) -> Address:
        """Where a daemon takes UDP."""
        host, _, port = self.deployment.address(daemon).rpartition(":")
        return host, int(port)

    async def ask(self, daemon: str, handle: str) -> Answered:
        """Ask a daemon over UDP."""
        return await ask_udp(self.address(daemon), resolution(handle))

    async def browse(self, handle: str) -> tuple[int, str]:
        """What a browser gets from the recursive node: status, and where it is sent."""
        url = f"{self.deployment.http_url('recursive')}/{handle}"
        async with self.session.get(url, allow_redirects=False) as response:
            return response.status, response.headers.get("Location", "")


@asynccontextmanager
async def scene(machine: Machine) -> AsyncIterator[Scene]:
    """Bring the secondary node to shorter times than usual, and people into it."""
    found = Deployment.load(machine.home)
    settings: dict[str, dict[str, float]] = {
        SECONDARY: {"delegation_ttl_s": DELEGATION_TTL_S, "peers_interval_s": 0.1},
        "recursive": {"negative_ttl_s": DENIAL_TTL_S},
    }
    for daemon, changes in settings.items():
        with found.settings_file(daemon).open("a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in changes.items())
        os.kill(machine.processes()[daemon], signal.SIGTERM)  # its supervisor starts it again
    token = found.key_file(SECONDARY, OPERATOR_KEY).read_text().strip()
    async with aiohttp.ClientSession() as session:
        operator = ApiUser(session=session, base=found.http_url(SECONDARY), token=token)

        async def ready() -> bool:
            described = await asyncio.to_thread(machine.status)
            restarted = [one["restarts"] for one in described["processes"] if one["name"] in settings]
            return bool(described["ready"]) and all(restarted)

        await eventually(ready, 60.0, "the nodes run with their new settings")
        yield Scene(
            machine=machine,
            deployment=found,
            session=session,
            operator=operator,
            reviewer=await make_user(operator, Role.REVIEWER),
            auditor=await make_user(operator, Role.AUDITOR),
        )


@asynccontextmanager
async def own_node(on: Scene, scratch: Path) -> AsyncIterator[NodeProcess]:
    """The enterprise's own node, on a database of its own in the Postgres of the deployment."""
    postgres = EmbeddedPostgres(on.machine.home / "postgres")
    connection = await asyncpg.connect(postgres.dsn())
    await connection.execute("CREATE DATABASE node_of_the_enterprise")
    await connection.close()
    node = NodeProcess(
        postgres.dsn("node_of_the_enterprise"),
        scratch,
        homes=[f"{PREFIX}.0"],
        open_networks=[{"network": "127.0.0.0/8", "prefixes": ["*"]}],
        source_unlimited_networks=["127.0.0.0/8"],
        peers_interval_s=0.1,
        heartbeat_interval_s=1.0,
    )
    try:
        await node.start()
        yield node
    finally:
        await node.stop()


async def test_the_story_of_an_enterprise(machine: Machine, scratch: Path) -> None:
    async with scene(machine) as on:
        await apply(on)
        await register(on)
        await resolve(on)
        async with own_node(on, scratch) as node:
            key = await join(on, node)
            await move_while_a_client_asks(on, key)
            await suspend_and_resume(on)
            await audit(on, node)


async def apply(on: Scene) -> None:
    """The enterprise is taken in and reviewed, applies for a prefix, and gets it."""
    on.organisation = await make_organisation(on.operator, on.reviewer)
    on.administrator = await make_user(on.operator, Role.ENTERPRISE_ADMINISTRATOR, on.organisation)
    allocated = await allocate_prefix(on.operator, on.reviewer, on.enterprise, SECONDARY, "7")
    assert allocated == PREFIX
    shown = (await on.enterprise.get(f"/prefixes/{PREFIX}")).expect(200)
    assert (shown["state"], shown["hosting"], shown["organisation"]) == ("active", "hosted", on.organisation)


async def register(on: Scene) -> None:
    """Ten thousand products in batches, by an API key of the production line."""
    line = await make_key(on.enterprise, prefixes=[PREFIX])
    for first in range(0, PRODUCTS, BATCH):
        batch = {"items": [item(number) for number in range(first, first + BATCH)]}
        told = (await line.post("/identifiers/batch", batch)).expect(200)
        assert (told["done"], told["refused"]) == (BATCH, 0)


async def resolve(on: Scene) -> None:
    """A supply-chain client resolves one through the recursive node, by its own means and by a browser."""
    assert (await on.ask("recursive", product(4_711))).url == page(4_711)
    assert await on.browse(product(4_711)) == (302, page(4_711))


async def join(on: Scene, node: NodeProcess) -> str:
    """The enterprise's node joins the secondary node; the enterprise says there that it is its own. Its key id."""
    own_operator = await make_operator(node.settings, on.session, node.base)
    wish = {"url": on.deployment.http_url(SECONDARY), "claim": on.organisation, "joins": True}
    enrolment = (await own_operator.post("/enrolments", wish)).expect(201, 202)

    async def has_joined() -> bool:
        nonlocal enrolment
        enrolment = (await own_operator.get(f"/enrolments/{enrolment['id']}")).expect(200)
        return str(enrolment["state"]) == "joined"

    await eventually(has_joined, MOVED_WITHIN_S, "the node joins", seen=lambda: enrolment)
    (below,) = [
        one
        for one in (await on.operator.get("/nodes")).expect(200)["items"]
        if one["claim"] == on.organisation
    ]
    key = str(below["node"])
    (await on.enterprise.post(f"/nodes/{key}/confirmation")).expect(200)
    return key


async def move_while_a_client_asks(on: Scene, key: str) -> None:
    """Nobody who asks by way of the recursive node notices anything; who asks the old side is sent on."""
    clients = [Asker(lambda handle: on.ask("recursive", handle)) for _ in range(ASKERS)]
    beside = Asker(lambda handle: on.ask(SECONDARY, handle), fine=frozenset({SUCCESS, REFERRAL}))
    everybody = [*clients, beside]
    async with asyncio.TaskGroup() as group:
        for asker in everybody:
            group.create_task(asker.run())
        wish = {"to": "delegated", "node": key, "reason": "a node of its own"}
        move = (await on.operator.post(f"/prefixes/{PREFIX}/move", wish)).expect(202)

        async def has_ended() -> bool:
            nonlocal move
            move = (await on.operator.get(f"/moves/{move['id']}")).expect(200)
            return move["ended"] is not None

        await eventually(has_ended, MOVED_WITHIN_S, "the end of the move", seen=lambda: move)
        await asyncio.sleep(2 * DELEGATION_TTL_S)  # until nobody believes the former delegation any more
        for asker in everybody:
            asker.stopping = True
    assert move["phase"] == "done", move
    assert [fault for asker in everybody for fault in asker.faults] == []
    assert all(asker.codes.total() > 100 for asker in everybody), "asked throughout"
    assert set(beside.codes) == {SUCCESS, REFERRAL}
    shown = (await on.enterprise.get(f"/prefixes/{PREFIX}")).expect(200)
    assert shown["hosting"] == "delegated"
    assert (await on.ask(SECONDARY, product(1))).rc == REFERRAL
    assert (await on.ask("recursive", product(1))).url == page(1)


async def suspend_and_resume(on: Scene) -> None:
    """Denied within a second where it was allocated, and elsewhere when denial and delegation have run out."""
    path, reason = f"/prefixes/{PREFIX}", "the certificate has ended"
    (await on.operator.post(path + "/suspension", {"reason": reason})).expect(200)

    async def is_denied_here() -> bool:
        answer = await on.ask(SECONDARY, product(2))
        return answer.rc == DENIED_BY_STATUS and reason in answer.text

    async def is_denied_elsewhere() -> bool:
        return (await on.browse(product(2)))[0] == 403

    await eventually(is_denied_here, AT_THE_NODE_S, "denied at the node")
    await eventually(is_denied_elsewhere, ELSEWHERE_S, "a page with 403 at the recursive node")
    (await on.operator.post(path + "/resumption", {"reason": "a new certificate"})).expect(200)

    async def is_found_again() -> bool:
        return await on.browse(product(2)) == (302, page(2))

    await eventually(is_found_again, ELSEWHERE_S, "found again")


async def audit(on: Scene, node: NodeProcess) -> None:
    """The auditor sees who did all of it, and the chain verifies at both nodes, by the command."""
    expected = {
        "organisation.create": 1,
        "organisation.approve": 1,
        "application.create": 1,
        "application.approve": 1,
        "prefix.allocate": 1,
        "prefix.move": 1,
        "prefix.suspend": 1,
        "prefix.resume": 1,
    }

    async def sees_all() -> bool:
        entries = await entries_of(on)
        counts = Counter(str(entry["action"]) for entry in entries)
        registered = sum(entry["changes"] for entry in entries if entry["action"] == "identifier.create")
        actors = {str(entry["actor"]) for entry in entries}
        missing = {action: count for action, count in expected.items() if counts[action] < count}
        assert not missing or time.monotonic() < until_s, (missing, counts)
        return not missing and registered >= PRODUCTS and on.enterprise.id in actors

    until_s = time.monotonic() + NUMBERED_WITHIN_S
    await eventually(sees_all, NUMBERED_WITHIN_S + 1, "the auditor sees all of it")
    for words in (("--node", SECONDARY), ("--config", str(node.settings_file))):
        verified = await asyncio.to_thread(on.machine.run, "audit", "verify", *words, "--json")
        report = json.loads(verified.stdout)
        assert report["faults"] == [], report


async def entries_of(on: Scene) -> list[dict[str, Any]]:
    """Everything that the auditor is shown about the organisation."""
    entries: list[dict[str, Any]] = []
    cursor = ""
    while True:
        query = {"limit": 200, "organisation": on.organisation, **({"cursor": cursor} if cursor else {})}
        shown = (await on.auditor.get("/audit", **query)).expect(200)
        entries += shown["items"]
        cursor = shown["next"]
        if not cursor:
            return entries
