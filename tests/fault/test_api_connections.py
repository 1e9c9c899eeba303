"""What attackers do with connections to the API: half-sent and slow bodies, floods of headers, requests in requests,
and signatures of another time. Nothing of it is written, nobody else waits for it, and the node is well afterwards.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import rsa

from registry.accounts.roles import Role
from registry.peers.node_key import NodeKey
from registry.peers.signatures import SKEW_MAX_S, sign_request
from tests.support.api_world import ApiWorld, api_world, plain
from tests.support.postgres import TestPostgres
from tests.support.scratch import scratch_directory

SLOW_CLIENTS: Final = 40
OTHERS_WAIT_AT_MOST_S: Final = 10.0  # two busy cores; it is milliseconds on a quiet machine
PATIENCE_S: Final = 15.0
SILENCE_S: Final = 1.0
BODY: Final = (
    b'{"identifier":"88.100.1001/HALF","values":'
    b'[{"index":1,"type":"URL","data":{"format":"string","value":"https://plant.example/"}}]}'
)
HALF: Final = "/api/v1/identifiers/88.100.1001%2FHALF"
PUMP: Final = "/api/v1/identifiers/88.100.1001%2FPUMP-7"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(postgres: TestPostgres) -> AsyncIterator[ApiWorld]:
    """One node for all, which every attack must leave well."""
    dsn = postgres.database()
    with scratch_directory() as directory:
        async with api_world(dsn, directory) as made:
            assert made.own.identifier == "88.100.1001/PUMP-7"
            yield made
    postgres.drop(dsn)


class Wire:
    """One connection to the node, octet by octet."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, *octets: bytes) -> None:
        for part in octets:
            self._writer.write(part)
        await self._writer.drain()

    async def rest(self) -> bytes:
        """Everything that comes until the node closes the connection, or says nothing for a while."""
        octets = b""
        with suppress(TimeoutError, ConnectionError):
            while True:
                async with asyncio.timeout(SILENCE_S):
                    part = await self._reader.read(65_536)
                if not part:
                    break
                octets += part
        return octets

    async def answer(self) -> bytes:
        """One answer with its body."""
        async with asyncio.timeout(PATIENCE_S):
            head = await self._reader.readuntil(b"\r\n\r\n")
            fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
            return head + await self._reader.readexactly(int(fields[b"content-length"]))

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


@asynccontextmanager
async def wire(world: ApiWorld) -> AsyncIterator[Wire]:
    """A connection for the duration of the block."""
    made = Wire(*await asyncio.open_connection(*world.plant.node.addresses.http[0]))
    try:
        yield made
    finally:
        await made.close()


