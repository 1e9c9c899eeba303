"""Keys and groups of other nodes: what is asked for once, what is remembered, and what is refused."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from protocol.challenge import Challenge
from protocol.client.client import HandleClient
from protocol.codes import OpCode, OpFlag, ResponseCode
from protocol.handle import Handle
from protocol.message import Message, decode_message
from protocol.value import HandleValue, ValueReference
from registry import elsewhere
from registry.elsewhere import (
    ABSENT_S,
    FAILED_S,
    KEPT_S,
    KEY_LOOKUPS,
    LOOKUPS_PER_PREFIX_MAX,
    Elsewhere,
    KeyUnknown,
)
from tests.support.scripted_world import ENTERPRISE, SECOND, WALL_S, reply, silent, value
from tests.support.signed_world import SignedWorld, root_service

USER = Handle.parse("88.100.1/USER")
KEY = value(301, "HS_PUBKEY", b"a key")
GROUP = value(200, "HS_VLIST", b"\0\0\0\0")


class Bench:
    """A finder over a hierarchy in memory, with a clock that is set; it may be slow."""

    def __init__(self) -> None:
        self.world = SignedWorld()
        self.now_s = 1_000.0
        self.limits: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.elsewhere = Elsewhere(
            HandleClient(root_service(), self, clock=lambda: self.now_s, wall=lambda: WALL_S),
            on_limit=self.limits.append,
            clock=lambda: self.now_s,
            wall_clock=lambda: WALL_S,
        )

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
        await self.gate.wait()
        return await self.world.exchange(
            interface_protocol, address, port, request, deadline_s=deadline_s, path=path
        )

    def hold(self, *values: HandleValue) -> None:
        self.world.node(ENTERPRISE).hold(str(USER), *values)

    @property
    def asked(self) -> int:
        """How often the node that holds the keys was asked."""
        return len(self.world.node(ENTERPRISE).asked)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.elsewhere.close()


async def test_keys_and_groups_are_found_and_nothing_else_is_taken(bench: Bench) -> None:
    bench.hold(KEY, GROUP, value(1, "URL", "https://user.example/"))

    assert (await bench.elsewhere.find(USER)).keys() == {200, 301}
    (request,) = [decode_message(octets) for octets in bench.world.node(ENTERPRISE).octets]
    assert request.has(OpFlag.CERT)


async def test_they_are_remembered_for_a_while_and_no_longer_than_their_ttl(bench: Bench) -> None:
    bench.hold(KEY)
    for _ in range(2):
        await bench.elsewhere.find(USER)
    assert bench.asked == 1
    bench.now_s += KEPT_S
    bench.hold(value(301, "HS_PUBKEY", b"another key", ttl=20))
    assert b"another key" in (await bench.elsewhere.find(USER))[301]
    bench.now_s += 20
    bench.hold()
    assert await bench.elsewhere.find(USER) == {}


async def test_that_there_are_none_is_remembered_too(bench: Bench) -> None:
    for _ in range(2):
        assert await bench.elsewhere.find(USER) == {}
    assert bench.asked == 1

    bench.now_s += ABSENT_S
    bench.hold(KEY)
    assert await bench.elsewhere.find(USER)


async def test_equal_look_ups_at_once_are_one(bench: Bench) -> None:
    bench.hold(KEY)
    bench.gate.clear()
    finding = [asyncio.create_task(bench.elsewhere.find(USER)) for _ in range(9)]
    await asyncio.sleep(0)
    bench.gate.set()

    assert all(await asyncio.gather(*finding))
    assert bench.asked == 1


async def test_a_silent_prefix_has_its_share_and_leaves_room_for_others(bench: Bench) -> None:
    bench.hold(KEY)
    bench.gate.clear()
    names = [Handle.parse(f"88.100.9/{number}") for number in range(LOOKUPS_PER_PREFIX_MAX)]
    waiting = [asyncio.create_task(bench.elsewhere.find(name)) for name in names]
    await asyncio.sleep(0)

    with pytest.raises(KeyUnknown, match="too many"):
        await bench.elsewhere.find(Handle.parse("88.100.9/one-more"))
    assert bench.limits == ["key_lookups"]
    other = asyncio.create_task(bench.elsewhere.find(USER))
    bench.gate.set()
    assert await other
    await asyncio.gather(*waiting)


async def test_look_ups_in_all_are_bounded(bench: Bench) -> None:
    bench.gate.clear()
    names = [Handle.parse(f"88.{number}/x") for number in range(elsewhere.LOOKUPS_MAX)]
    waiting = [asyncio.create_task(bench.elsewhere.find(name)) for name in names]
    await asyncio.sleep(0)

    with pytest.raises(KeyUnknown, match="too many"):
        await bench.elsewhere.find(USER)
    bench.gate.set()
    await asyncio.gather(*waiting)


async def test_a_key_that_nobody_certifies_cannot_be_had_and_is_asked_for_again(bench: Bench) -> None:
    bench.hold(KEY)
    bench.world.signs[ENTERPRISE] = None

    with pytest.raises(KeyUnknown, match=r"0\.NA/88\.100\.1.*not signed") as refused:
        await bench.elsewhere.find(USER)
    assert refused.value.code is ResponseCode.AUTHENTICATION_ERROR
    assert bench.elsewhere.remembered(USER) is None

    bench.world.signs |= SignedWorld().signs
    assert await bench.elsewhere.find(USER)


async def test_a_group_that_cannot_be_had_counts_as_empty_for_a_moment(bench: Bench) -> None:
    bench.world.node(SECOND).always = silent

    await bench.elsewhere.learn_group(USER)
    assert bench.elsewhere.remembered(USER) == {}
    bench.now_s += FAILED_S
    assert bench.elsewhere.remembered(USER) is None


async def test_names_that_differ_in_case_are_two(bench: Bench) -> None:
    bench.hold(KEY)
    await bench.elsewhere.find(USER)
    assert bench.elsewhere.remembered(Handle.parse("88.100.1/user")) is None


@pytest.mark.parametrize(("word", "is_right"), [(b"\1", True), (b"\0", False)])
async def test_the_word_of_the_holder_decides_about_a_secret(
    bench: Bench, word: bytes, *, is_right: bool
) -> None:
    asked: list[Message] = []

    def verify(request: Message) -> Message:
        asked.append(request)
        return reply(request, ResponseCode.SUCCESS, word)

    bench.world.operations[ENTERPRISE] = verify
    answer = await bench.elsewhere.verify(
        ValueReference(USER.octets, 300), Challenge(bytes(16), bytes(32)), b"\2" + bytes(20)
    )

    assert answer is is_right
    (request,) = asked
    assert request.header.op_code == OpCode.VERIFY_CHALLENGE
    assert request.has(OpFlag.CERT)
    assert request.has(OpFlag.RRDG)


async def test_a_word_about_a_secret_that_nobody_signed_is_none(bench: Bench) -> None:
    bench.world.operations[ENTERPRISE] = lambda request: reply(request, ResponseCode.SUCCESS, b"\1")
    bench.world.signs[ENTERPRISE] = None
    with pytest.raises(KeyUnknown, match="not signed"):
        await bench.elsewhere.verify(ValueReference(USER.octets, 300), Challenge(b"", b""), b"")


async def test_a_secret_below_an_unknown_prefix_is_nobodys(bench: Bench) -> None:
    key = ValueReference(b"99.1/USER", 300)
    assert not await bench.elsewhere.verify(key, Challenge(b"", b""), b"")


async def test_few_answers_by_secrets_are_taken_to_other_nodes_at_once(bench: Bench) -> None:
    most = elsewhere.VERIFICATIONS_MAX
    bench.gate.clear()
    claims = [ValueReference(b"99.%d/USER" % number, 300) for number in range(most + 2)]
    verifying = [
        asyncio.create_task(bench.elsewhere.verify(claim, Challenge(b"", b""), b"")) for claim in claims
    ]
    for _ in range(3):
        await asyncio.sleep(0)
    bench.gate.set()
    told = await asyncio.gather(*verifying, return_exceptions=True)

    assert told[:most] == [False] * most
    assert [type(error) for error in told[most:]] == [KeyUnknown] * 2
    assert bench.limits == [KEY_LOOKUPS] * 2
