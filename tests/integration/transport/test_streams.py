"""Answers of several messages: all of them in order, as fast as the client takes them, ended when it goes away."""

import asyncio
import gc
import weakref
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from protocol.codes import DEFAULT_FLAGS, OpFlag
from protocol.message import ENVELOPE_OCTETS, Message, decode_envelope, decode_message
from protocol.transport.base import Answer, Link, Peer, Reply, Responder
from protocol.transport.http import listen_http
from protocol.transport.tcp import TcpListener, listen_tcp
from protocol.transport.tunnel import MESSAGE_TYPE, add_tunnel
from tests.support.transport import WAIT_S, Echo, Watcher, answer_to, anyone, resolution

KEPT = DEFAULT_FLAGS | OpFlag.KPAL
LARGE = 100_000


class Lister:
    """A responder whose answers have a number of messages, and which knows how many were asked for."""

    def __init__(self, messages: int, *, data_octets: int = 20, fails_at: int | None = None) -> None:
        self.messages = messages
        self.data_octets = data_octets
        self.fails_at = fails_at
        self.made = 0
        self.closed = asyncio.Event()

    def __call__(self, octets: bytes, peer: Peer, reply: Reply) -> None:
        first = answer_to(octets, data_octets=self.data_octets)
        reply(Answer(octets=first, more=self._more(octets)))

    async def _more(self, octets: bytes) -> AsyncGenerator[bytes, None]:
        try:
            for number in range(1, self.messages):
                if number == self.fails_at:
                    raise RuntimeError("as it may happen")
                self.made += 1
                yield answer_to(octets, data_octets=self.data_octets)
        finally:
            self.closed.set()


@asynccontextmanager
async def connected(
    responder: Responder, **options: Any
) -> AsyncIterator[tuple[TcpListener, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A front end and a client's connection to it; nothing of either is left afterwards."""
    listener = await listen_tcp("127.0.0.1", 0, responder, source=anyone(), **options)
    reader, writer = await asyncio.open_connection(*listener.address)
    try:
        yield listener, reader, writer
    finally:
        await give_up(writer)
        await listener.close(0)


async def give_up(writer: asyncio.StreamWriter) -> None:
    """End a connection at once."""
    writer.transport.abort()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def read_message(reader: asyncio.StreamReader) -> Message:
    async with asyncio.timeout(WAIT_S):
        envelope = await reader.readexactly(ENVELOPE_OCTETS)
        return decode_message(envelope + await reader.readexactly(decode_envelope(envelope).message_octets))


async def read_all(reader: asyncio.StreamReader) -> None:
    while True:
        await read_message(reader)


async def none_in_flight(listener: TcpListener) -> None:
    async with asyncio.timeout(WAIT_S):
        while len(listener.in_flight):  # noqa: ASYNC110 - the server's side of a close has no event
            await asyncio.sleep(0)


async def test_all_messages_of_an_answer_come_in_order_and_the_connection_ends() -> None:
    async with connected(Lister(3)) as (_, reader, writer):
        writer.write(resolution(request_id=9).encode())

        received = [await read_message(reader) for _ in range(3)]

        assert [message.envelope.request_id for message in received] == [9, 9, 9]
        assert await reader.read() == b""


async def test_a_kept_connection_serves_its_next_request_behind_the_last_message() -> None:
    async with connected(Lister(3)) as (_, reader, writer):
        requests = [resolution(request_id=number, flags=KEPT).encode() for number in (1, 2)]
        writer.write(b"".join(requests))

        received = [await read_message(reader) for _ in range(6)]

        assert [message.envelope.request_id for message in received] == [1, 1, 1, 2, 2, 2]


async def test_no_more_is_asked_for_than_the_client_takes() -> None:
    lister = Lister(10_000, data_octets=LARGE)
    async with connected(lister) as (listener, reader, writer):
        writer.write(resolution().encode())
        await read_message(reader)
        made = -1
        async with asyncio.timeout(WAIT_S):
            while made != lister.made:  # until the buffers between us are full
                made = lister.made
                for _ in range(200):
                    await asyncio.sleep(0)

        assert lister.made < lister.messages / 4
        writer.transport.abort()
        await asyncio.wait_for(lister.closed.wait(), WAIT_S)
        await none_in_flight(listener)


async def test_a_client_that_takes_nothing_is_given_up() -> None:
    watcher, lister = Watcher(), Lister(10_000, data_octets=LARGE)
    async with connected(lister, observer=watcher, idle_s=0.5) as (_, _, writer):
        writer.write(resolution().encode())

        await asyncio.wait_for(lister.closed.wait(), WAIT_S)

        assert watcher.limits == ["request_wait"]


async def test_an_answer_that_breaks_off_ends_the_connection_unmistakably() -> None:
    async with connected(Lister(4, fails_at=2)) as (listener, reader, writer):
        writer.write(resolution(flags=KEPT).encode())

        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await read_all(reader)

        await none_in_flight(listener)


async def test_requests_of_one_connection_have_one_link_which_ends_with_it() -> None:
    echo = Echo()
    links: list[Link | None] = []
    async with connected(echo) as (listener, one_reader, one_writer):
        second = await asyncio.open_connection(*listener.address)
        for reader, writer in ((one_reader, one_writer), second):
            for number in (1, 2):
                writer.write(resolution(request_id=number, flags=KEPT).encode())
                await read_message(reader)
        links += [peer.link for _, peer in echo.asked]
        echo.asked.clear()
        await give_up(second[1])

    assert links[0] is not None
    assert links[0] is links[1]
    assert links[2] is links[3]
    assert links[0] is not links[2]
    remembered = weakref.ref(links[0])
    links.clear()
    gc.collect()
    assert remembered() is None


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def test_the_tunnel_sends_all_messages_in_one_body_that_is_not_chunked(
    session: aiohttp.ClientSession,
) -> None:
    app = web.Application()
    add_tunnel(app, Lister(3))
    listener = await listen_http(app, "127.0.0.1", 0, source=anyone())
    url = "http://{}:{}/".format(*listener.address)
    request = resolution(request_id=9).encode()

    async with session.post(url, data=request, headers={"Content-Type": MESSAGE_TYPE}) as response:
        body = await response.read()
        headers = response.headers

    await listener.close(0)
    assert "Transfer-Encoding" not in headers
    assert "Content-Length" not in headers
    assert headers["Connection"] == "close"
    reader = asyncio.StreamReader()
    reader.feed_data(body)
    reader.feed_eof()
    received = [await read_message(reader) for _ in range(3)]
    assert [message.envelope.request_id for message in received] == [9, 9, 9]
    assert await reader.read() == b""


async def test_nothing_follows_a_tunnelled_answer_that_breaks_off(session: aiohttp.ClientSession) -> None:
    app = web.Application()
    lister = Lister(4, fails_at=2)
    add_tunnel(app, lister)
    listener = await listen_http(app, "127.0.0.1", 0, source=anyone())
    url = "http://{}:{}/".format(*listener.address)
    request = resolution().encode()

    received = b""
    try:
        async with session.post(url, data=request, headers={"Content-Type": MESSAGE_TYPE}) as response:
            received = await response.read()
    except aiohttp.ClientError:
        pass  # where the kernel has thrown away what was not sent

    await listener.close(0)
    assert b"HTTP" not in received
    assert lister.made == 1
    assert lister.closed.is_set()
