"""Reads over the wire: filters and flags, values for administrators, lists, status, verification, homing."""

import json

import pytest

from protocol.admin_bodies import VerifyRequest, VerifyResponse
from protocol.bodies import ReferralBody, ResolutionRequest, SiteInfoResponse
from protocol.challenge import Challenge, answer_with_secret
from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag
from protocol.handle import Handle
from protocol.site import Site
from protocol.value import HandleValue, ValueReference
from registry.wire.listing import NAMES_MAX
from tests.integration.registry.bench import admin, url
from tests.support.handle_client import Proof, Transport
from tests.support.wired import ADMIN, STRANGER, Wired, listed, restricted

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVERYTHING = DEFAULT_FLAGS & ~OpFlag.PUBL
ADDRESS = "https://plant.example/7"
TRANSPORTS: tuple[Transport, ...] = ("udp", "tcp", "http")


# Resolution


async def test_indexes_and_types_select_together_and_types_with_their_subtypes(node: Wired) -> None:
    def typed(name: str, index: int) -> HandleValue:
        return HandleValue(index=index, type=name, data=b"x")

    name = await node.created(typed("A", 1), typed("A.B", 2), typed("AB", 3), url(ADDRESS, 4))
    client = node.client()

    async def found(indexes: tuple[int, ...] = (), types: tuple[str, ...] = ()) -> list[int]:
        reply = await client.resolve(name, indexes=indexes, types=types)
        return [value.index for value in reply.values if value.index < 100]

    assert await found() == [1, 2, 3, 4]
    assert await found(indexes=(4,), types=("a",)) == [1, 4]
    assert await found(types=("a.",)) == [1, 2]
    assert (await client.resolve(name, types=["URL."], indexes=[9])).rc == 1
    assert (await client.resolve(name, types=["NONE"])).rc == 200


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_values_for_administrators_are_told_to_them_alone(node: Wired, transport: Transport) -> None:
    name = await node.created(url(ADDRESS, 1), restricted("inside", 2))

    public = await node.client(transport).resolve(name)
    challenged = await node.client(transport).resolve(name, flags=EVERYTHING)
    told = await node.writer(transport).resolve(name, flags=EVERYTHING)

    assert [value.index for value in public.values] == [1, 100]
    assert challenged.rc == 402
    assert [value.data for value in told.values if value.index < 100] == [ADDRESS.encode(), b"inside"]


async def test_a_selection_of_public_values_takes_no_proof(node: Wired) -> None:
    name = await node.created(url(ADDRESS, 1), restricted("inside", 2))
    client = node.client()

    assert (await client.resolve(name, indexes=[1], flags=EVERYTHING)).rc == 1
    assert (await client.resolve(name, types=["DESC"], flags=EVERYTHING)).rc == 402
    assert (await client.resolve(name, types=["DESC"])).rc == 200
    assert (await client.resolve(await node.created(), flags=EVERYTHING)).rc == 1


async def test_who_may_not_read_is_told_so_and_a_wrong_proof_too(node: Wired) -> None:
    name = await node.created(restricted("inside", 2))

    stranger = await node.client(proof=Proof(STRANGER, secret=b"of a stranger")).resolve(
        name, flags=EVERYTHING
    )
    wrong = await node.client(proof=Proof(ADMIN, secret=b"guessed")).resolve(name, flags=EVERYTHING)

    assert (stranger.rc, wrong.rc) == (400, 403)


async def test_what_was_read_by_an_administrator_is_given_to_nobody_else_and_is_audited(node: Wired) -> None:
    name = await node.created(restricted("inside", 2))
    for _ in range(2):
        assert len((await node.writer().resolve(name, flags=EVERYTHING)).values) == 2
        assert (await node.client().resolve(name, flags=EVERYTHING)).rc == 402

    async with node.node.operations.context.store.connection() as connection:
        query = "SELECT count(*) FROM audit_log WHERE target = $1 AND action = 'identifier.read_restricted'"
        assert await connection.fetchval(query, name) == 2


async def test_a_value_that_nobody_may_read_is_refused_to_its_administrator(node: Wired) -> None:
    secret = HandleValue(index=2, type="DESC", data=b"x", permissions=0x04)
    name = await node.created(secret)

    assert (await node.writer().resolve(name, indexes=[2], flags=EVERYTHING)).rc == 401


