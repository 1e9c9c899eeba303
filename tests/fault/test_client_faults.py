"""The client against servers that lie, stay silent or never end, over real sockets on loopback."""

import asyncio
import random
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any, cast

import pytest

from protocol.bodies import ReferralBody, ResolutionRequest, ResolutionResponse
from protocol.client import Found, HandleClient, Opening, Question
from protocol.codes import ResponseCode
from protocol.errors import RecursionLimit, ResolutionFailed, Unreachable
from protocol.handle import Handle
from protocol.message import ENVELOPE_OCTETS, Message, decode_message
from protocol.site import Interface, InterfaceProtocol, Server, Service, Site
from protocol.transport.exchanger import Exchanger
from protocol.value import HandleValue, ValueList

HOST = "127.0.0.1"
GLOBAL = Question(handle=Handle.parse("0.TYPE/URL"))
LOOPBACK = Opening(network=ip_network("127.0.0.0/8"), prefix=None)

Send = Callable[[bytes], None]
Datagrams = Callable[[bytes, Send], None]
Stream = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def honest(octets: bytes, target: str = "https://right.example/") -> Message:
    """The right answer to the octets of a request."""
    request = decode_message(octets)
    body = ResolutionRequest.decode(request.body)
    values = ValueList.of([HandleValue(index=1, type="URL", data=target.encode())])
    answer = ResolutionResponse(handle=body.handle, values=values)
    return request.answer(
        ResponseCode.SUCCESS, answer.encode(), authoritative=True, site_serial=1, wall_s=time.time()
    )


class UdpScript(asyncio.DatagramProtocol):
    """A UDP server that does what a function says."""

    def __init__(self, script: Datagrams) -> None:
        self.script = script
        self.received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self.received += 1
        self.script(data, lambda octets: self.transport.sendto(octets, addr))


@asynccontextmanager
async def udp_server(script: Datagrams) -> AsyncIterator[int]:
    """A UDP server on a free port of loopback."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: UdpScript(script), local_addr=(HOST, 0))
    try:
        yield int(transport.get_extra_info("sockname")[1])
    finally:
        transport.close()
        await asyncio.sleep(0)


@asynccontextmanager
async def tcp_server(script: Stream) -> AsyncIterator[int]:
    """A TCP server on a free port of loopback; its connections end with it."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        tasks.add(task)
        try:
            await script(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def exchanger() -> AsyncIterator[Exchanger]:
    """A real exchanger, closed at the end."""
    opened = Exchanger()
    try:
        yield opened
    finally:
        await opened.close()


def site(*, udp: int | None = None, tcp: int | None = None) -> Site:
    """A site on loopback with these ports."""
    ports = ((InterfaceProtocol.UDP, udp), (InterfaceProtocol.TCP, tcp))
    interfaces = tuple(
        Interface(admin=False, query=True, protocol=protocol, port=port)
        for protocol, port in ports
        if port is not None
    )
    address = Server.pack_address(ip_address(HOST))
    return Site(servers=(Server(server_id=1, address=address, interfaces=interfaces),))


def client(sender: Exchanger, *sites: Site, exchange_s: float = 1.0, total_s: float = 5.0) -> HandleClient:
    return HandleClient(
        Service("the root service", sites),
        sender,
        openings=[LOOPBACK],
        exchange_s=exchange_s,
        total_s=total_s,
    )


async def honest_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    envelope = await reader.readexactly(ENVELOPE_OCTETS)
    octets = envelope + await reader.readexactly(struct.unpack(">I", envelope[16:20])[0])
    writer.write(honest(octets).encode())
    await writer.drain()


def target_of(reply: object) -> bytes:
    assert isinstance(reply, Found)
    return next(iter(reply.values)).data


def forged_ids_first(octets: bytes, send: Send) -> None:
    right = honest(octets)
    for difference in range(1, 200):
        forged = honest(octets, "https://attacker.example/")
        request_id = right.envelope.request_id ^ difference
        send(replace(forged, envelope=replace(forged.envelope, request_id=request_id)).encode())
    send(right.encode())


async def test_forged_request_ids_are_dropped_and_the_right_answer_is_taken() -> None:
    async with exchanger() as sender, udp_server(forged_ids_first) as port:
        reply = await client(sender, site(udp=port)).resolve(GLOBAL)

    assert target_of(reply) == b"https://right.example/"


async def test_an_answer_from_an_unasked_port_is_dropped() -> None:
    loop = asyncio.get_running_loop()
    stranger, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=(HOST, 0))
    forgeries = 0

    class Relay(UdpScript):
        def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
            nonlocal forgeries
            stranger.sendto(honest(data, "https://attacker.example/").encode(), addr)
            forgeries += 1

    relay, _ = await loop.create_datagram_endpoint(
        lambda: Relay(lambda octets, send: None), local_addr=(HOST, 0)
    )
    port = int(relay.get_extra_info("sockname")[1])
    async with exchanger() as sender:
        with pytest.raises(Unreachable):
            await client(sender, site(udp=port), exchange_s=0.3).resolve(GLOBAL)
    relay.close()
    stranger.close()
    await asyncio.sleep(0)

    assert forgeries >= 1


