"""The TCP front end with real sockets: the life of a connection, and peers that misbehave."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast

import pytest

from protocol.codes import DEFAULT_FLAGS, OpFlag, ResponseCode
from protocol.message import ENVELOPE_OCTETS, Message, decode_envelope, decode_message
from protocol.transport import tcp_connection
from protocol.transport.answer_table import AnswerTable
from protocol.transport.base import Answer, Peer, Reply
from protocol.transport.source import SourceCheck
from protocol.transport.tcp import TcpListener, listen_tcp
from tests.support.transport import WAIT_S, Echo, Watcher, answer_to, anyone, resolution

KEPT = DEFAULT_FLAGS | OpFlag.KPAL


class Client:
    """A TCP connection of a test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def receive(self) -> Message:
        async with asyncio.timeout(WAIT_S):
            envelope = await self.reader.readexactly(ENVELOPE_OCTETS)
            rest = await self.reader.readexactly(decode_envelope(envelope).message_octets)
        return decode_message(envelope + rest)

    async def at_end(self) -> bool:
        """Whether the server closes without sending more."""
        async with asyncio.timeout(WAIT_S):
            try:
                return await self.reader.read() == b""
            except ConnectionResetError:
                return True

    async def ask(self, request: Message) -> Message:
        self.writer.write(request.encode())
        return await self.receive()


@asynccontextmanager
async def connected(listener: TcpListener) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(*listener.address)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


async def no_more_connections_than(listener: TcpListener, count: int) -> None:
    async with asyncio.timeout(WAIT_S):
        while len(listener.connections) > count:  # noqa: ASYNC110 - the server's side of a close has no event
            await asyncio.sleep(0)


async def test_one_answer_then_the_connection_is_closed(loopback: str) -> None:
    echo = Echo()
    listener = await listen_tcp(loopback, 0, echo, source=anyone())
    async with connected(listener) as client:
        answer = await client.ask(resolution(request_id=9))
        assert await client.at_end()

    assert answer.envelope.request_id == 9
    assert echo.asked[0][1].host == loopback
    await listener.close()


@pytest.mark.parametrize("request_kept", [resolution(flags=KEPT), resolution(extension=b"\0\0\0\1x")])
async def test_the_keep_alive_flag_and_the_trailing_field_keep_the_connection(request_kept: Message) -> None:
    listener = await listen_tcp("127.0.0.1", 0, Echo(), source=anyone())
    async with connected(listener) as client:
        for _ in range(3):
            assert (await client.ask(request_kept)).header.response_code == ResponseCode.SUCCESS
        await client.ask(resolution())
        assert await client.at_end()
    await listener.close()


async def test_what_an_encrypted_request_seems_to_ask_does_not_keep_the_connection() -> None:
    request = resolution(flags=KEPT)
    encrypted = replace(request, envelope=replace(request.envelope, encrypted=True))
    for keeps in (False, True):  # as who has decrypted it says

        def answer(octets: bytes, peer: Peer, reply: Reply, keeps: bool = keeps) -> None:
            reply(Answer(octets=answer_to(octets), keep_open=keeps))

        listener = await listen_tcp("127.0.0.1", 0, answer, source=anyone())
        async with connected(listener) as client:
            await client.ask(encrypted)
            if keeps:
                await client.ask(resolution())
                client.writer.write_eof()
            assert await client.at_end()
        await listener.close()


@pytest.mark.parametrize("cache_s", [None, 60.0])
async def test_requests_that_have_come_already_are_all_answered_in_order(cache_s: float | None) -> None:
    listener = await listen_tcp("127.0.0.1", 0, Echo(cache_s=cache_s), source=anyone(), cache=AnswerTable())
    async with connected(listener) as client:
        client.writer.write(b"".join(resolution(request_id=number).encode() for number in range(1, 31)))
        ids = [(await client.receive()).envelope.request_id for _ in range(30)]
        assert await client.at_end()

    assert ids == list(range(1, 31))
    await listener.close()


async def test_a_request_may_come_octet_by_octet() -> None:
    listener = await listen_tcp("127.0.0.1", 0, Echo(), source=anyone())
    async with connected(listener) as client:
        for octet in resolution().encode():
            client.writer.write(bytes((octet,)))
            await client.writer.drain()
            await asyncio.sleep(0)
        assert (await client.receive()).header.response_code == ResponseCode.SUCCESS
    await listener.close()


