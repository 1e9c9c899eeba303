"""A four-level hierarchy and its recursive node, judged from the network only."""

import pytest

from protocol.codes import DEFAULT_FLAGS, OpFlag
from protocol.transport.sockets import is_address_available
from tests.support.world import TestNode, World, url_value

SUFFIX = "pump-7-confidential"
HANDLE = f"88.100.1/{SUFFIX}"
URL = "https://plant.example/pump-7"


async def four_levels(world: World) -> list[TestNode]:
    """Start root, 88, 88.100 and 88.100.1, with one product registered."""
    nodes = await world.chain("88", "88.100", "88.100.1")
    await nodes[-1].create(HANDLE, url=URL)
    return nodes


async def test_from_an_empty_cache_four_exchanges_and_then_none(world: World) -> None:
    nodes = await four_levels(world)
    resolver = await world.resolver()
    world.forget()

    assert (await resolver.ask(HANDLE)).url == URL
    assert [len(node.tap.requests) for node in nodes] == [1, 1, 1, 1]

    world.forget()
    for ask in (resolver.ask, resolver.ask_tcp):
        assert (await ask(HANDLE)).url == URL
    status, _, body = await resolver.get(f"/api/handles/{HANDLE}")
    assert (status, URL in body.decode()) == (200, True)
    assert world.exchanges() == []


async def test_an_unseen_name_under_a_known_prefix_costs_one_exchange(world: World) -> None:
    nodes = await four_levels(world)
    await nodes[-1].create("88.100.1/valve-1", url="https://plant.example/valve-1")
    resolver = await world.resolver()
    await resolver.ask(HANDLE)
    world.forget()

    assert (await resolver.ask("88.100.1/valve-1")).url == "https://plant.example/valve-1"
    assert [len(node.tap.requests) for node in nodes] == [0, 0, 0, 1]

    world.forget()
    denied = await resolver.ask("88.100.1/unknown")
    assert denied.rc == 100
    assert [len(node.tap.requests) for node in nodes] == [0, 0, 0, 1]


async def test_upper_nodes_never_see_a_suffix(world: World) -> None:
    nodes = await four_levels(world)
    resolver = await world.resolver()
    world.forget()
    for handle in (
        HANDLE,
        HANDLE.upper(),
        "88.100.1/other-secret",
        "88.100.2/third-secret",
        "99/fourth-secret",
    ):
        await resolver.ask(handle)
        await resolver.ask(handle, flags=DEFAULT_FLAGS | OpFlag.AUTH)
    for node in nodes[:-1]:
        seen = b"".join(node.tap.received).upper()
        assert seen, "the node was asked"
        for secret in (b"PUMP", b"SECRET", b"CONFIDENTIAL"):
            assert secret not in seen
    assert SUFFIX.encode() in b"".join(nodes[-1].tap.received)


async def test_an_answer_comes_as_the_authority_sent_it(world: World) -> None:
    nodes = await four_levels(world)
    resolver = await world.resolver()
    own, relayed = await nodes[-1].ask(HANDLE), await resolver.ask(HANDLE)
    assert relayed.values == own.values
    assert own.authoritative
    assert not relayed.authoritative


async def test_an_answer_echoes_the_spelling_of_each_asker(world: World) -> None:
    await four_levels(world)
    resolver = await world.resolver()
    for handle in (HANDLE, HANDLE.upper(), HANDLE.title()):
        answer = await resolver.ask(handle)
        assert str(answer.handle) == handle
        assert answer.url == URL


async def test_filters_select_from_one_cached_record(world: World) -> None:
    await four_levels(world)
    resolver = await world.resolver()
    await resolver.ask(HANDLE)
    world.forget()
    assert [value.index for value in (await resolver.ask(HANDLE, types=["HS_ADMIN"])).values] == [100]
    assert [value.index for value in (await resolver.ask(HANDLE, indexes=[1])).values] == [1]
    assert (await resolver.ask(HANDLE, indexes=[99])).rc == 200
    assert world.exchanges() == []


async def test_a_name_without_slash_is_its_prefix_record(world: World) -> None:
    await four_levels(world)
    resolver = await world.resolver()
    answer = await resolver.ask("88.100.1")
    assert answer.rc == 1
    assert {"HS_SITE", "HS_SITE.PREFIX", "HS_ADMIN"} <= {value.type for value in answer.values}


@pytest.mark.parametrize(
    "handle", ["88.100.1/none", "88.100.9/none", "88.9/none", "99/none", "99.1.2.3/none"]
)
async def test_a_name_that_does_not_exist_is_denied_at_whatever_level(world: World, handle: str) -> None:
    await four_levels(world)
    resolver = await world.resolver()
    assert (await resolver.ask(handle)).rc == 100
    world.forget()
    assert (await resolver.ask(handle)).rc == 100
    assert world.exchanges() == []


async def test_a_question_for_the_authority_goes_past_the_caches(world: World) -> None:
    nodes = await four_levels(world)
    resolver = await world.resolver()
    await resolver.ask(HANDLE)
    await nodes[-1].put(HANDLE, [url_value("https://plant.example/moved")], index="1")
    assert (await resolver.ask(HANDLE)).url == URL
    fresh = await resolver.ask(HANDLE, flags=DEFAULT_FLAGS | OpFlag.AUTH)
    assert fresh.url == "https://plant.example/moved"
    assert not fresh.authoritative


async def test_a_write_is_visible_at_its_own_node_at_once(world: World) -> None:
    *_, plant = await four_levels(world)
    for number in range(20):
        await plant.put(HANDLE, [url_value(f"https://plant.example/{number}")], index="1")
        assert (await plant.ask(HANDLE)).url == f"https://plant.example/{number}"


async def test_a_deleted_name_is_denied_at_once_at_its_node(world: World) -> None:
    *_, plant = await four_levels(world)
    assert (await plant.ask(HANDLE)).rc == 1
    status, _ = await plant.delete(HANDLE)
    assert status == 200
    assert (await plant.ask(HANDLE)).rc == 100


async def test_a_value_with_ttl_zero_is_never_cached(world: World) -> None:
    *_, plant = await world.chain("88")
    await plant.create("88/volatile", url="https://plant.example/", ttl=0)
    resolver = await world.resolver()
    await resolver.ask("88/volatile")
    world.forget()
    await resolver.ask("88/volatile")
    assert len(plant.tap.requests) == 1


async def test_a_node_that_moved_is_found_again_after_its_delegation_is_renewed(world: World) -> None:
    nodes = await four_levels(world)
    first = await nodes[-1].site()
    await world.delegate("88.100.1", nodes[-1], under=nodes[-2])
    assert (await nodes[-1].site()).serial == first.serial
    assert (await (await world.resolver()).ask(HANDLE)).url == URL


@pytest.mark.skipif(not is_address_available("::1"), reason="this machine has no IPv6")
async def test_ipv6_nodes_resolve(world: World) -> None:
    root = await world.root(listen_addresses=("::1",))
    plant = await world.registry(prefix="88", under=root, listen_addresses=("::1",))
    await plant.create("88/six", url=URL)
    resolver = await world.resolver(listen_addresses=("::1",))
    assert (await resolver.ask("88/six")).url == URL
    assert (await resolver.ask_tcp("88/six")).url == URL
    status, _, _ = await resolver.get("/88/six")
    assert status == 302
