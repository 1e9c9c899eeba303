"""A recursive node on real sockets, judged by its clients and by what the authorities were asked."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from protocol.bodies import SiteInfoResponse
from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag, ResponseCode
from protocol.message import Message
from protocol.site import InterfaceProtocol
from protocol.transport.sockets import is_address_available
from resolver.daemon import RecursiveNode
from resolver.settings import OpenNetwork
from tests.integration.resolver.loopback import (
    PUMP,
    Client,
    Hierarchy,
    client_of,
    running_node,
    value,
)
from tests.support.valkey import TestValkey


@pytest.fixture
async def client(node: RecursiveNode) -> AsyncIterator[Client]:
    async with client_of(node) as client:
        yield client


@pytest.mark.parametrize("transport", [InterfaceProtocol.UDP, InterfaceProtocol.TCP])
async def test_a_name_is_resolved_through_four_levels_with_one_question_each(
    hierarchy: Hierarchy, client: Client, transport: InterfaceProtocol
) -> None:
    reply = await client.ask(PUMP, transport=transport)

    assert [(entry.type, entry.data) for entry in reply.values] == [
        ("URL", b"https://plant.example/pump-7"),
        ("DESC", "泵".encode()),
    ]
    assert hierarchy.asked == ["0.NA/88", "0.NA/88.100", "0.NA/88.100.1", PUMP]
    assert not reply.message.has(OpFlag.AUTH)


async def test_a_known_name_costs_no_question_and_an_unseen_one_beside_it_exactly_one(
    hierarchy: Hierarchy, client: Client
) -> None:
    hierarchy.enterprise.hold("88.100.1/pump-8", value(1, "DESC", "another"))
    await client.ask(PUMP)
    hierarchy.forget()

    await client.ask(PUMP)
    await client.ask(PUMP, types=("DESC",))
    assert hierarchy.asked == []

    await client.ask("88.100.1/pump-8")
    assert hierarchy.asked == ["88.100.1/pump-8"]


async def test_upper_nodes_never_see_a_suffix(hierarchy: Hierarchy, client: Client) -> None:
    await client.ask(PUMP)

    seen = b"".join(octets for authority in hierarchy.authorities[:3] for octets in authority.octets)
    assert b"pump-7" not in seen


async def test_filters_are_applied_to_the_cached_record(client: Client) -> None:
    await client.ask(PUMP, types=("URL",))

    assert [entry.index for entry in (await client.ask(PUMP, indexes=(2,))).values] == [2]
    assert (await client.ask(PUMP, types=("EMAIL",))).code == ResponseCode.VALUES_NOT_FOUND


async def test_a_denial_is_remembered(hierarchy: Hierarchy, client: Client) -> None:
    first, second = [await client.ask("88.100.1/none") for _ in range(2)]

    assert (first.code, first.text) == (ResponseCode.HANDLE_NOT_FOUND, "no such handle")
    assert second.code == ResponseCode.HANDLE_NOT_FOUND
    assert hierarchy.enterprise.asked == ["88.100.1/none"]


async def test_a_ttl_of_zero_is_never_cached(hierarchy: Hierarchy, client: Client) -> None:
    hierarchy.enterprise.hold("88.100.1/fleeting", value(1, "DESC", "now", ttl=0))

    for _ in range(2):
        await client.ask("88.100.1/fleeting")

    assert hierarchy.enterprise.asked == ["88.100.1/fleeting"] * 2


async def test_an_expired_record_is_fetched_again_through_every_cache(
    hierarchy: Hierarchy, client: Client
) -> None:
    hierarchy.enterprise.hold("88.100.1/brief", value(1, "DESC", "old", ttl=1))
    await client.ask("88.100.1/brief")
    hierarchy.enterprise.hold("88.100.1/brief", value(1, "DESC", "new", ttl=1))

    await asyncio.sleep(1.1)

    assert (await client.ask("88.100.1/brief")).values[0].data == b"new"


async def test_values_leave_as_the_authority_sent_them(hierarchy: Hierarchy, client: Client) -> None:
    sent = value(7, "DESC", "as it is", ttl=3_600, timestamp=1_700_000_000)
    hierarchy.enterprise.hold("88.100.1/signed", sent)
    await client.ask("88.100.1/signed")

    assert (await client.ask("88.100.1/signed")).values == (sent,)


async def test_the_answer_echoes_the_spelling_of_each_question(client: Client) -> None:
    await client.ask(PUMP)

    reply = await client.ask("88.100.1/pump-7")
    assert reply.body[4:19] == b"88.100.1/pump-7"


async def test_equal_questions_share_one_resolution(hierarchy: Hierarchy, client: Client) -> None:
    hierarchy.enterprise.delay_s = 0.2

    replies = await asyncio.gather(*(client.ask(PUMP) for _ in range(50)))

    assert all(reply.code == ResponseCode.SUCCESS for reply in replies)
    assert hierarchy.asked == ["0.NA/88", "0.NA/88.100", "0.NA/88.100.1", PUMP]


async def test_different_names_of_a_cold_prefix_share_the_way_down(
    hierarchy: Hierarchy, client: Client
) -> None:
    for authority in hierarchy.authorities:
        authority.delay_s = 0.1

    await asyncio.gather(*(client.ask(f"88.100.1/{number}") for number in range(20)))

    assert len(hierarchy.root.asked) == len(hierarchy.top.asked) == len(hierarchy.second.asked) == 1


async def test_without_recursion_only_the_cache_answers(hierarchy: Hierarchy, client: Client) -> None:
    cold = await client.ask(PUMP, flags=OpFlag.PUBL)
    await client.ask(PUMP)
    warm = await client.ask(PUMP, flags=OpFlag.PUBL)

    assert cold.code == ResponseCode.SERVER_NOT_RESPONSIBLE
    assert warm.code == ResponseCode.SUCCESS


async def test_an_authoritative_question_goes_past_every_cache(hierarchy: Hierarchy, client: Client) -> None:
    await client.ask(PUMP)
    hierarchy.enterprise.hold(PUMP, value(1, "DESC", "changed"))
    hierarchy.forget()

    for _ in range(2):
        reply = await client.ask(PUMP, flags=DEFAULT_FLAGS | OpFlag.AUTH)
        assert reply.values[0].data == b"changed"
        assert not reply.message.has(OpFlag.AUTH)

    assert hierarchy.asked == [PUMP, PUMP]
    assert all(octets[28] & 0x80 for octets in hierarchy.enterprise.octets)


async def test_a_request_without_publ_gets_public_values_and_no_challenge(
    hierarchy: Hierarchy, client: Client
) -> None:
    hierarchy.enterprise.hold(
        "88.100.1/mixed", value(1, "DESC", "public"), value(300, "HS_SECKEY", "secret", permissions=0x0C)
    )

    assert [entry.index for entry in (await client.ask("88.100.1/mixed", flags=OpFlag.RECU)).values] == [1]


async def test_a_slashless_name_is_its_prefix_record(hierarchy: Hierarchy, client: Client) -> None:
    reply = await client.ask("88.100")

    assert {entry.type for entry in reply.values} == {"HS_SITE", "HS_SITE.PREFIX"}
    assert reply.body[4:10] == b"88.100"


async def test_the_node_tells_its_own_site(node: RecursiveNode, client: Client) -> None:
    reply = await client.ask("/", op_code=OpCode.GET_SITE_INFO)

    told = SiteInfoResponse.decode(reply.body).site
    assert told == node.site
    assert not told.primary
    assert told.servers[0].interfaces[0].protocol == InterfaceProtocol.TCP


@pytest.mark.parametrize("op_code", [OpCode.CREATE_HANDLE, OpCode.LIST_HANDLES, OpCode.SESSION_SETUP])
async def test_every_other_operation_is_not_supported(client: Client, op_code: OpCode) -> None:
    reply = await client.ask(PUMP, op_code=op_code)

    assert reply.code == ResponseCode.OPERATION_NOT_SUPPORTED
    assert "primary site" in reply.text


async def test_a_question_that_passed_too_many_nodes_is_refused(client: Client) -> None:
    reply = await client.ask(PUMP, recursion_count=10)

    assert reply.code == ResponseCode.RECURSION_LIMIT
    assert "recursion_limit" in reply.text


async def test_a_dead_authority_is_named_with_cause_and_time(hierarchy: Hierarchy, client: Client) -> None:
    await hierarchy.enterprise.stop()

    reply = await client.ask(PUMP)

    assert reply.code == ResponseCode.ERROR
    assert f"127.0.0.1:{hierarchy.enterprise.port}" in reply.text
    assert "since 20" in reply.text


async def test_an_authority_that_answers_another_question_is_not_believed(
    hierarchy: Hierarchy, client: Client
) -> None:
    def forged(request: Message, body: object) -> Message:
        return hierarchy.enterprise.refuse(request, ResponseCode.SUCCESS)

    hierarchy.enterprise.script = forged

    assert (await client.ask(PUMP)).code == ResponseCode.ERROR


async def test_a_private_address_is_asked_only_for_the_prefixes_that_open_it(hierarchy: Hierarchy) -> None:
    closed = (OpenNetwork(network="127.0.0.0/8", prefixes=("99",)),)
    async with running_node(hierarchy.settings(open_networks=closed)) as node, client_of(node) as client:
        reply = await client.ask(PUMP)

    assert reply.code == ResponseCode.ERROR
    assert "not routable" in reply.text
    assert hierarchy.top.asked == []


async def test_ipv6_clients_are_answered_too(hierarchy: Hierarchy) -> None:
    if not is_address_available("::1"):
        pytest.skip("this machine has no IPv6")
    settings = hierarchy.settings(listen_addresses=("127.0.0.1", "::1"))
    async with running_node(settings) as node, client_of(node, host="::1") as client:
        for transport in (InterfaceProtocol.UDP, InterfaceProtocol.TCP):
            assert (await client.ask(PUMP, transport=transport)).code == ResponseCode.SUCCESS


async def test_a_stopped_node_leaves_no_task(hierarchy: Hierarchy, valkey: TestValkey) -> None:
    before = asyncio.all_tasks()
    settings = hierarchy.settings(redis_url=valkey.url)
    async with running_node(settings) as node, client_of(node) as client:
        await client.ask(PUMP)
        await node.stop()
        await node.stop()

    assert asyncio.all_tasks() == before


async def test_a_question_in_flight_is_answered_while_the_node_stops(
    hierarchy: Hierarchy, node: RecursiveNode, client: Client
) -> None:
    hierarchy.enterprise.delay_s = 0.3
    question = asyncio.create_task(client.ask(PUMP))
    await asyncio.sleep(0.15)

    await node.stop()

    assert (await question).code == ResponseCode.SUCCESS
