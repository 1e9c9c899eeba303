"""Silent, lame and lying servers: a defined answer in bounded time, and never a value that is not the asked one's."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from protocol.bodies import ErrorBody, ReferralBody, ResolutionRequest, ResolutionResponse
from protocol.codes import ResponseCode
from protocol.handle import Handle
from protocol.message import Message
from protocol.site import Site
from protocol.value import HandleValue, ValueList
from tests.support.peers import Peer, site_at
from tests.support.world import TestNode, World, url_value

HANDLE = "88.66/asked"
URL = "https://right.example/"
BUDGET_S = 3.0
FAILED = {2, 6}

Start = Callable[..., "asyncio.Future[Peer]"]


@pytest.fixture
async def top(world: World) -> TestNode:
    """Give node 88 under the root."""
    _, node = await world.chain("88")
    return node


@pytest.fixture
async def peers(world: World) -> AsyncIterator[list[Peer]]:
    """Give a list for peers, which end with the test."""
    made: list[Peer] = []
    yield made
    for peer in made:
        await peer.stop()


async def peer(
    world: World, peers: list[Peer], behaviour: Callable[[Message], list[Message] | list[bytes]]
) -> Peer:
    """Start a peer."""
    made = Peer(world.new_address(), behaviour)
    peers.append(made)
    await made.start()
    return made


def answer(request: Message, code: ResponseCode, body: bytes) -> Message:
    """Return a response as a well-behaved primary writes it."""
    return request.answer(code, body, authoritative=True, site_serial=1, wall_s=time.time())


def found(request: Message, url: str, *, handle: Handle | None = None) -> Message:
    """Return an answer with a URL, by default for the asked handle."""
    name = handle or ResolutionRequest.decode(request.body).handle
    body = ResolutionResponse(handle=name, values=ValueList.of([url_value(url)]))
    return answer(request, ResponseCode.SUCCESS, body.encode())


def refer(request: Message, site: Site) -> Message:
    """Return a service referral to a site."""
    value = HandleValue(index=1, type="HS_SITE", data=site.encode())
    return answer(request, ResponseCode.SERVICE_REFERRAL, ReferralBody(values=ValueList.of([value])).encode())


def error(request: Message, code: ResponseCode) -> Message:
    """Return an error."""
    return answer(request, code, ErrorBody(message="no").encode())


async def test_a_silent_server_costs_the_budget_and_no_more(
    world: World, top: TestNode, peers: list[Peer]
) -> None:
    silent = await peer(world, peers, lambda request: [])
    await world.delegate_to_site("88.66", silent.site(), under=top)
    resolver = await world.resolver(resolution_time_s=BUDGET_S)
    began_s = time.monotonic()
    reply = await resolver.ask(HANDLE)
    assert reply.rc in FAILED
    assert time.monotonic() - began_s < 3 * BUDGET_S
    assert f"{silent.address[0]}" in reply.text, "the answer names the node that failed"


async def test_questions_for_other_prefixes_do_not_wait_for_a_silent_server(
    world: World, top: TestNode, peers: list[Peer]
) -> None:
    silent = await peer(world, peers, lambda request: [])
    await world.delegate_to_site("88.66", silent.site(), under=top)
    await top.create("88/well", url=URL)
    resolver = await world.resolver(resolution_time_s=BUDGET_S)
    stuck = [asyncio.ensure_future(resolver.ask(f"88.66/{number}")) for number in range(50)]
    await asyncio.sleep(0.2)
    began_s = time.monotonic()
    assert (await resolver.ask("88/well")).url == URL
    assert time.monotonic() - began_s < BUDGET_S
    assert {reply.rc for reply in await asyncio.gather(*stuck)} <= FAILED | {3}


@pytest.mark.parametrize(
    "code", [ResponseCode.SERVER_NOT_RESPONSIBLE, ResponseCode.ERROR, ResponseCode.SERVER_BACKUP]
)
async def test_a_lame_site_is_passed_over_for_the_next(
    world: World, top: TestNode, peers: list[Peer], code: ResponseCode
) -> None:
    lame = await peer(world, peers, lambda request: [error(request, code)])
    good = await peer(world, peers, lambda request: [found(request, URL)])
    records = [
        HandleValue(index=1, type="HS_SITE", data=lame.site().encode()),
        HandleValue(index=2, type="HS_SITE", data=good.site(primary=False).encode()),
    ]
    await top.store({"0.NA/88.66": records})
    resolver = await world.resolver(resolution_time_s=BUDGET_S)
    for number in range(4):
        assert (await resolver.ask(f"88.66/{number}")).url == URL


async def test_a_site_that_is_lame_alone_is_named(world: World, top: TestNode, peers: list[Peer]) -> None:
    lame = await peer(world, peers, lambda request: [error(request, ResponseCode.SERVER_NOT_RESPONSIBLE)])
    await world.delegate_to_site("88.66", lame.site(), under=top)
    reply = await (await world.resolver(resolution_time_s=BUDGET_S)).ask(HANDLE)
    assert reply.rc in FAILED
    assert lame.address[0] in reply.text


async def test_referrals_in_a_circle_end(world: World, top: TestNode, peers: list[Peer]) -> None:
    sites: list[Site] = []
    one = await peer(world, peers, lambda request: [refer(request, sites[1])])
    two = await peer(world, peers, lambda request: [refer(request, sites[0])])
    sites += [one.site(), two.site()]
    await world.delegate_to_site("88.66", sites[0], under=top)
    reply = await (await world.resolver(resolution_time_s=10.0)).ask(HANDLE)
    assert reply.rc in FAILED
    assert len(one.requests) + len(two.requests) <= 40


async def test_a_server_that_refers_to_itself_ends(world: World, top: TestNode, peers: list[Peer]) -> None:
    sites: list[Site] = []
    one = await peer(world, peers, lambda request: [refer(request, sites[0])])
    sites.append(one.site())
    await world.delegate_to_site("88.66", sites[0], under=top)
    reply = await (await world.resolver(resolution_time_s=10.0)).ask(HANDLE)
    assert reply.rc in FAILED
    assert len(one.requests) <= 40


async def test_service_handles_in_a_circle_end(world: World, top: TestNode) -> None:
    def served_by(name: str) -> list[HandleValue]:
        return [HandleValue(index=1, type="HS_SERV", data=name.encode())]

    await top.store(
        {
            "0.NA/88.66": served_by("88/one"),
            "88/one": served_by("88/two"),
            "88/two": served_by("88/one"),
        }
    )
    world.forget()
    reply = await (await world.resolver(resolution_time_s=10.0)).ask(HANDLE)
    assert reply.rc in FAILED
    assert len(world.exchanges()) <= 60


async def test_an_answer_to_another_question_is_never_taken(
    world: World, top: TestNode, peers: list[Peer]
) -> None:
    liar = await peer(
        world,
        peers,
        lambda request: [found(request, "https://wrong.example/", handle=Handle.parse("88.66/other"))],
    )
    await world.delegate_to_site("88.66", liar.site(), under=top)
    resolver = await world.resolver(resolution_time_s=BUDGET_S)
    reply = await resolver.ask(HANDLE)
    assert reply.rc in FAILED
    assert reply.url is None
    assert (await resolver.ask("88.66/other")).url == "https://wrong.example/", "that one was asked for"


def with_id(message: Message, request_id: int) -> bytes:
    """Return a message under another request id."""
    octets = message.encode()
    return octets[:8] + request_id.to_bytes(4, "big") + octets[12:]


async def test_a_response_with_another_id_is_not_taken_but_the_right_one_is(
    world: World, top: TestNode, peers: list[Peer]
) -> None:
    def forge(request: Message) -> list[bytes]:
        wrong = found(request, "https://wrong.example/")
        guesses = [with_id(wrong, request.envelope.request_id ^ 1 << bit) for bit in range(8)]
        return [*guesses, b"", b"\xff" * 40, found(request, URL).encode()]

    forger = await peer(world, peers, forge)
    await world.delegate_to_site("88.66", forger.site(), under=top)
    resolver = await world.resolver(resolution_time_s=BUDGET_S)
    for number in range(5):
        assert (await resolver.ask(f"88.66/{number}")).url == URL


async def test_a_response_from_another_address_is_not_taken(
    world: World, top: TestNode, peers: list[Peer]
) -> None:
    stranger = await peer(world, peers, lambda request: [])

    def overheard(request: Message) -> list[Message]:
        return []

    deaf = await peer(world, peers, overheard)
    original = deaf.heard

    def heard(octets: bytes, client: tuple[str, int]) -> None:
        original(octets, client)
        forged = found(deaf.requests[-1], "https://wrong.example/").encode()
        assert stranger.udp is not None
        stranger.udp.sendto(forged, client)

    deaf.heard = heard  # type: ignore[method-assign]
    await world.delegate_to_site("88.66", deaf.site(), under=top)
    reply = await (await world.resolver(resolution_time_s=BUDGET_S)).ask(HANDLE)
    assert deaf.requests
    assert reply.rc in FAILED
    assert reply.url is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda octets: octets[:60],
        lambda octets: octets[:16] + b"\x00\x03\xff\xff" + octets[20:],
        lambda octets: octets[:16] + b"\xff\xff\xff\xff" + octets[20:],
        lambda octets: octets[:40] + b"\x7f\xff\xff\xff" + octets[44:],
        lambda octets: octets[:2] + b"\x42" + octets[3:],
        lambda octets: octets[:24] + b"\x00\x00\x03\x84" + octets[28:],
        lambda octets: octets[:20] + b"\x00\x00\x00\x02" + octets[24:],
        lambda octets: octets + bytes(2_000),
        lambda octets: b"",
    ],
    ids=[
        "cut",
        "announces more than it sends",
        "announces more than any message",
        "body length lies",
        "claims to be encrypted",
        "unknown response code",
        "another operation",
        "trailed by zeros",
        "empty datagram",
    ],
)
async def test_a_spoilt_answer_is_an_error_or_is_read_as_far_as_it_is_sound(
    world: World, top: TestNode, peers: list[Peer], spoil: Callable[[bytes], bytes]
) -> None:
    spoiler = await peer(world, peers, lambda request: [spoil(found(request, URL).encode())])
    await world.delegate_to_site("88.66", spoiler.site(), under=top)
    await top.create("88/well", url=URL)
    resolver = await world.resolver(resolution_time_s=BUDGET_S)
    reply = await resolver.ask(HANDLE)
    assert reply.rc in FAILED or reply.url == URL
    assert (await resolver.ask("88/well")).url == URL


async def test_an_expired_answer_is_not_taken(world: World, top: TestNode, peers: list[Peer]) -> None:
    def late(request: Message) -> list[bytes]:
        octets = found(request, URL).encode()
        return [octets[:36] + (1_000).to_bytes(4, "big") + octets[40:]]

    stale = await peer(world, peers, late)
    await world.delegate_to_site("88.66", stale.site(), under=top)
    assert (await (await world.resolver(resolution_time_s=BUDGET_S)).ask(HANDLE)).rc in FAILED


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "192.168.1.1", "169.254.169.254", "::ffff:127.0.0.1", "fd00::1", "0.0.0.0"]
)
async def test_a_referral_into_a_private_network_is_refused(
    world: World, top: TestNode, address: str
) -> None:
    await world.delegate_to_site("88.66", site_at((address, 2641)), under=top)
    began_s = time.monotonic()
    reply = await (await world.resolver(resolution_time_s=BUDGET_S)).ask(HANDLE)
    assert reply.rc in FAILED
    assert time.monotonic() - began_s < BUDGET_S, "refused without being tried"


async def test_loopback_is_refused_too_unless_it_is_opened_for_the_prefix(
    world: World, top: TestNode
) -> None:
    await top.create("88/well", url=URL)
    world.forget()
    closed = await world.resolver(open_networks=(), resolution_time_s=BUDGET_S)
    assert (await closed.ask("88/well")).rc in FAILED
    assert top.tap.received == []
