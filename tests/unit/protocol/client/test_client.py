"""The client: which servers it asks, what it believes, and what it says when nobody answers."""

import asyncio
import time
from dataclasses import replace

import pytest

from protocol.bodies import ResolutionRequest, ResolutionResponse, SiteInfoResponse
from protocol.client.answers import CLOCK_SKEW_S, Denied, Found, Question
from protocol.client.client import ASK_FLAGS, WALK_FLAGS, HandleClient, literal_site
from protocol.client.trace import Hop
from protocol.codes import OpCode, OpFlag, ResponseCode
from protocol.errors import LameService, NotSent, ResolutionFailed, Unreachable
from protocol.handle import Handle
from protocol.message import Message, decode_message
from protocol.site import InterfaceProtocol
from protocol.value import ValueList
from tests.support.scripted_world import (
    ENTERPRISE,
    ROOT,
    SECOND,
    TOP,
    WALL_S,
    DelegationMemory,
    Script,
    ScriptedWorld,
    always,
    error,
    national_hierarchy,
    reply,
    service,
    silent,
    site,
    value,
)

PUMP = Question(handle=Handle.parse("88.100.1/pump-7"))
MIRROR = "20.0.0.5"


def client(world: ScriptedWorld, *, request_digest: bool = False) -> HandleClient:
    return HandleClient(service(ROOT), world, wall=lambda: WALL_S, request_digest=request_digest)


def with_mirror() -> ScriptedWorld:
    """The hierarchy, with a second site for the enterprise's prefix."""
    world = national_hierarchy()
    world.node(SECOND).hold(
        "0.NA/88.100.1",
        value(1, "HS_SITE", site(ENTERPRISE)),
        value(2, "HS_SITE", site(MIRROR, primary=False)),
    )
    world.node(MIRROR).records = world.node(ENTERPRISE).records
    return world


async def test_a_resolution_takes_four_exchanges_and_then_one() -> None:
    world, memory = national_hierarchy(), DelegationMemory()
    resolver = client(world)

    first = await resolver.resolve(PUMP, known=memory.known, learn=memory.learn)
    assert isinstance(first, Found)
    assert len(world.attempts) == 4

    await resolver.resolve(PUMP, known=memory.known, learn=memory.learn)
    assert len(world.attempts) == 5


async def test_hops_tell_who_was_asked_for_what_and_what_was_remembered() -> None:
    world, memory, hops = national_hierarchy(), DelegationMemory(), list[Hop]()
    resolver = client(world)
    await resolver.resolve(PUMP, known=memory.known, learn=memory.learn, on_hop=hops.append)

    assert [(hop.asked, hop.rc, hop.server) for hop in hops] == [
        ("0.NA/88", 1, f"{ROOT}:2641 UDP"),
        ("0.NA/88.100", 1, f"{TOP}:2641 UDP"),
        ("0.NA/88.100.1", 1, f"{SECOND}:2641 UDP"),
        ("88.100.1/pump-7", 1, f"{ENTERPRISE}:2641 UDP"),
    ]
    assert {hop.version for hop in hops} == {(2, 11)}
    assert {hop.site_serial for hop in hops} == {7}
    assert {hop.ttl_s for hop in hops} == {3_600, 86_400}

    hops.clear()
    await resolver.resolve(PUMP, known=memory.known, learn=memory.learn, on_hop=hops.append)
    assert [(hop.asked, hop.cached) for hop in hops] == [("0.NA/88.100.1", True), ("88.100.1/pump-7", False)]


async def test_authorities_are_asked_for_public_values_without_recursion() -> None:
    world = national_hierarchy()
    await client(world).resolve(replace(PUMP, authoritative=True))

    first, last = (decode_message(world.node(address).octets[-1]) for address in (ROOT, ENTERPRISE))
    assert first.header.op_flags == WALK_FLAGS == OpFlag.PUBL
    assert last.header.op_flags == OpFlag.PUBL | OpFlag.AUTH
    assert last.header.site_serial == 1


@pytest.mark.parametrize(
    "code",
    [
        ResponseCode.ERROR,
        ResponseCode.SERVER_TOO_BUSY,
        ResponseCode.PROTOCOL_ERROR,
        ResponseCode.RECURSION_LIMIT,
        ResponseCode.SERVER_BACKUP,
        ResponseCode.SERVER_NOT_RESPONSIBLE,
        ResponseCode.OUT_OF_DATE_SITE_INFO,
    ],
)
async def test_a_server_that_cannot_answer_is_passed_over_for_the_next_site(code: ResponseCode) -> None:
    world = with_mirror()
    world.node(ENTERPRISE).always = always(code)

    assert isinstance(await client(world).resolve(PUMP), Found)
    assert world.attempts[3:] == [(ENTERPRISE, InterfaceProtocol.UDP), (MIRROR, InterfaceProtocol.UDP)]


