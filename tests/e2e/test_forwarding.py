"""Forwarding: plant -> region -> nation, loops, and who is asked when."""

from protocol.codes import DEFAULT_FLAGS, OpFlag
from tests.support.asking import ask_udp, resolution
from tests.support.world import TestNode, World

URL = "https://plant.example/pump-7"
HANDLE = "88.100.1/pump-7"


async def plant_node(world: World) -> TestNode:
    """Start root, 88, 88.100 and 88.100.1 with one product."""
    *_, plant = await world.chain("88", "88.100", "88.100.1")
    await plant.create(HANDLE, url=URL)
    return plant


async def test_a_chain_of_three_walks_once_and_each_caches(world: World) -> None:
    await plant_node(world)
    nation = await world.resolver()
    region = await world.resolver(forward_to=nation)
    plant = await world.resolver(forward_to=region)
    world.forget()

    assert (await plant.ask(HANDLE)).url == URL
    assert len(world.exchanges()) == 4

    world.forget()
    for node in (plant, region, nation):
        assert (await node.ask(HANDLE)).url == URL
    assert world.exchanges() == []

    await nation.stop()
    await region.stop()
    assert (await plant.ask(HANDLE)).url == URL


async def test_a_denial_comes_through_a_chain(world: World) -> None:
    await plant_node(world)
    nation = await world.resolver()
    plant = await world.resolver(forward_to=await world.resolver(forward_to=nation))
    assert (await plant.ask("88.100.1/unknown")).rc == 100


async def test_only_the_named_prefix_is_forwarded(world: World) -> None:
    await plant_node(world)
    other = await world.resolver()
    node = await world.resolver(forward_to={"88": other})
    assert (await node.ask(HANDLE)).url == URL
    await other.stop()
    world.forget()
    assert (await node.ask("88.100.1/next")).rc == 2
    assert world.exchanges() == []
    assert (await node.ask("99/elsewhere")).rc == 100


async def test_the_next_address_is_tried_when_one_is_silent(world: World) -> None:
    await plant_node(world)
    down, up = await world.resolver(), await world.resolver()
    node = await world.resolver(forward_to=[down, up])
    await down.stop()
    assert (await node.ask(HANDLE)).url == URL


async def test_a_loop_of_two_ends_with_an_error_and_no_storm(world: World) -> None:
    await plant_node(world)
    world.forget()
    first = await world.resolver()
    back = await world.resolver(forward_to=first)
    await first.stop()
    looped = await world.resolver(
        forward_to=back,
        listen_addresses=(first.address[0],),
        handle_port=first.address[1],
    )
    answer = await looped.ask(HANDLE)
    assert answer.rc in {2, 6}
    assert answer.values == ()
    assert world.exchanges() == []


async def test_a_question_that_has_passed_too_many_nodes_is_refused(world: World) -> None:
    await plant_node(world)
    resolver = await world.resolver(recursion_limit=3)
    far = await ask_udp(resolver.address, resolution(HANDLE, recursion_count=3))
    assert far.rc == 6
    near = await ask_udp(resolver.address, resolution(HANDLE, recursion_count=2))
    assert near.url == URL


async def test_without_permission_to_recurse_only_the_cache_answers(world: World) -> None:
    await plant_node(world)
    resolver = await world.resolver()
    flags = DEFAULT_FLAGS & ~OpFlag.RECU
    assert (await resolver.ask(HANDLE, flags=flags)).rc == 301
    await resolver.ask(HANDLE)
    assert (await resolver.ask(HANDLE, flags=flags)).url == URL
