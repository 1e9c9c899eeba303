"""Hosted and delegated prefixes in each state, judged over UDP, TCP and HTTP (ARCHITECTURE §3.14)."""

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from protocol.handle import Handle, Prefix
from protocol.statuses import Status, parse_status
from protocol.value import ValueList
from protocol.valuetypes.hs_namespace import Namespace
from registry.allocation.lifecycle import Hosting
from registry.allocation.model import Wish
from registry.api.services import Services
from registry.outcomes import OPERATOR, Creation, Origin
from registry.transaction import Transaction
from tests.support.asking import Answered, ask_tcp, resolution
from tests.support.world import TestNode, World, url_value

SEVEN = Prefix.parse("88.100.7")
PUMP = "88.100.7/pump-7"
URL = "https://plant.example/pump-7"
HOLDER = "org_" + "a" * 20
_ORGANISATION = """
    INSERT INTO organisations (id, version, review, profile, certificate, created, changed)
    VALUES ($1, 1, 'approved', '{}', $1, now(), now())"""


def services_of(node: TestNode) -> Services:
    return node.node.services


def writing(node: TestNode, actor: str = "usr_operator") -> AbstractAsyncContextManager[Transaction]:
    return services_of(node).operations.transaction(Origin(actor=actor, via="api"))


async def allocated(node: TestNode, **wish: Any) -> None:
    """Let an organisation apply for 88.100.7, approve and allocate it."""
    services = services_of(node)
    async with writing(node, "usr_applicant") as tx:
        await tx.connection.execute(_ORGANISATION, HOLDER)
        wished = Wish(
            organisation=HOLDER,
            parent=Prefix.parse("88.100"),
            label="7",
            purpose="pumps",
            **{"hosting": Hosting.HOSTED} | wish,
        )
        application = await services.allocation.apply(tx, wished, proved=True)
    async with writing(node, "usr_reviewer") as tx:
        await services.allocation.review(tx, application.id, approve=True, reason="")
    async with writing(node) as tx:
        await services.allocation.allocate(tx, application.id)


async def hosting(world: World) -> TestNode:
    """A secondary node below root and 88 that hosts 88.100.7 with one product."""
    secondary = (await world.chain("88", "88.100"))[-1]
    await allocated(secondary)
    pump = Creation(Handle.parse(PUMP), ValueList.of([url_value(URL)]))
    async with writing(secondary) as tx:
        await tx.create([pump], by=OPERATOR)
    return secondary


async def suspend(node: TestNode, reason: str = "unpaid") -> None:
    async with writing(node) as tx:
        await services_of(node).allocation.suspend(tx, SEVEN, reason=reason)


async def resume(node: TestNode) -> None:
    async with writing(node) as tx:
        await services_of(node).allocation.resume(tx, SEVEN, reason="paid")


async def revoke(node: TestNode) -> None:
    async with writing(node) as tx:
        await services_of(node).allocation.revoke(tx, SEVEN, reason="closed")


async def over_http(world: World, node: TestNode, path: str) -> tuple[int, Any]:
    async with world.session.get(f"{node.http}{path}", allow_redirects=False) as response:
        return response.status, await response.json()


def transports(node: TestNode) -> list[Callable[[str], Awaitable[Answered]]]:
    return [node.ask, lambda handle: ask_tcp(node.address, resolution(handle))]


async def test_a_suspended_prefix_says_so_within_a_second_and_is_back_as_soon(world: World) -> None:
    node = await hosting(world)
    for ask in transports(node):
        assert (await ask(PUMP)).url == URL  # and now it is in the answer cache

    started_s = time.monotonic()
    await suspend(node, "unpaid")
    for ask in transports(node):
        for name in (PUMP, "88.100.7/unknown"):
            answer = await ask(name)
            assert answer.rc == 200
            told = parse_status(answer.text)
            assert told is not None
            assert (told.status, told.reason) == (Status.SUSPENDED, "unpaid")
    assert time.monotonic() - started_s < 20.0  # what two busy cores need for all of this

    await resume(node)
    for ask in transports(node):
        assert (await ask(PUMP)).url == URL


async def test_the_record_of_a_suspended_prefix_names_nobody_who_serves_it(world: World) -> None:
    node = await hosting(world)
    await node.ask("0.NA/88.100.7")
    await suspend(node, "unpaid")

    answer = await node.ask("0.NA/88.100.7")
    assert answer.rc == 1
    types = {value.type: value for value in answer.values}
    assert not {name for name in types if name.startswith(("HS_SITE", "HS_SERV"))}
    namespace = Namespace.decode(types["HS_NAMESPACE"].data)
    assert (namespace.status, "unpaid" in (namespace.status_message or "")) == ("inactive", True)
    assert (await node.ask("0.NA/88.100.7", types=["HS_SITE"])).rc == 200


async def test_over_http_a_suspended_prefix_is_code_200_without_values(world: World) -> None:
    node = await hosting(world)
    assert (await over_http(world, node, f"/api/handles/{PUMP}"))[1]["responseCode"] == 1
    await suspend(node)

    status, body = await over_http(world, node, f"/api/handles/{PUMP}")
    assert (status, body["responseCode"]) == (200, 200)
    assert not body.get("values")
    assert body["message"].startswith("suspended by the operator of node 88.100 since ")


async def test_a_revoked_prefix_and_what_was_below_do_not_exist(world: World) -> None:
    node = await hosting(world)
    await revoke(node)

    for name in (PUMP, "0.NA/88.100.7"):
        answer = await node.ask(name)
        assert answer.rc == 100
        assert answer.text.startswith("revoked by the operator of node 88.100 since ")
        status, body = await over_http(world, node, f"/api/handles/{name}")
        assert (status, body["responseCode"]) == (404, 100)


async def test_a_recursive_node_follows_as_soon_as_its_caches_allow(world: World) -> None:
    node = await hosting(world)
    resolver = await world.resolver()
    assert (await resolver.ask(PUMP)).url == URL
    await suspend(node)

    fresh = await world.resolver()
    answer = await fresh.ask(PUMP)
    assert answer.rc == 200
    assert answer.text.startswith("suspended by the operator of node 88.100 since ")

    await revoke(node)
    latest = await world.resolver()
    answer = await latest.ask(PUMP)
    assert answer.rc == 100
    assert answer.text.startswith("revoked by the operator of node 88.100 since ")


@pytest.mark.parametrize("act", [suspend, revoke])
async def test_a_delegated_prefix_is_barred_at_its_parent_too(
    world: World, act: Callable[[TestNode], Awaitable[None]]
) -> None:
    parent = (await world.chain("88", "88.100"))[-1]
    child = await world.registry(prefix="88.100.7", under=parent)
    await child.create(PUMP, url=URL)
    assert (await parent.ask(PUMP)).rc == 302
    resolver = await world.resolver()
    assert (await resolver.ask(PUMP)).url == URL

    await act(parent)

    code = 200 if act is suspend else 100
    assert (await parent.ask(PUMP)).rc == code
    fresh = await world.resolver()
    answer = await fresh.ask(PUMP)
    assert answer.rc == code
    assert parse_status(answer.text) is not None