async def test_a_server_that_answered_uselessly_is_not_asked_again_by_another_transport() -> None:
    world = national_hierarchy()
    world.node(ENTERPRISE).always = always(ResponseCode.ERROR, "disk full")

    with pytest.raises(Unreachable, match="disk full"):
        await client(world).resolve(PUMP)
    assert world.attempts[3:] == [(ENTERPRISE, InterfaceProtocol.UDP)]


async def test_silence_over_udp_falls_to_tcp_and_then_to_http() -> None:
    world = national_hierarchy()
    world.node(ENTERPRISE).deaf_to = {InterfaceProtocol.UDP, InterfaceProtocol.TCP}

    assert isinstance(await client(world).resolve(PUMP), Found)
    assert [protocol for _, protocol in world.attempts[3:]] == list(InterfaceProtocol)[:3]


async def test_what_was_silent_over_udp_is_asked_over_tcp_first_afterwards() -> None:
    world, memory = national_hierarchy(), DelegationMemory()
    world.node(ENTERPRISE).deaf_to = {InterfaceProtocol.UDP}
    resolver = client(world)
    await resolver.resolve(PUMP, learn=memory.learn)
    world.attempts.clear()

    await resolver.resolve(PUMP, known=memory.known)

    assert world.attempts == [(ENTERPRISE, InterfaceProtocol.TCP)]


async def test_a_lame_delegation_fails_as_lame_and_names_the_record() -> None:
    world = with_mirror()
    for address in (ENTERPRISE, MIRROR):
        world.node(address).always = always(ResponseCode.SERVER_NOT_RESPONSIBLE)

    with pytest.raises(LameService) as caught:
        await client(world).resolve(PUMP)
    assert "0.NA/88.100.1" in caught.value.node
    assert "301" in caught.value.cause
    assert "88.100.1" in caught.value.remedy


async def test_a_denial_is_final_and_no_mirror_is_asked() -> None:
    world = with_mirror()

    denied = await client(world).resolve(Question(handle=Handle.parse("88.100.1/none")))

    assert isinstance(denied, Denied)
    assert [address for address, _ in world.attempts[3:]] == [ENTERPRISE]


async def test_a_challenge_for_a_prefix_record_is_no_way_on() -> None:
    world = national_hierarchy()
    world.node(TOP).always = always(ResponseCode.AUTHENTICATION_NEEDED)

    with pytest.raises(Unreachable, match="402"):
        await client(world).resolve(PUMP)


async def test_a_response_code_in_no_list_is_no_answer() -> None:
    world = with_mirror()

    def invented(request: Message, body: ResolutionRequest) -> Message:
        response = error(request, ResponseCode.ERROR)
        return replace(response, header=replace(response.header, response_code=900))

    world.node(ENTERPRISE).always = invented

    assert isinstance(await client(world).resolve(PUMP), Found)


async def test_the_failure_names_node_cause_since_when_and_remedy() -> None:
    world, memory = national_hierarchy(), DelegationMemory()
    await client(world).resolve(PUMP, learn=memory.learn)
    world.node(ENTERPRISE).always = silent
    wall = [WALL_S]
    resolver = HandleClient(service(ROOT), world, wall=lambda: wall[0])

    with pytest.raises(Unreachable):
        await resolver.resolve(PUMP, known=memory.known)
    wall[0] += 3_600
    with pytest.raises(Unreachable) as caught:
        await resolver.resolve(PUMP, known=memory.known)

    failure = caught.value
    assert "0.NA/88.100.1" in failure.node
    assert f"{ENTERPRISE}:2641 UDP: no answer in time" in failure.cause
    assert failure.since == "2027-01-15T08:00:00Z"
    assert "2641" in failure.remedy


# Answers that are not believed.


def other_handle(request: Message, body: ResolutionRequest) -> Message:
    values = ValueList.of([value(1, "URL", "https://attacker.example/")])
    other = ResolutionResponse(handle=Handle.parse("88.100.1/other"), values=values)
    return reply(request, ResponseCode.SUCCESS, other.encode())


def other_request_id(request: Message, body: ResolutionRequest) -> Message:
    response = world_answer(request, body)
    changed = replace(response.envelope, request_id=response.envelope.request_id ^ 1)
    return replace(response, envelope=changed)