@pytest.mark.parametrize("flag", [OpFlag.AUTH, OpFlag.RECU, OpFlag.CACR, OpFlag.KPAL, OpFlag.DNRF, 0x4])
async def test_every_flag_is_accepted_and_echoed(node: Wired, flag: int) -> None:
    name, client = await node.created(), node.client()
    request = client.request(OpCode.RESOLUTION, _resolution(name), OpFlag.PUBL | flag)
    if flag == OpFlag.KPAL:
        client.transport = "http"  # the connection would stay, as asked
        client.address = node.node.addresses.http[0]

    reply = await client.exchange(request)

    assert reply.rc == 1
    assert reply.last.header.op_flags == OpFlag.PUBL | OpFlag.AUTH | flag


async def test_a_delegated_prefix_is_referred_and_with_the_flag_denied(node: Wired) -> None:
    site = HandleValue(index=1, type="HS_SITE.PREFIX", data=Site(serial=3).encode())
    await node.writer().create("0.NA/88.1.7", site)
    client = node.client()

    referred = await client.resolve("0.NA/88.1.7.1")
    denied = await client.resolve("0.NA/88.1.7.1", flags=DEFAULT_FLAGS | OpFlag.DNRF)

    assert (referred.rc, denied.rc) == (303, 100)
    assert [value.type for value in ReferralBody.decode(referred.body).values or ()] == ["HS_SITE.PREFIX"]


async def test_what_lies_elsewhere_is_not_fetched_whatever_is_permitted(node: Wired) -> None:
    assert (await node.client().resolve("99.9/elsewhere", flags=DEFAULT_FLAGS | OpFlag.RECU)).rc == 301


# Site information, operations that there are not, interfaces


async def test_the_site_record_says_where_administration_is_taken(node: Wired) -> None:
    reply = await node.client("udp").about(OpCode.GET_SITE_INFO, "/")

    site = SiteInfoResponse.decode(reply.body).site
    assert site == node.node.site
    kinds = [(interface.protocol, interface.admin) for interface in site.servers[0].interfaces]
    assert kinds == [(1, True), (0, True), (2, True)]  # TCP first


@pytest.mark.parametrize("operation", [99, 402, 1000, 1001, 1003, 2000])
async def test_an_operation_that_there_is_not_is_refused_with_its_ids(node: Wired, operation: int) -> None:
    reply = await node.client().about(operation, "/")  # type: ignore[arg-type]

    assert (reply.rc, reply.last.header.op_code) == (5, operation)


@pytest.mark.parametrize(
    "operation", [OpCode.LIST_HANDLES, OpCode.LIST_DERIVED_PREFIXES, OpCode.LIST_HOMED_PREFIXES]
)
async def test_a_list_is_not_sent_in_datagrams(node: Wired, operation: OpCode) -> None:
    reply = await node.client("udp").about(operation, "0.NA/88.1")

    assert reply.rc == 4
    assert "TCP" in reply.text


# Lists


@pytest.mark.parametrize("transport", ["tcp", "http"])
async def test_all_handles_of_a_prefix_are_listed_fifty_a_message(node: Wired, transport: Transport) -> None:
    await _home(node, "88.2")
    made = [f"88.2/h{number:03}" for number in range(2 * NAMES_MAX + 5)]
    if (await listed(node.writer(), "88.2")).names != tuple(made):
        for name in made:
            await node.writer().create(name, url(ADDRESS))

    reply = await listed(node.writer(transport), "0.NA/88.2")

    assert [message.has(OpFlag.CONT) for message in reply.messages] == [True, True, False]
    assert reply.names == tuple(made)


async def test_an_empty_list_is_one_message_without_names(node: Wired) -> None:
    await _home(node, "88.3")

    reply = await listed(node.writer(), "0.NA/88.3")

    assert (len(reply.messages), reply.names) == (1, ())


async def test_a_list_is_for_who_may_list(node: Wired) -> None:
    stranger = Proof(STRANGER, secret=b"of a stranger")

    assert (await listed(node.client())).rc == 402
    assert (await listed(node.client(proof=stranger))).rc == 400
    assert (await listed(node.client(proof=Proof(ADMIN, secret=b"guessed")))).rc == 403
    assert (await listed(node.client(), "0.NA/99.9")).rc == 301
    assert (await listed(node.client(), "88.1/pump")).rc == 102


async def test_the_prefixes_below_a_prefix_are_listed(node: Wired) -> None:
    await node.writer().create("0.NA/88.1.5", admin())
    await node.writer().create("0.NA/88.1.5.1", admin())

    reply = await node.writer().about(OpCode.LIST_DERIVED_PREFIXES, "0.NA/88.1")

    assert {"0.NA/88.1.5", "0.NA/88.1.5.1"} <= set(reply.names)