async def test_a_client_may_close_its_half_before_the_answer() -> None:
    echo = Echo(gate=asyncio.Event())
    listener = await listen_tcp("127.0.0.1", 0, echo, source=anyone())
    assert echo.gate is not None
    async with connected(listener) as client:
        client.writer.write(resolution(request_id=4).encode())
        client.writer.write_eof()
        await echo.entered.wait()
        echo.gate.set()
        assert (await client.receive()).envelope.request_id == 4
        assert await client.at_end()
    await listener.close()


async def test_a_request_cut_short_by_the_end_of_the_stream_is_refused() -> None:
    listener = await listen_tcp("127.0.0.1", 0, Echo(), source=anyone())
    async with connected(listener) as client:
        client.writer.write(resolution(request_id=4).encode()[:60])
        client.writer.write_eof()
        answer = await client.receive()
        assert await client.at_end()

    assert (answer.envelope.request_id, answer.header.response_code) == (4, ResponseCode.PROTOCOL_ERROR)
    await listener.close()


async def test_a_message_announced_too_large_is_refused_unread() -> None:
    watcher = Watcher()
    listener = await listen_tcp("127.0.0.1", 0, Echo(), source=anyone(), observer=watcher)
    octets = resolution(request_id=6).encode()
    async with connected(listener) as client:
        client.writer.write(octets[:16] + (262_145).to_bytes(4, "big"))
        answer = await client.receive()
        assert await client.at_end()

    assert (answer.envelope.request_id, answer.header.response_code) == (6, ResponseCode.PROTOCOL_ERROR)
    assert watcher.undecodables == ["tcp"]
    await listener.close()


async def test_the_largest_message_is_served_and_what_follows_waits() -> None:
    echo = Echo()
    listener = await listen_tcp("127.0.0.1", 0, echo, source=anyone())
    large = resolution(extension=bytes(262_144 - 24 - 31 - 4))
    async with connected(listener) as client:
        client.writer.write(large.encode() + large.encode() + resolution(request_id=8).encode())
        codes = [(await client.receive()).header.response_code for _ in range(3)]

    assert codes == [ResponseCode.SUCCESS] * 3
    assert len(echo.asked[0][0]) == ENVELOPE_OCTETS + large_octets(large)
    assert listener.buffered_octets == 0
    await listener.close()


def large_octets(request: Message) -> int:
    return decode_envelope(request.encode()).message_octets


@pytest.mark.parametrize("sent", [b"", resolution().encode()[:30]])
async def test_a_client_that_does_not_complete_its_request_is_let_go(sent: bytes) -> None:
    watcher = Watcher()
    listener = await listen_tcp("127.0.0.1", 0, Echo(), source=anyone(), observer=watcher, idle_s=0.5)
    async with connected(listener) as client:
        client.writer.write(sent)
        assert await client.at_end()

    assert watcher.limits == (["request_wait"] if sent else [])
    await listener.close()


async def test_a_trickle_does_not_extend_the_wait_for_a_request() -> None:
    listener = await listen_tcp("127.0.0.1", 0, Echo(), source=anyone(), idle_s=0.1)
    async with connected(listener) as client:
        end = asyncio.create_task(client.at_end())
        while not end.done():
            client.writer.write(b"\x02")
            await asyncio.wait([end], timeout=0.02)
        assert await end
    await listener.close()


async def test_a_client_that_reads_nothing_is_let_go() -> None:
    watcher = Watcher()
    echo = Echo(data_octets=200_000)
    listener = await listen_tcp("127.0.0.1", 0, echo, source=anyone(), observer=watcher, idle_s=0.5)
    async with connected(listener) as client:
        cast(asyncio.ReadTransport, client.writer.transport).pause_reading()
        client.writer.write(resolution(flags=KEPT).encode() * 200)
        await watcher.until(lambda: "request_wait" in watcher.limits)
        client.writer.transport.abort()

    assert len(echo.asked) < 200
    await listener.close()


