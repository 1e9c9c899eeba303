"""Recursive nodes that forward to each other: plant, region, nation; and what goes wrong between them."""

import pytest

from protocol.codes import ResponseCode
from protocol.errors import SettingsError
from resolver.daemon import RecursiveNode
from resolver.settings import ForwardRule
from tests.integration.resolver.loopback import (
    HOST,
    PUMP,
    Hierarchy,
    client_of,
    free_port,
    running_node,
)


def everything_to(*ports: int) -> tuple[ForwardRule, ...]:
    return (ForwardRule(prefix="*", addresses=tuple(f"{HOST}:{port}" for port in ports)),)


async def test_a_plant_asks_its_nation_and_then_answers_itself(hierarchy: Hierarchy) -> None:
    nation = hierarchy.settings()
    plant = hierarchy.settings(forwarding=everything_to(nation.handle_port))
    async with running_node(nation), running_node(plant) as near, client_of(near) as client:
        first = await client.ask(PUMP)
        hierarchy.forget()
        second = await client.ask(PUMP)

    assert first.values == second.values
    assert hierarchy.asked == []


async def test_only_the_named_prefix_is_forwarded(hierarchy: Hierarchy) -> None:
    dead = free_port()
    rules = (ForwardRule(prefix="99", addresses=(f"{HOST}:{dead}",)),)
    async with running_node(hierarchy.settings(forwarding=rules)) as node, client_of(node) as client:
        walked, forwarded = await client.ask(PUMP), await client.ask("99.1/x")

    assert walked.code == ResponseCode.SUCCESS
    assert forwarded.code == ResponseCode.ERROR
    assert f"{HOST}:{dead}" in forwarded.text


async def test_a_dead_node_is_followed_by_the_next_address(hierarchy: Hierarchy) -> None:
    nation = hierarchy.settings()
    plant = hierarchy.settings(forwarding=everything_to(free_port(), nation.handle_port), exchange_time_s=0.3)
    async with running_node(nation), running_node(plant) as near, client_of(near) as client:
        assert (await client.ask(PUMP)).code == ResponseCode.SUCCESS


async def test_two_nodes_that_forward_to_each_other_say_so_at_once(hierarchy: Hierarchy) -> None:
    one, other = free_port(), free_port()
    left = hierarchy.settings(handle_port=one, forwarding=everything_to(other))
    right = hierarchy.settings(handle_port=other, forwarding=everything_to(one))
    async with running_node(left) as node, running_node(right), client_of(node) as client:
        reply = await client.ask(PUMP)

    assert reply.code == ResponseCode.RECURSION_LIMIT
    assert "forward to each other" in reply.text
    assert hierarchy.asked == []


async def test_a_node_that_would_forward_to_itself_does_not_start(hierarchy: Hierarchy) -> None:
    port = free_port()
    node = RecursiveNode(hierarchy.settings(handle_port=port, forwarding=everything_to(port)))

    with pytest.raises(SettingsError, match="this node itself"):
        await node.start()
