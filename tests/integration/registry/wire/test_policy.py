"""What the operator decides: the order of checks, writes without sessions, and which interfaces take writes."""

import pytest

from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag
from protocol.handle import Handle, Prefix
from protocol.message import decode_message
from protocol.site import Interface, InterfaceProtocol, Server, Site
from protocol.transport.base import Peer
from protocol.value import HandleValue
from protocol.valuetypes import PublicKey
from registry.outcomes import Identity, Result
from registry.wire.policy import WirePolicy
from registry.wire.proofs import HS_PUBKEY, KnownKeys
from tests.integration.registry.bench import Bench, admin, secret, url
from tests.integration.registry.wire.conftest import KEY
from tests.support.handle_client import HandleClient, Proof, Transport
from tests.support.transport import answer_of
from tests.support.wire_servers import wire_server

ADMIN = "88.100/ADMIN"
ADDRESS = "https://plant.example/7"
EVERYWHERE = (InterfaceProtocol.UDP, InterfaceProtocol.TCP, InterfaceProtocol.HTTP)
PROOF = Proof(ADMIN, secret=b"open sesame")


def site(*, primary: bool = True, admin_over: tuple[InterfaceProtocol, ...] = EVERYWHERE) -> Site:
    interfaces = tuple(
        Interface(admin=protocol in admin_over, query=True, protocol=protocol, port=2_641)
        for protocol in EVERYWHERE
    )
    server = Server(server_id=1, address=bytes(16), public_key=b"", interfaces=interfaces)
    return Site(serial=9, primary=primary, servers=(server,))


@pytest.fixture(autouse=True)
async def _records(bench: Bench) -> None:
    await bench.create(ADMIN, admin(), secret("open sesame"))
    await bench.create("88.100/pump", admin(), url(ADDRESS))


def client(
    bench: Bench,
    policy: WirePolicy | None = None,
    *,
    own_site: Site | None = None,
    transport: Transport = "tcp",
    proof: Proof | None = None,
) -> HandleClient:
    server = wire_server(bench.operations, own_site or site(), policy=policy)
    return HandleClient(server.respond, transport, proof)


async def test_by_the_documented_order_existence_is_told_before_a_challenge(bench: Bench) -> None:
    policy = WirePolicy(existence_before_challenge=True)
    nobody = client(bench, policy)

    assert (await nobody.create("88.100/pump", url("x"))).rc == 101
    assert (await nobody.create("88.100/pump", url("x"), flags=DEFAULT_FLAGS | OpFlag.OVRW)).rc == 402
    assert (await nobody.create("88.100/pump", url("x"), flags=DEFAULT_FLAGS | OpFlag.MINT)).rc == 402
    assert (await nobody.create("88.100/new", url("x"))).rc == 402
    assert (await nobody.modify("88.100/new", url("x"))).rc == 100
    assert (await nobody.modify("88.100/pump", url("x", 77))).rc == 200
    assert (await nobody.modify("88.100/pump", url("x"))).rc == 402
    assert (await nobody.delete("88.100/new")).rc == 402
    assert (await client(bench, policy, proof=PROOF).modify("88.100/pump", url("x"))).rc == 1


async def test_a_write_outside_a_session_can_be_refused_in_place_of_a_challenge(bench: Bench) -> None:
    nobody = client(bench, WirePolicy(refuse_sessionless_writes=True), proof=PROOF)

    assert (await nobody.create("88.100/new", url("x"))).rc == 403
    assert (await nobody.modify("88.100/pump", url("x"))).rc == 403
    assert (await nobody.about(OpCode.DELETE_HANDLE, "88.100/pump")).rc == 403
    assert (await nobody.about(OpCode.LIST_HANDLES, "88.100")).rc == 1
    assert (await nobody.resolve("88.100/pump")).rc == 1


async def test_the_answer_to_a_challenge_may_come_to_any_interface(bench: Bench) -> None:
    server = wire_server(bench.operations, site(admin_over=(InterfaceProtocol.TCP,)))
    asking = HandleClient(server.respond, "tcp", PROOF)
    reply = await asking.exchange(asking.request(OpCode.DELETE_HANDLE, b"\0\0\0\x0b88.100/pump"))
    answer = asking.answer(asking.sent[-1], reply.last)

    assert (await HandleClient(server.respond, "udp").exchange(answer)).rc == 1


@pytest.mark.parametrize("transport", ["udp", "tcp", "http"])
async def test_writes_are_taken_where_the_site_record_says_so(bench: Bench, transport: Transport) -> None:
    protocol = {"udp": EVERYWHERE[0], "tcp": EVERYWHERE[1], "http": EVERYWHERE[2]}[transport]
    others = tuple(other for other in EVERYWHERE if other is not protocol)

    taken = client(bench, own_site=site(admin_over=(protocol,)), transport=transport)
    refused = client(bench, own_site=site(admin_over=others), transport=transport)

    assert (await taken.create("88.100/new", url("x"))).rc == 402
    assert (await refused.create("88.100/new", url("x"))).rc == 4
    assert (await refused.about(OpCode.HOME_PREFIX, "0.NA/88.5")).rc == 4
    assert (await refused.resolve("88.100/pump")).rc == 1


