"""The layer of streams: octets that come to the TCP and HTTP front ends in pieces, on sockets of this process.

The first octet says to which one and how long the pieces are. Whatever comes, the connection ends, and the front end
answers the next client.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Final

from aiohttp import web

from protocol.codes import ResponseCode
from protocol.errors import HandleError
from protocol.message import ENVELOPE_OCTETS, decode_envelope, decode_message
from protocol.transport.base import Answer, Listener, Peer, Reply
from protocol.transport.http import listen_http
from protocol.transport.source import SourceCheck
from protocol.transport.tcp import listen_tcp
from protocol.transport.tunnel import add_tunnel
from tests.support.corpus import request
from tests.support.vectors import recorded

ANSWER_S: Final = 10.0
PIECES_MAX: Final = 64
PIECE_OCTETS: Final = (1, 3, 20, 44, 100, 1_000, 70_000)


class Fronts:
    """A TCP and an HTTP front end on an event loop of their own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.listeners: list[Listener] = self.loop.run_until_complete(_listen())

    def play(self, octets: bytes) -> None:
        """Send octets over one connection, and ask something over another one."""
        self.loop.run_until_complete(self._play(octets))

    async def _play(self, octets: bytes) -> None:
        number, rest = octets[0], octets[1:]
        size = max(PIECE_OCTETS[number % len(PIECE_OCTETS)], len(rest) // PIECES_MAX + 1)
        pieces = [rest[start : start + size] for start in range(0, len(rest), size)]
        async with asyncio.timeout(ANSWER_S):
            await _converse(self.listeners[number // 128].address, pieces)
            assert len(await _converse(self.listeners[0].address, [request()])) > ENVELOPE_OCTETS


async def _listen() -> list[Listener]:
    source = SourceCheck(rate_per_s=1e9, burst=1e9)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", _say_no)
    add_tunnel(app, respond)
    return [
        await listen_tcp("127.0.0.1", 0, respond, source=source),
        await listen_http(app, "127.0.0.1", 0, source=source),
    ]


async def _say_no(asked: web.Request) -> web.Response:
    await asked.read()
    return web.Response(status=404)


def respond(octets: bytes, peer: Peer, reply: Reply) -> None:
    """Answer every request with a denial, and what is none with silence."""
    try:
        asked = decode_message(octets)
    except HandleError:
        reply(None)
        return
    code = ResponseCode.HANDLE_NOT_FOUND
    answer = asked.answer(code, bytes(4), authoritative=True, site_serial=1, wall_s=0)
    reply(Answer(octets=answer.encode()))


async def _converse(address: tuple[str, int], pieces: list[bytes]) -> bytes:
    """Everything that comes back."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        with suppress(OSError):  # we may be refused in the middle
            for piece in pieces:
                if writer.transport.is_closing():
                    break
                writer.write(piece)
                await asyncio.sleep(0)
            writer.write_eof()
            return await reader.read()
        return b""
    finally:
        writer.transport.abort()


@cache
def fronts() -> Fronts:
    """The front ends of this process."""
    return Fronts()


def play(octets: bytes) -> None:
    """See the module."""
    if octets:
        fronts().play(octets)


def seeds() -> Iterator[bytes]:
    """Recorded requests, alone and one behind the other, and HTTP requests."""
    requests = [entry.octets for entry in recorded() if entry.to_server and len(entry.octets) < 1_000]
    for number, octets in enumerate(requests):
        size = bytes((number % len(PIECE_OCTETS),))
        yield size + octets
        yield size + octets + request() + octets
        with suppress(HandleError):
            decode_envelope(octets)
            yield bytes((128 + number % 7,)) + _tunnel(octets) + _tunnel(octets)
    yield b"\x81GET /api/handles/1/2?index=1 HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"
    yield b"\x82PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"


def _tunnel(octets: bytes) -> bytes:
    head = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-hdl-message\r\n"
    return f"{head}Content-Length: {len(octets)}\r\n\r\n".encode() + octets