# The node's own administrators


async def test_prefixes_are_homed_listed_and_unhomed_by_administrators_of_the_node(node: Wired) -> None:
    client = node.writer()
    homed = await client.about(OpCode.HOME_PREFIX, "0.NA/88.4")
    created = await client.create("88.4/pump", url(ADDRESS))
    prefixes = (await client.about(OpCode.LIST_HOMED_PREFIXES, "/")).names
    unhomed = await client.about(OpCode.UNHOME_PREFIX, "0.NA/88.4")
    gone = await client.resolve("88.4/pump")

    assert [reply.rc for reply in (homed, created, unhomed, gone)] == [1, 1, 1, 301]
    assert (homed.body, unhomed.body) == (b"", b"")
    assert {"0.NA/88.1", "0.NA/88.4"} <= set(prefixes)


@pytest.mark.parametrize("operation", [OpCode.HOME_PREFIX, OpCode.UNHOME_PREFIX, OpCode.LIST_HOMED_PREFIXES])
async def test_homing_is_for_administrators_of_the_node(node: Wired, operation: OpCode) -> None:
    stranger = Proof(STRANGER, secret=b"of a stranger")

    assert (await node.client().about(operation, "0.NA/88.5")).rc == 402
    assert (await node.client(proof=stranger).about(operation, "0.NA/88.5")).rc == 400
    assert (await node.client(proof=Proof(ADMIN, secret=b"guessed")).about(operation, "0.NA/88.5")).rc == 403
    assert (await node.client().resolve("88.5/x")).rc == 301


async def test_what_is_no_prefix_record_is_not_homed(node: Wired) -> None:
    assert (await node.writer().about(OpCode.HOME_PREFIX, "88.1/pump")).rc == 102


async def test_an_administrator_of_the_node_may_write_what_names_him_nowhere(node: Wired) -> None:
    name = await node.created(url(ADDRESS), admin())  # 88.100/ADMIN, who is somebody else

    assert (await node.writer().modify(name, url("https://plant.example/8"))).rc == 1


async def test_the_status_is_told_to_administrators_of_the_node(node: Wired) -> None:
    stranger = Proof(STRANGER, secret=b"of a stranger")
    reply = await node.writer().resolve("0.SITE/status", flags=EVERYTHING)

    server, replication = reply.values
    assert [server.type, replication.type] == ["CNRI.SERVER_STATUS", "CNRI.REPLICATION_STATUS"]
    told = json.loads(server.data)
    assert told["software"] == "handlegrid"
    assert told["requests"] > 0
    assert told["memoryMaxOctets"] > 1_000_000
    assert json.loads(replication.data)["latestTxnId"] >= 0
    assert (await node.client().resolve("0.SITE/status")).rc == 200
    assert (await node.client().resolve("0.site/STATUS", flags=EVERYTHING)).rc == 402
    assert (await node.client(proof=stranger).resolve("0.SITE/status", flags=EVERYTHING)).rc == 400


# Verification


@pytest.mark.parametrize(
    ("name", "index", "secret", "valid"),
    [
        (STRANGER, 300, b"of a stranger", True),
        (STRANGER, 0, b"of a stranger", True),
        (STRANGER, 300, b"guessed", False),
        (STRANGER, 301, b"of a stranger", False),
        ("88.1/NOBODY", 300, b"", False),
        ("99.9/ELSEWHERE", 300, b"of a stranger", False),
    ],
)
async def test_an_answer_is_verified_for_anybody(
    node: Wired, name: str, index: int, secret: bytes, valid: bool
) -> None:
    challenge = Challenge(bytes(16), bytes(32))
    body = VerifyRequest(
        key=ValueReference(Handle.parse(name).octets, index),
        nonce=challenge.nonce,
        digest=challenge.digest,
        answer=answer_with_secret(challenge, secret, salt=bytes(16), iterations=100),
    )

    reply = await node.client("udp").ask(
        OpCode.VERIFY_CHALLENGE, body.encode(), flags=DEFAULT_FLAGS | OpFlag.RRDG
    )

    assert reply.rc == 1
    assert VerifyResponse.decode(reply.body).valid is valid


async def _home(node: Wired, prefix: str) -> None:
    assert (await node.writer().about(OpCode.HOME_PREFIX, f"0.NA/{prefix}")).rc == 1


def _resolution(name: str) -> bytes:

    return ResolutionRequest(handle=Handle.parse(name)).encode()