def other_operation(request: Message, body: ResolutionRequest) -> Message:
    response = world_answer(request, body)
    return replace(response, header=replace(response.header, op_code=OpCode.GET_SITE_INFO))


def a_request(request: Message, body: ResolutionRequest) -> Message:
    return request


def expired(request: Message, body: ResolutionRequest) -> Message:
    response = world_answer(request, body)
    return replace(response, header=replace(response.header, expiration=int(WALL_S) - CLOCK_SKEW_S - 1))


def cut(request: Message, body: ResolutionRequest) -> Message:
    response = world_answer(request, body)
    return replace(response, body=response.body[:-3])


def longer(request: Message, body: ResolutionRequest) -> Message:
    response = world_answer(request, body)
    return replace(response, body=response.body + b"\0")


def nameless(request: Message, body: ResolutionRequest) -> Message:
    return reply(request, ResponseCode.SUCCESS, bytes(8))


def lying_referral(request: Message, body: ResolutionRequest) -> Message:
    return reply(request, ResponseCode.SERVICE_REFERRAL, b"\0\0\xff\xff")


def world_answer(request: Message, body: ResolutionRequest) -> Message:
    values = ValueList.of([value(1, "URL", "https://plant.example/pump-7")])
    return reply(
        request, ResponseCode.SUCCESS, ResolutionResponse(handle=body.handle, values=values).encode()
    )


@pytest.mark.parametrize(
    "script",
    [
        other_handle,
        other_request_id,
        other_operation,
        a_request,
        expired,
        cut,
        longer,
        nameless,
        lying_referral,
    ],
)
async def test_an_answer_that_does_not_belong_to_the_question_is_refused(script: Script) -> None:
    world = with_mirror()
    world.node(ENTERPRISE).always = script

    found = await client(world).resolve(PUMP)

    assert isinstance(found, Found)
    assert [held.data for held in found.values] == [b"https://plant.example/pump-7"]
    assert world.attempts[-1][0] == MIRROR


async def test_an_answer_that_does_not_belong_and_no_mirror_is_a_failure() -> None:
    world = national_hierarchy()
    world.node(ENTERPRISE).always = other_handle

    with pytest.raises(Unreachable, match=r"88\.100\.1/other"):
        await client(world).resolve(PUMP)


async def test_an_echo_in_another_case_is_the_same_handle() -> None:
    world = national_hierarchy()

    def shouting(request: Message, body: ResolutionRequest) -> Message:
        return world_answer(request, replace(body, handle=Handle(body.handle.octets.upper())))

    world.node(ENTERPRISE).always = shouting

    found = await client(world).resolve(PUMP)
    assert str(found.handle) == "88.100.1/pump-7"


async def test_a_request_digest_is_asked_for_and_compared() -> None:
    world = with_mirror()

    def digest_of_another(request: Message, body: ResolutionRequest) -> Message:
        other = Message.request(
            OpCode.RESOLUTION,
            b"other",
            request_id=request.envelope.request_id,
            expiration=0,
            flags=request.header.op_flags,
        )
        right = world_answer(request, body)
        return replace(right, body=world_answer(other, body).body)

    world.node(ENTERPRISE).always = digest_of_another

    assert isinstance(await client(world, request_digest=True).resolve(PUMP), Found)
    assert world.attempts[-1][0] == MIRROR
    assert decode_message(world.node(MIRROR).octets[-1]).has(OpFlag.RRDG)


async def test_a_response_without_the_digest_that_was_asked_for_is_refused() -> None:
    world = with_mirror()

    def without(request: Message, body: ResolutionRequest) -> Message:
        plain = replace(request, header=replace(request.header, op_flags=OpFlag.PUBL))
        return world_answer(plain, body)

    world.node(ENTERPRISE).always = without

    await client(world, request_digest=True).resolve(PUMP)
    assert world.attempts[-1][0] == MIRROR


async def test_the_words_of_a_server_come_without_control_characters() -> None:
    world = national_hierarchy()
    world.node(ENTERPRISE).always = always(
        ResponseCode.HANDLE_NOT_FOUND, "a\r\nSet-Cookie: b\x1b[2J" + "x" * 9_999
    )

    denied = await client(world).resolve(PUMP)

    assert isinstance(denied, Denied)
    assert denied.message.isprintable()
    assert len(denied.message) == 500


# One server, without a walk.


