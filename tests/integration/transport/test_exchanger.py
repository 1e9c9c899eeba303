"""The client side with real sockets: every transport, servers that misbehave, forged answers."""

import asyncio
import errno
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from protocol.codes import ResponseCode
from protocol.errors import Unreachable, WireError
from protocol.message import decode_envelope
from protocol.packets import split
from protocol.site import InterfaceProtocol
from protocol.transport.base import Listener
from protocol.transport.datagrams import DatagramSocket
from protocol.transport.exchanger import Exchanger, new_request_id
from protocol.transport.http import listen_http
from protocol.transport.tcp import listen_tcp
from protocol.transport.tunnel import add_tunnel
from protocol.transport.udp import listen_udp
from tests.support.transport import WAIT_S, Echo, answer_to, anyone, resolution


@pytest.fixture
async def exchanger() -> AsyncIterator[Exchanger]:
    opened = Exchanger()
    yield opened
    await opened.close()


def soon(seconds: float = WAIT_S) -> float:
    return time.monotonic() + seconds


Send = Callable[[bytes], None]


class Scripted(asyncio.DatagramProtocol):
    """A UDP server that answers as a test says."""

    def __init__(self, script: Callable[[bytes, Send], None]) -> None:
        self.script = script
        self.received: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.address = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received.append(data)
        self.script(data, lambda octets: self.transport.sendto(octets, addr))


async def scripted(script: Callable[[bytes, Send], None]) -> Scripted:
    _, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Scripted(script), local_addr=("127.0.0.1", 0)
    )
    return protocol


async def test_every_transport_brings_the_same_answer(exchanger: Exchanger, loopback: str) -> None:
    echo = Echo(data_octets=2_000)
    app = web.Application()
    add_tunnel(app, echo)
    listeners: dict[InterfaceProtocol, Listener] = {
        InterfaceProtocol.UDP: await listen_udp(loopback, 0, echo, source=anyone()),
        InterfaceProtocol.TCP: await listen_tcp(loopback, 0, echo, source=anyone()),
        InterfaceProtocol.HTTP: await listen_http(app, loopback, 0, source=anyone()),
    }
    for kind, listener in listeners.items():
        request = resolution(request_id=new_request_id())
        answer = await exchanger.exchange(
            kind, listener.address[0], listener.address[1], request, deadline_s=soon()
        )
        assert answer.envelope.request_id == request.envelope.request_id
        assert answer.header.response_code == ResponseCode.SUCCESS
        assert len(answer.body) > 2_000
    for listener in listeners.values():
        await listener.close()


async def test_many_exchanges_share_one_socket(exchanger: Exchanger) -> None:
    listener = await listen_udp("127.0.0.1", 0, Echo(), source=anyone())
    requests = [resolution(f"20.500.1/{number}", request_id=number) for number in range(1, 201)]
    answers = await asyncio.gather(
        *(
            exchanger.udp.exchange(listener.address[0], listener.address[1], request, deadline_s=soon())
            for request in requests
        )
    )

    assert [answer.envelope.request_id for answer in answers] == list(range(1, 201))
    assert str(199).encode() in answers[198].body
    await listener.close()


async def test_a_lost_request_is_sent_again_octet_for_octet(exchanger: Exchanger) -> None:
    server = await scripted(lambda data, send: send(answer_to(data)) if len(server.received) == 3 else None)
    answer = await exchanger.udp.exchange(
        server.address[0], server.address[1], resolution(), deadline_s=soon(), retry_s=(0.01, 0.01, WAIT_S)
    )

    assert answer.header.response_code == ResponseCode.SUCCESS
    assert server.received == [resolution().encode()] * 3
    server.transport.close()


async def test_answers_to_another_question_are_counted_and_passed_over(exchanger: Exchanger) -> None:
    def forge(data: bytes, send: Send) -> None:
        send(data[:8] + b"\x01\x02\x03\x04" + answer_to(data)[12:])
        send(b"noise")
        send(answer_to(data))
        send(answer_to(data))

    server = await scripted(forge)
    stranger = await scripted(lambda data, send: None)
    asking = asyncio.create_task(
        exchanger.udp.exchange(server.address[0], server.address[1], resolution(), deadline_s=soon())
    )
    await asyncio.sleep(0)
    assert (await asking).header.response_code == ResponseCode.SUCCESS
    assert exchanger.udp.mismatched >= 2

    server.transport.close()
    stranger.transport.close()


