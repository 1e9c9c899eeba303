"""Signing: what is signed, what is repeated, and what a flood of requests meets."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from protocol.bodies import ErrorBody
from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag, ResponseCode
from protocol.credential import verify
from protocol.errors import BadSignature
from protocol.message import Message, Version, decode_message
from protocol.runtime import signing
from protocol.runtime.signing import KEPT_MAX, KEPT_S, SIGNATURES_BURST, Signer, TooManySignatures
from protocol.runtime.wire_server import WireServer
from protocol.site import Site
from protocol.transport.base import Answer, Peer
from protocol.valuetypes import PublicKey
from tests.support.keys import admin_key
from tests.support.transport import answer_of

PEER = Peer(host="192.0.2.1", port=4711, transport="udp")
STRANGER = Peer(host="198.51.100.1", port=4711, transport="udp")
KEY = PublicKey.of_rsa(admin_key().public_key())
WALL_S = 1_700_000_000.0


class Counts:
    """Keeps what is counted."""

    def __init__(self) -> None:
        self.results: list[str] = []
        self.limits: list[str] = []

    def signature(self, result: str) -> None:
        self.results.append(result)

    def limit_reached(self, name: str) -> None:
        self.limits.append(name)


class Bench:
    """A signer with a clock that is set."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.now_s = 1_000.0
        self.signer = Signer(
            admin_key(), observer=self.counts, unlimited=("127.0.0.0/8",), clock=lambda: self.now_s
        )


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    made.signer.close()


class EchoServer(WireServer):
    """Says no to everything, and counts how often."""

    not_supported = "There is no {operation}."
    asked = 0

    async def dispatch(self, request: Message, peer: Peer) -> Answer:
        if request.header.op_code == OpCode.GET_SITE_INFO:
            return self.site_info(request)
        if request.header.op_code != OpCode.RESOLUTION:
            return self.has_not(request)
        self.asked += 1
        if request.body == b"bug":
            raise RuntimeError("a bug")
        return self.refuse(request, ResponseCode.HANDLE_NOT_FOUND, "unknown")


def request(
    *, body: bytes = b"", operation: int = OpCode.RESOLUTION, request_id: int = 77, version: Version = (2, 11)
) -> Message:
    return Message.request(
        operation,  # type: ignore[arg-type]
        body,
        request_id=request_id,
        expiration=0,
        flags=DEFAULT_FLAGS | OpFlag.CERT | OpFlag.RRDG,
        version=version,
    )


async def ask(
    bench: Bench, asked: Message, *, server: EchoServer | None = None, peer: Peer = PEER
) -> Message:
    server = server or EchoServer(Site(serial=9), signer=bench.signer, wall_clock=lambda: WALL_S)
    answer = await answer_of(server.respond, asked.encode(), peer)
    assert answer is not None
    assert answer.cache_until_s is None
    return decode_message(answer.octets)


@pytest.mark.parametrize("operation", [1, 2, 100, 105, 302, 99, 4_294_967_295])
async def test_the_answer_to_every_operation_is_signed_with_its_flag_set(
    bench: Bench, operation: int
) -> None:
    response = await ask(bench, request(operation=operation))

    verify(response, KEY)
    assert response.has(OpFlag.CERT)
    assert response.has(OpFlag.RRDG)
    assert bench.counts.results == ["signed"]


async def test_a_fault_of_ours_is_signed_too_and_told_to_nobody(bench: Bench) -> None:
    response = await ask(bench, request(body=b"bug"))

    verify(response, KEY)
    assert response.header.response_code == ResponseCode.ERROR


@pytest.mark.parametrize("version", [(2, 1), (2, 4), (2, 7), (2, 8), (2, 11)])
async def test_the_signature_is_made_as_the_version_of_the_answer_has_it(
    bench: Bench, version: Version
) -> None:
    asked = request(version=version).encode()
    old = asked[:2] + bytes(version) + asked[4:]  # suggests no more than it is written in
    response = await ask(bench, decode_message(old))

    assert response.envelope.version == version
    verify(response, KEY)