async def test_connections_of_one_network_are_bounded_and_the_place_of_a_closed_one_is_free() -> None:
    watcher = Watcher()
    listener = await listen_tcp(
        "127.0.0.1", 0, Echo(), source=anyone(), observer=watcher, connections_per_source_max=2
    )
    async with connected(listener) as first:
        await first.ask(resolution(flags=KEPT))
        async with connected(listener) as second:
            await second.ask(resolution(flags=KEPT))
            async with connected(listener) as third:
                assert await third.at_end()
        await no_more_connections_than(listener, 1)
        async with connected(listener) as fourth:
            await fourth.ask(resolution())

    assert watcher.limits == ["connections_per_source"]
    await listener.close()


async def test_refused_networks_are_closed_and_busy_ones_are_told_so() -> None:
    watcher = Watcher()
    refusing = await listen_tcp(
        "127.0.0.1", 0, Echo(), source=SourceCheck(deny=["127.0.0.0/8"]), observer=watcher
    )
    async with connected(refusing) as client:
        assert await client.at_end()
    limiting = await listen_tcp(
        "127.0.0.1", 0, Echo(), source=SourceCheck(rate_per_s=0.001), observer=watcher
    )
    async with connected(limiting) as client:
        await client.ask(resolution(flags=KEPT))
        client.writer.write(resolution(flags=KEPT).encode())
        assert await client.at_end()

    assert watcher.limits == ["source_refused", "source_rate"]
    await refusing.close()
    await limiting.close()


async def test_random_octets_end_their_own_connection_and_nothing_else() -> None:
    source = random.Random(20261120)
    listener = await listen_tcp("127.0.0.1", 0, Echo(), source=anyone(), idle_s=WAIT_S)
    for _ in range(40):
        async with connected(listener) as noise:
            noise.writer.write(source.randbytes(source.randrange(1, 3_000)))
            noise.writer.write_eof()
            async with asyncio.timeout(WAIT_S):
                try:
                    await noise.reader.read()
                except ConnectionResetError:
                    pass
    async with connected(listener) as client:
        assert (await client.ask(resolution())).header.response_code == ResponseCode.SUCCESS
    await listener.close()


async def test_what_is_buffered_for_all_connections_together_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tcp_connection, "BUFFERED_OCTETS_MAX", 50_000)
    watcher = Watcher()
    listener = await listen_tcp("127.0.0.1", 0, Echo(), source=anyone(), observer=watcher)
    half = resolution(extension=bytes(100_000)).encode()[:90_000]
    async with connected(listener) as client:
        client.writer.write(half)
        assert await client.at_end()

    assert watcher.limits == ["message_octets"]
    await no_more_connections_than(listener, 0)
    assert listener.buffered_octets == 0
    await listener.close()


async def test_closing_answers_what_is_in_flight_and_ends_idle_connections() -> None:
    echo = Echo(gate=asyncio.Event())
    listener = await listen_tcp("127.0.0.1", 0, echo, source=anyone())
    assert echo.gate is not None
    async with connected(listener) as idle, connected(listener) as busy:
        busy.writer.write(resolution(request_id=3, flags=KEPT).encode())
        await echo.entered.wait()
        closing = asyncio.create_task(listener.close())
        assert await idle.at_end()
        idle.writer.close()
        echo.gate.set()
        assert (await busy.receive()).envelope.request_id == 3
        assert await busy.at_end()
        busy.writer.close()
        await closing
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*listener.address)


async def test_closing_ends_what_neither_finishes_nor_reads() -> None:
    echo = Echo(gate=asyncio.Event())
    listener = await listen_tcp("127.0.0.1", 0, echo, source=anyone())
    async with connected(listener) as client:
        client.writer.write(resolution().encode())
        await echo.entered.wait()
        await listener.close(drain_s=0.01)
        assert await client.at_end()


async def test_a_thousand_requests_at_once_that_are_answered_at_once_do_not_nest() -> None:
    def at_once(octets: bytes, peer: Peer, reply: Reply) -> None:
        reply(Answer(octets=answer_to(octets), keep_open=True))

    listener = await listen_tcp("127.0.0.1", 0, at_once, source=anyone())
    async with connected(listener) as client:
        client.writer.write(b"".join(resolution(request_id=number).encode() for number in range(1, 1_001)))
        for number in range(1, 1_001):
            answer = await client.receive()
            assert (answer.envelope.request_id, answer.header.response_code) == (number, ResponseCode.SUCCESS)
    await listener.close()