async def test_a_server_silent_over_udp_is_asked_over_tcp() -> None:
    async with (
        exchanger() as sender,
        udp_server(lambda octets, send: None) as udp,
        tcp_server(honest_stream) as tcp,
    ):
        reply = await client(sender, site(udp=udp, tcp=tcp), exchange_s=0.5).resolve(GLOBAL)

    assert target_of(reply) == b"https://right.example/"


async def test_a_closed_udp_port_is_asked_over_tcp() -> None:
    async with udp_server(lambda octets, send: None) as closed:
        pass
    async with exchanger() as sender, tcp_server(honest_stream) as tcp:
        reply = await client(sender, site(udp=closed, tcp=tcp), exchange_s=0.5).resolve(GLOBAL)

    assert target_of(reply) == b"https://right.example/"


def noise(octets: bytes, send: Send) -> None:
    """Random octets behind an envelope that fits the request."""
    seed = random.Random(20_241)
    for size in (0, 1, 4, 23, 24, 60, 400):
        rest = seed.randbytes(size)
        send(octets[:16] + struct.pack(">I", size) + rest)
        send(rest)


def another_handle(octets: bytes, send: Send) -> None:
    request = decode_message(octets)
    other = ResolutionRequest(handle=Handle.parse("0.TYPE/OTHER")).encode()
    answer = honest(replace(request, body=other, signed_octets=None).encode(), "https://attacker.example/")
    send(answer.encode())


def the_request_itself(octets: bytes, send: Send) -> None:
    send(octets)


def a_length_that_lies(octets: bytes, send: Send) -> None:
    send(octets[:16] + struct.pack(">I", 0xFFFF_FFFF) + octets[20:])