async def test_a_named_server_is_asked_once_and_may_recurse() -> None:
    world = ScriptedWorld()
    world.node("127.0.0.9").always = world_answer

    answer = await client(world).exchange_with_site(literal_site("127.0.0.9", 2641), PUMP, recursion_count=3)

    assert answer.code == ResponseCode.SUCCESS
    request = decode_message(world.node("127.0.0.9").octets[0])
    assert request.header.op_flags == ASK_FLAGS
    assert request.header.recursion_count == 3


async def test_a_server_that_nobody_runs_fails_with_its_address() -> None:
    with pytest.raises(ResolutionFailed, match="the named server") as caught:
        await client(ScriptedWorld()).exchange_with_site(literal_site("127.0.0.9", 2641), PUMP)
    assert "127.0.0.9:2641 TCP" in caught.value.cause


@pytest.mark.parametrize(
    ("address", "port"), [("host.example", 2641), ("127.0.0.1", 0), ("127.0.0.1", 70_000)]
)
def test_a_named_server_is_a_literal_address_and_a_port(address: str, port: int) -> None:
    with pytest.raises(ValueError, match=r"address|port"):
        literal_site(address, port)


class SiteServer(ScriptedWorld):
    """Answers operation 2."""

    body: bytes = SiteInfoResponse(site=site("20.0.0.4", serial=12)).encode()
    code = ResponseCode.SUCCESS

    def ask(self, address: str, octets: bytes) -> Message | None:
        return decode_message(reply(decode_message(octets), self.code, self.body).encode())


async def test_a_server_tells_its_site() -> None:
    got = await client(SiteServer()).get_site("127.0.0.1", 2641)

    assert got == site("20.0.0.4", serial=12)


@pytest.mark.parametrize(("code", "body"), [(1, b"\0\1junk"), (5, b""), (2, b"\0\0\0\4oops")])
async def test_a_server_that_tells_no_site_is_a_failure_with_the_reason(code: int, body: bytes) -> None:
    world = SiteServer()
    world.code, world.body = ResponseCode(code), body

    with pytest.raises(Unreachable, match=r"unusable|5|oops") as caught:
        await client(world).get_site("127.0.0.1", 2641)
    assert "127.0.0.1" in caught.value.node


# Time.


class Sluggish(ScriptedWorld):
    """An exchanger that never returns and knows no deadline."""

    async def exchange(
        self,
        interface_protocol: int,
        address: str,
        port: int,
        request: Message,
        *,
        deadline_s: float,
        path: str = "",
    ) -> Message:
        self.attempts.append((address, InterfaceProtocol(interface_protocol)))
        await asyncio.Event().wait()
        raise AssertionError


async def test_the_deadline_of_the_whole_resolution_is_hard() -> None:
    world = Sluggish()
    resolver = HandleClient(service(ROOT, TOP), world, total_s=0.5, exchange_s=0.2)
    started_s = time.monotonic()

    with pytest.raises(Unreachable) as caught:
        await resolver.resolve(PUMP)

    assert time.monotonic() - started_s < 5
    assert 2 <= len(world.attempts) <= 3
    assert "the root service" in caught.value.node


async def test_a_deadline_that_is_past_asks_nobody() -> None:
    world = national_hierarchy()

    with pytest.raises(Unreachable, match="used up"):
        await client(world).resolve(PUMP, deadline_s=time.monotonic() - 1)
    assert world.attempts == []


async def test_many_resolutions_share_one_client() -> None:
    world = national_hierarchy()
    resolver = client(world)

    replies = await asyncio.gather(*(resolver.resolve(PUMP) for _ in range(20)))

    assert all(isinstance(each, Found) for each in replies)


async def test_the_root_is_taken_anew_for_each_resolution() -> None:
    world = national_hierarchy()
    roots = [service("20.0.0.77"), service(ROOT)]
    resolver = HandleClient(lambda: roots.pop(0), world, wall=lambda: WALL_S)

    with pytest.raises(Unreachable):
        await resolver.resolve(PUMP)
    assert isinstance(await resolver.resolve(PUMP), Found)


async def test_a_shortage_of_our_own_is_not_held_against_the_server() -> None:
    class Exhausted:
        """An exchanger that has no room for a request."""

        async def exchange(self, *_: object, **__: object) -> Message:
            raise NotSent("too many requests on their way")

    asking = HandleClient(service(ROOT), Exhausted(), wall=lambda: WALL_S)
    with pytest.raises(ResolutionFailed, match="too many requests on their way"):
        await asking.resolve(PUMP)
    assert not asking.health._records