async def test_a_signature_covers_the_request_id(bench: Bench) -> None:
    octets = bytearray((await ask(bench, request())).encode())
    octets[11] ^= 1
    with pytest.raises(BadSignature):
        verify(decode_message(bytes(octets)), KEY)


async def test_the_very_same_request_gets_the_same_answer_without_being_run_again(bench: Bench) -> None:
    server = EchoServer(Site(serial=9), signer=bench.signer, wall_clock=lambda: WALL_S)

    first, second = [await ask(bench, request(), server=server) for _ in range(2)]

    assert first.encode() == second.encode()
    assert server.asked == 1
    assert bench.counts.results == ["signed", "repeated"]


async def test_another_id_another_host_or_a_later_time_is_another_request(bench: Bench) -> None:
    server = EchoServer(Site(serial=9), signer=bench.signer, wall_clock=lambda: WALL_S)
    await ask(bench, request(), server=server)

    await ask(bench, request(request_id=78), server=server)
    await ask(bench, request(), server=server, peer=STRANGER)
    bench.now_s += KEPT_S
    await ask(bench, request(), server=server)

    assert server.asked == 4


async def test_over_a_connection_nobody_gets_an_answer_that_was_another_ones(bench: Bench) -> None:
    server = EchoServer(Site(serial=9), signer=bench.signer, wall_clock=lambda: WALL_S)
    over_tcp = PEER._replace(transport="tcp")

    for peer in (over_tcp, over_tcp, PEER):
        await ask(bench, request(), server=server, peer=peer)

    assert server.asked == 3


async def test_kept_answers_are_bounded_in_number(bench: Bench) -> None:
    for number in range(KEPT_MAX + 9):
        bench.signer.keep(b"%d" % number, PEER, b"octets")

    kept = [number for number in range(KEPT_MAX + 9) if bench.signer.repeat(b"%d" % number, PEER)]
    assert kept == list(range(9, KEPT_MAX + 9))


async def test_a_network_over_its_rate_is_refused_before_anything_is_done_and_others_are_served(
    bench: Bench,
) -> None:
    server = EchoServer(Site(serial=9), signer=bench.signer, wall_clock=lambda: WALL_S)
    for _ in range(SIGNATURES_BURST):
        bench.signer.admit(PEER)

    response = await ask(bench, request(), server=server)

    assert response.header.response_code == ResponseCode.SERVER_TOO_BUSY
    assert not response.credential
    assert server.asked == 0
    assert bench.counts.limits == ["signatures_per_source"]
    assert "signatures_per_source" in ErrorBody.decode(response.body[33:]).message
    verify(await ask(bench, request(), server=server, peer=STRANGER), KEY)


async def test_a_network_without_a_rate_has_none(bench: Bench) -> None:
    for _ in range(2 * SIGNATURES_BURST):
        bench.signer.admit(PEER._replace(host="127.0.0.9"))


async def test_too_many_that_wait_are_refused_wherever_they_come_from(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "SIGNATURES_WAITING_MAX", 2)
    response = request().answer(ResponseCode.SUCCESS, b"", authoritative=True, site_serial=1, wall_s=WALL_S)
    waiting = [asyncio.create_task(bench.signer.certify(response)) for _ in range(2)]
    await asyncio.sleep(0)

    with pytest.raises(TooManySignatures):
        await bench.signer.certify(response)
    with pytest.raises(TooManySignatures):
        bench.signer.admit(STRANGER)

    for signed in await asyncio.gather(*waiting):
        verify(signed, KEY)
    bench.signer.admit(STRANGER)
    assert bench.counts.limits == ["signatures_waiting"] * 2


async def test_what_carries_a_credential_already_is_left_as_it_is(bench: Bench) -> None:
    signed = await ask(bench, request())
    assert await bench.signer.certify(signed) is signed


async def test_requests_without_the_flag_are_answered_without_a_signature(bench: Bench) -> None:
    plain = Message.request(OpCode.RESOLUTION, b"", request_id=5, expiration=0)
    response = await ask(bench, plain)
    assert not response.credential
    assert not bench.counts.results