def post(world: ApiWorld, *headers: bytes, length: int | None = len(BODY)) -> bytes:
    """The head of a registration."""
    lines = [
        b"POST /api/v1/identifiers HTTP/1.1",
        b"Host: node.example",
        b"Content-Type: application/json",
        b"Authorization: Bearer " + editor(world).encode(),
        *([] if length is None else [b"Content-Length: %d" % length]),
        *headers,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def editor(world: ApiWorld) -> str:
    return world.own.tokens[Role.ENTERPRISE_EDITOR]


async def is_registered(world: ApiWorld) -> bool:
    """Whether the identifier of BODY is there."""
    answer = await world.ask(editor(world), "GET", HALF)
    assert answer.status in {200, 404}, answer.body
    return answer.status == 200


async def others_are_served(world: ApiWorld, times: int = 20) -> None:
    """Somebody else is answered soon."""
    for _ in range(times):
        started_s = time.monotonic()
        answer = await world.ask(editor(world), "GET", "/api/v1/whoami")
        assert answer.status == 200
        assert time.monotonic() - started_s < OTHERS_WAIT_AT_MOST_S
        await asyncio.sleep(0.01)


async def test_a_body_that_ends_early_registers_nothing(world: ApiWorld) -> None:
    before = len(asyncio.all_tasks())
    for cut in (0, 1, len(BODY) // 2, len(BODY) - 1):
        for _ in range(10):
            async with wire(world) as one:
                await one.send(post(world), BODY[:cut])
    assert not await is_registered(world)
    await others_are_served(world)
    assert len(asyncio.all_tasks()) <= before + 20


async def test_bodies_that_never_end_hold_nobody_up(world: ApiWorld) -> None:
    connections = [
        Wire(*await asyncio.open_connection(*world.plant.node.addresses.http[0])) for _ in range(SLOW_CLIENTS)
    ]
    try:
        for place, one in enumerate(connections):
            await one.send(post(world), BODY[: place + 1])
        await others_are_served(world)
        for octet in BODY[SLOW_CLIENTS : SLOW_CLIENTS + 10]:
            for one in connections:
                await one.send(bytes([octet]))
            await others_are_served(world, times=1)
    finally:
        for one in connections:
            await one.close()
    assert not await is_registered(world)


async def test_a_slow_body_is_taken_in_the_end(world: ApiWorld) -> None:
    async with wire(world) as one:
        await one.send(post(world))
        for octet in BODY:
            await one.send(bytes([octet]))
            await asyncio.sleep(0.001)
        assert (await one.answer()).startswith(b"HTTP/1.1 201 ")
    assert await is_registered(world)
    assert (await world.ask(editor(world), "DELETE", HALF)).status == 204


@pytest.mark.parametrize(
    "headers",
    [
        [b"X-%d: 1" % number for number in range(1_000)],
        [b"X-Long: " + b"x" * 1_000_000],
        [b"X" * 100_000 + b": 1"],
        [b"X-Fold: a\r\n b"],
        [b"X: " + bytes([octet]) for octet in range(1, 32) if octet not in (9, 10, 13)],
        [b"Authorization: Bearer " + b"x" * 100_000],
        [b"Authorization: Bearer somebody-else"],
        [b"Cookie: " + b"a=b; " * 20_000],
        [b"no colon"],
        [b": nameless"],
        [b"Na me: 1"],
    ],
    ids=[
        "many", "long", "long name", "folded", "controls", "long credential", "two credentials", "cookies", "no colon",
        "no name", "blank in a name",
    ],
)  # fmt: skip
async def test_a_flood_of_headers_is_refused_and_not_kept(world: ApiWorld, headers: list[bytes]) -> None:
    async with wire(world) as one:
        with suppress(ConnectionError):  # closed while we were still sending
            await one.send(post(world, *headers), BODY)
            answer = await one.rest()
            assert answer == b"" or answer[9:10] == b"4", answer[:200]
            assert b"xxxxxxxxxx" not in answer
    assert not await is_registered(world)
    await others_are_served(world, times=3)


@pytest.mark.parametrize(
    "framing",
    [
        [b"Content-Length: %d" % len(BODY), b"Content-Length: 0"],
        [b"Content-Length: %d" % len(BODY), b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked, identity"],
        [b"Transfer-Encoding: xchunked"],
        [b"Transfer-Encoding : chunked"],
        [b"Content-Length: +%d" % len(BODY)],
        [b"Content-Length: -1"],
        [b"Content-Length: 0x%x" % len(BODY)],
        [b"Content-Length: %d, %d" % (len(BODY), len(BODY))],
        [b"Content-Length: 99999999999999999999999999"],
    ],
    ids=lambda framing: b" and ".join(framing).decode(),
)
async def test_a_request_with_two_ends_is_refused_and_ends_the_connection(
    world: ApiWorld, framing: list[bytes]
) -> None:
    """Else a proxy and the node would disagree where the next request begins."""
    smuggled = b"DELETE %b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n\r\n"
    smuggled %= (PUMP.encode(), editor(world).encode())
    async with wire(world) as one:
        with suppress(ConnectionError):
            await one.send(post(world, *framing, length=None), b"0\r\n\r\n", smuggled)
            answer = await one.rest()
            assert answer[9:10] in {b"4", b""}, answer[:300]
            assert answer.count(b"HTTP/1.1 ") <= 1, answer
    assert not await is_registered(world)
    assert (await world.ask(editor(world), "GET", PUMP)).status == 200


async def test_requests_in_one_breath_are_answered_in_order_each_for_its_own_credential(
    world: ApiWorld,
) -> None:
    tokens = [*world.own.tokens.values(), *world.foreign.tokens.values(), *world.tokens.values()] * 3
    requests = [
        b"GET /api/v1/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token.encode() + b"\r\n\r\n"
        for token in tokens
    ]
    expected = [plain(await world.ask(token, "GET", "/api/v1/whoami"))["id"].encode() for token in tokens]
    async with wire(world) as one:
        await one.send(b"".join(requests))
        for identity in expected:
            assert b'"id":"' + identity in await one.answer()


async def test_what_comes_behind_a_refusal_is_not_taken_for_a_request(world: ApiWorld) -> None:
    """A body that is refused unread is no request of its own."""
    inner = post(world) + BODY
    async with wire(world) as one:
        head = post(world, length=len(inner)).replace(b"Bearer ", b"Bearer not-")
        with suppress(ConnectionError):
            await one.send(head, inner)
            answer = await one.rest()
            assert answer.startswith(b"HTTP/1.1 401 "), answer[:200]
            assert answer.count(b"HTTP/1.1 ") == 1, answer
    assert not await is_registered(world)


@pytest.fixture(scope="module")
def neighbour() -> NodeKey:
    """A node that nobody has let in."""
    return NodeKey.of(rsa.generate_private_key(public_exponent=65_537, key_size=2_048))


@pytest.mark.parametrize("off_s", [-10 * SKEW_MAX_S, 10 * SKEW_MAX_S, -(10**9), 10**11])
async def test_a_signature_of_another_time_is_told_both_clocks(
    world: ApiWorld, neighbour: NodeKey, off_s: int
) -> None:
    target, body = "/api/v1/node/heartbeats", b'{"site":"AAAA"}'
    headers = sign_request(
        neighbour,
        method="POST",
        target=target,
        body=body,
        recipient=world.services.peers.home.key.id,
        now_s=int(time.time()) + off_s,
        nonce="a-nonce-of-this-test",
    )
    answer = await world.plant.ask(
        "POST", target, octets=body, headers={**headers, "Content-Type": "application/json"}
    )
    assert answer.status == 401, answer.body
    if abs(off_s) < 10**9:
        assert "clock" in plain(answer)["detail"], answer.body
    await others_are_served(world, times=1)