async def test_an_answer_from_another_address_is_not_believed(exchanger: Exchanger) -> None:
    liar = await scripted(lambda data, send: None)

    def answer_elsewhere(data: bytes, send: Send) -> None:
        port = next(iter(exchanger.udp._sockets.values())).port
        liar.transport.sendto(answer_to(data), ("127.0.0.1", port))

    server = await scripted(answer_elsewhere)
    with pytest.raises(Unreachable):
        await exchanger.udp.exchange(
            server.address[0], server.address[1], resolution(), deadline_s=soon(), retry_s=(0.1,)
        )

    assert exchanger.udp.mismatched == 1
    server.transport.close()
    liar.transport.close()


async def test_packets_of_an_answer_may_come_in_any_order_and_twice(exchanger: Exchanger) -> None:
    def shuffled(data: bytes, send: Send) -> None:
        packets = split(answer_to(data, data_octets=1_500))
        for packet in (packets[2], packets[0], packets[2], packets[3], packets[1]):
            send(packet)

    server = await scripted(shuffled)
    answer = await exchanger.udp.exchange(
        server.address[0], server.address[1], resolution(), deadline_s=soon()
    )

    assert len(answer.body) > 1_500
    server.transport.close()


async def test_an_undecodable_answer_is_an_error_of_the_wire(exchanger: Exchanger) -> None:
    server = await scripted(lambda data, send: send(data[:16] + (10).to_bytes(4, "big") + bytes(10)))
    with pytest.raises(WireError):
        await exchanger.udp.exchange(server.address[0], server.address[1], resolution(), deadline_s=soon())
    server.transport.close()


@pytest.mark.parametrize("kind", list(InterfaceProtocol))
async def test_a_silent_server_is_unreachable_at_the_deadline(
    exchanger: Exchanger, kind: InterfaceProtocol
) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(65_536):
                pass
        finally:
            writer.close()
            ended.set()

    ended = asyncio.Event()
    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    udp = await scripted(lambda data, send: None)
    address = udp.address if kind is InterfaceProtocol.UDP else ("127.0.0.1", port)
    with pytest.raises(Unreachable) as raised:
        await exchanger.exchange(kind, address[0], address[1], resolution(), deadline_s=soon(0.1))

    assert "127.0.0.1" in raised.value.node
    if kind is not InterfaceProtocol.UDP:
        async with asyncio.timeout(WAIT_S):
            await ended.wait()
    silent.close()
    udp.transport.close()


@pytest.mark.parametrize("kind", [InterfaceProtocol.TCP, InterfaceProtocol.HTTP, InterfaceProtocol.HTTPS])
async def test_nobody_listening_is_unreachable_at_once(exchanger: Exchanger, kind: InterfaceProtocol) -> None:
    gone = await listen_tcp("127.0.0.1", 0, Echo(), source=anyone())
    await gone.close()
    with pytest.raises(Unreachable):
        await exchanger.exchange(kind, gone.address[0], gone.address[1], resolution(), deadline_s=soon())


@pytest.mark.parametrize("address", ["", "localhost", "999.1.1.1", "fe80::1%nowhere", "::g"])
async def test_what_is_no_literal_address_is_never_looked_up(exchanger: Exchanger, address: str) -> None:
    for kind in InterfaceProtocol:
        with pytest.raises(Unreachable, match="no literal address"):
            await exchanger.exchange(kind, address, 2641, resolution(), deadline_s=soon())


async def test_an_answer_announced_too_large_is_not_read(exchanger: Exchanger) -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(resolution().encode()[:16] + b"\xff\xff\xff\xff" + bytes(1_000))
        writer.close()

    server = await asyncio.start_server(flood, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(WireError):
        await exchanger.exchange(InterfaceProtocol.TCP, "127.0.0.1", port, resolution(), deadline_s=soon())
    server.close()


async def test_a_web_server_that_is_no_tunnel_is_told_apart(exchanger: Exchanger) -> None:
    listener = await listen_http(web.Application(), "127.0.0.1", 0, source=anyone())
    with pytest.raises(Unreachable, match="404"):
        await exchanger.exchange(
            InterfaceProtocol.HTTP, listener.address[0], listener.address[1], resolution(), deadline_s=soon()
        )
    await listener.close()


async def test_an_address_without_a_route_is_unreachable_without_waiting(
    exchanger: Exchanger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_route(*_: object) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(DatagramSocket, "send", no_route)
    with pytest.raises(Unreachable, match="Network is unreachable"):
        await exchanger.udp.exchange("2001:db8::1", 2641, resolution(), deadline_s=soon())
    assert not exchanger.udp._waiting


def test_request_ids_are_positive_and_have_31_bits() -> None:
    ids = {new_request_id() for _ in range(1_000)}
    assert len(ids) > 990
    assert all(0 < number < 2**31 for number in ids)
    assert decode_envelope(resolution(request_id=max(ids)).encode()).request_id == max(ids)