def half_a_message(octets: bytes, send: Send) -> None:
    answer = honest(octets).encode()
    send(answer[: len(answer) // 2])


@pytest.mark.parametrize(
    "script", [noise, another_handle, the_request_itself, a_length_that_lies, half_a_message]
)
async def test_nonsense_over_udp_is_refused_and_tcp_brings_the_answer(script: Datagrams) -> None:
    async with exchanger() as sender, udp_server(script) as udp, tcp_server(honest_stream) as tcp:
        reply = await client(sender, site(udp=udp, tcp=tcp), exchange_s=0.5).resolve(GLOBAL)

    assert target_of(reply) == b"https://right.example/"


async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def trickles(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(ENVELOPE_OCTETS)
    for octet in range(10_000):
        writer.write(bytes((octet % 256,)))
        await writer.drain()
        await asyncio.sleep(0.02)


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(ENVELOPE_OCTETS)


async def promises_four_gigabytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    envelope = await reader.readexactly(ENVELOPE_OCTETS)
    writer.write(envelope[:16] + b"\xff\xff\xff\xff" + bytes(1_000))
    await writer.drain()
    await asyncio.Event().wait()


@pytest.mark.parametrize("script", [says_nothing, trickles, hangs_up, promises_four_gigabytes])
async def test_a_stream_that_never_ends_well_ends_with_the_deadline(script: Stream) -> None:
    started_s = time.monotonic()
    async with exchanger() as sender, tcp_server(script) as tcp:
        with pytest.raises(Unreachable) as caught:
            await client(sender, site(tcp=tcp), exchange_s=0.3, total_s=0.5).resolve(GLOBAL)

    assert time.monotonic() - started_s < 10
    assert f"{HOST}:{tcp}" in caught.value.cause
    assert caught.value.remedy


async def test_the_total_deadline_covers_every_site_and_transport() -> None:
    started_s = time.monotonic()
    silent: AbstractAsyncContextManager[int] = udp_server(lambda octets, send: None)
    async with exchanger() as sender, silent as udp, tcp_server(says_nothing) as tcp:
        sites = [site(udp=udp, tcp=tcp) for _ in range(60)]  # 24 s in all
        with pytest.raises(Unreachable):
            await client(sender, *sites, exchange_s=0.2, total_s=0.5).resolve(GLOBAL)

    assert time.monotonic() - started_s < 10


def referring_to(site_of: Callable[[], Site]) -> Datagrams:
    def script(octets: bytes, send: Send) -> None:
        request = decode_message(octets)
        values = ValueList.of([HandleValue(index=1, type="HS_SITE", data=site_of().encode())])
        body = ReferralBody(values=values).encode()
        answer = request.answer(
            ResponseCode.SERVICE_REFERRAL, body, authoritative=True, site_serial=1, wall_s=time.time()
        )
        send(answer.encode())

    return script


async def test_two_servers_that_refer_to_each_other_end_as_a_named_loop() -> None:
    ports: dict[str, int] = {}
    async with (
        exchanger() as sender,
        udp_server(referring_to(lambda: site(udp=ports["second"]))) as first,
        udp_server(referring_to(lambda: site(udp=ports["first"]))) as second,
    ):
        ports |= {"first": first, "second": second}
        with pytest.raises(RecursionLimit, match="referral loop"):
            await client(sender, site(udp=first)).resolve(GLOBAL)


async def test_a_cancelled_resolution_leaves_no_task_behind() -> None:
    async with exchanger() as sender, udp_server(lambda octets, send: None) as udp:
        before = len(asyncio.all_tasks())
        resolving = asyncio.create_task(client(sender, site(udp=udp)).resolve(GLOBAL))
        await asyncio.sleep(0.05)
        resolving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await resolving

        assert len(asyncio.all_tasks()) == before


async def test_a_mirror_answers_while_the_primary_is_down() -> None:
    unheard: list[bytes] = []
    async with (
        exchanger() as sender,
        udp_server(lambda octets, send: unheard.append(octets)) as dead,
        udp_server(lambda octets, send: send(honest(octets).encode())) as alive,
    ):
        resolver = client(sender, site(udp=dead), site(udp=alive), exchange_s=0.5)
        reply = await resolver.resolve(GLOBAL)
        asked = len(unheard)
        again = await resolver.resolve(GLOBAL)

    assert target_of(reply) == target_of(again) == b"https://right.example/"
    assert asked > 0
    assert len(unheard) == asked, "the dead site is asked last once it has failed"


async def test_every_failure_is_a_resolution_failure() -> None:
    """Random datagrams of every length, with and without the right envelope: no other exception leaves the client."""
    seed = random.Random(77)

    def script(octets: bytes, send: Send) -> None:
        answer = bytearray(honest(octets).encode())
        for _ in range(seed.randrange(1, 6)):
            answer[seed.randrange(20, len(answer))] = seed.randrange(256)
        send(bytes(answer[: seed.randrange(20, len(answer) + 1)]))

    async with exchanger() as sender, udp_server(script) as udp:
        for _ in range(60):
            try:
                await client(sender, site(udp=udp), exchange_s=0.02, total_s=0.02).resolve(GLOBAL)
            except ResolutionFailed:
                continue