async def test_a_mirror_sends_writers_to_the_primary_site_and_lists_all_the_same(bench: Bench) -> None:
    mirror = client(bench, own_site=site(primary=False), proof=PROOF)

    assert (await mirror.create("88.100/new", url("x"))).rc == 301
    listed = await mirror.about(OpCode.LIST_HANDLES, "88.100")
    assert listed.names == ("88.100/ADMIN", "88.100/pump")
    assert not listed.last.has(OpFlag.AUTH)


async def test_the_floor_of_versions_is_the_operators(bench: Bench) -> None:
    asking = client(bench, WirePolicy(authentication_version_min=(2, 7)))
    asking.version = asking.suggested = (2, 6)
    assert (await asking.create("88.100/new", url("x"))).rc == 5
    asking.version = asking.suggested = (2, 7)
    assert (await asking.create("88.100/new", url("x"))).rc == 402


async def test_only_what_was_done_is_counted(bench: Bench) -> None:
    counted: list[tuple[str, OpCode, str]] = []

    def count(via: str, operation: OpCode, result: Result) -> None:
        counted.append((via, operation, type(result).__name__))

    server = wire_server(bench.operations, site(), registered=count)
    right = HandleClient(server.respond, proof=PROOF)
    wrong = HandleClient(server.respond, proof=Proof(ADMIN, secret=b"guessed"))
    for writer in (wrong, right, right):
        await writer.create("88.100/new", url("x"))

    assert counted == [
        ("handle", OpCode.CREATE_HANDLE, "Created"),
        ("handle", OpCode.CREATE_HANDLE, "Rejected"),
    ]


async def test_who_is_suspended_proves_nothing(bench: Bench) -> None:
    async def barred(_: object) -> bool:
        return True

    server = wire_server(bench.operations, site(), is_barred=barred)

    assert (await HandleClient(server.respond, proof=PROOF).modify("88.100/pump", url("x"))).rc == 403


async def test_keys_that_are_left_behind_below_a_prefix_that_is_homed_no_more_prove_nothing(
    bench: Bench,
) -> None:
    left = Identity(index=300, handle=Handle.parse("88.101/ADMIN"))
    operator, prefix = Identity(index=300, handle=Handle.parse(ADMIN)), Prefix.parse(b"88.101")
    assert await bench.operations.home(prefix, by=operator) is None
    await bench.create("88.101/ADMIN", admin(), secret("their secret"))
    await bench.create("88.100/valve", admin(left), url(ADDRESS))
    server = wire_server(bench.operations, site())
    theirs = HandleClient(server.respond, proof=Proof("88.101/ADMIN", secret=b"their secret"))
    assert (await theirs.modify("88.100/valve", url("x"))).rc == 1

    assert await bench.operations.unhome(prefix, by=operator) is None

    assert (await theirs.modify("88.100/valve", url("y"))).rc == 403
    assert await bench.operations.authenticate(left, b"their secret") is None


async def test_a_public_key_that_anybody_may_write_is_none(bench: Bench) -> None:
    blob = PublicKey.of_rsa(KEY.public_key()).encode()
    keys = KnownKeys(bench.operations.context)
    for name, permissions in (("88.100/open", 0x0F), ("88.100/closed", 0x0E)):
        await bench.create(name, HandleValue(index=1, type="HS_PUBKEY", data=blob, permissions=permissions))

    assert not await keys.find_keys(Identity(index=1, handle=Handle.parse("88.100/open")), HS_PUBKEY)
    assert await keys.find_keys(Identity(index=1, handle=Handle.parse("88.100/closed")), HS_PUBKEY)


async def test_a_database_that_does_not_answer_leaves_the_fate_of_a_write_open(bench: Bench) -> None:
    asking = client(bench, proof=PROOF)
    reply = await asking.exchange(asking.request(OpCode.DELETE_HANDLE, b"\0\0\0\x0b88.100/pump"))
    answer = asking.answer(asking.sent[-1], reply.last)
    await bench.store.close()

    assert (await asking.exchange(answer)).rc == 2
    assert (await asking.exchange(answer)).rc == 2  # and not tried again


async def test_rubbish_in_a_body_is_answered_with_the_ids_of_its_request(bench: Bench) -> None:
    server = wire_server(bench.operations, site())
    for operation in (100, 101, 102, 103, 104, 105, 106, 200, 201, 300, 301, 302, 401, 2001):
        for body in (b"", b"\xff" * 30, bytes(40)):
            asking = HandleClient(server.respond)
            request = asking.request(operation, body)  # type: ignore[arg-type]
            answer = await answer_of(server.respond, request.encode(), Peer("192.0.2.1", 1, "tcp"))
            assert answer is not None
            response = decode_message(answer.octets)
            assert response.header.response_code not in (1, 2), (operation, body)
            assert response.envelope.request_id == request.envelope.request_id
