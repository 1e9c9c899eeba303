"""Handle messages in HTTP requests: the server side and one exchange as a client.

A POST to any path whose content type says so carries one whole message and is answered with one (PROTOCOL.md §3.9).
Deployed clients read the raw octets behind the header block, so an answer has a length, or ends with its connection
when it is a stream of several messages, and is never chunked.
"""

import asyncio
import errno
import os
import struct
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from typing import Any, Final

import aiohttp
from aiohttp import web

from protocol.codes import OpFlag
from protocol.errors import Unreachable
from protocol.message import ENVELOPE_OCTETS, Message, decode_envelope, decode_message, undecodable
from protocol.transport.answer_cache import AnswerCache
from protocol.transport.base import (
    SILENT,
    Answer,
    Peer,
    Responder,
    TransportObserver,
    looks_like_request,
    remember,
    respond,
)
from protocol.transport.http import PATIENCE, REQUEST_S, Handler, peer_host
from protocol.transport.http_answers import refusal
from protocol.wire import MAX_MESSAGE_OCTETS

MESSAGE_TYPE: Final = "application/x-hdl-message"
TUNNEL_OCTETS_MAX: Final = ENVELOPE_OCTETS + MAX_MESSAGE_OCTETS
_HEADERS: Final = {"Cache-Control": "no-store"}


def add_tunnel(
    app: web.Application,
    responder: Responder,
    *,
    cache: AnswerCache | None = None,
    observer: TransportObserver = SILENT,
) -> None:
    """Makes an application answer tunnelled Handle messages on every path; call before listen_http()."""

    @web.middleware
    async def tunnel(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method == "POST" and request.content_type == MESSAGE_TYPE:
            return await _serve(request, responder, cache, observer)
        return await handler(request)

    app.middlewares.append(tunnel)


async def _serve(
    request: web.Request, responder: Responder, cache: AnswerCache | None, observer: TransportObserver
) -> web.StreamResponse:
    started_s = time.monotonic()
    octets = await _read(request)
    if octets is None or not looks_like_request(octets):
        observer.undecodable("http")
        status = 413 if octets is None else 400
        response = undecodable(octets or b"", "no Handle request", time.time())
        return _binary(response.encode(), status)
    host = peer_host(request)
    outcome, answer = "hit", None
    response_octets = None if cache is None else cache.get(octets, started_s, time.time())
    if response_octets is None:
        outcome = "miss"
        answer = await _ask(responder, octets, Peer(host, 0, "http"))
        if answer is None:
            return refusal(503, "no answer", retry_after_s=1)
        remember(cache, octets, answer)
        response_octets = answer.octets
    elapsed_s = time.monotonic() - started_s
    observer.answered("http", octets, response_octets, outcome, elapsed_s, host=host)
    if answer is not None and answer.more is not None:
        return await _stream(request, answer.octets, answer.more)
    return _binary(response_octets)


async def _ask(responder: Responder, octets: bytes, peer: Peer) -> Answer | None:
    answered: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()

    def reply(answer: Answer | None) -> None:
        if not answered.done():  # whoever asked may be gone
            answered.set_result(answer)

    respond(responder, octets, peer, reply)
    return await answered


def _binary(octets: bytes, status: int = 200) -> web.Response:
    return web.Response(status=status, body=octets, content_type=MESSAGE_TYPE, headers=_HEADERS)


async def _stream(
    request: web.Request, first: bytes, more: AsyncGenerator[bytes, None]
) -> web.StreamResponse:
    """Sends several messages behind each other, each when the client has taken enough of those before."""
    response = _Unmeasured(headers=_HEADERS)
    response.content_type = MESSAGE_TYPE
    response.force_close()
    try:
        async with aclosing(more):
            await response.prepare(request)
            await response.write(first)
            async for octets in more:
                await response.write(octets)
                request[PATIENCE].reschedule(asyncio.get_running_loop().time() + REQUEST_S)
    except BaseException:
        if request.transport is not None:
            request.transport.abort()  # or the client would take what it has for all of it
        raise
    return response


class _Unmeasured(web.StreamResponse):
    """A response that ends with its connection; aiohttp would chunk it, but for what its web sockets set too."""

    _length_check = False


async def _read(request: web.Request) -> bytes | None:
    """The message in a request's body, without a line end in front and without what follows it; None: too large."""
    limit = TUNNEL_OCTETS_MAX + 2
    if request.content_length is not None and request.content_length > limit:
        return None
    body = bytearray()
    async for part in request.content.iter_any():
        body += part
        if len(body) > limit:
            return None
    octets = bytes(body).removeprefix(b"\r\n")
    if len(octets) < ENVELOPE_OCTETS:
        return octets
    return octets[: ENVELOPE_OCTETS + int(struct.unpack_from(">I", octets, 16)[0])]


class HttpExchanger:
    """Exchanges messages through HTTP tunnels; keeps connections for the next request."""

    def __init__(self) -> None:
        connector = aiohttp.TCPConnector(limit=_CONNECTIONS_MAX, limit_per_host=_CONNECTIONS_PER_HOST_MAX)
        self._session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=None
            ),  # every exchange has a deadline, every stream its patience
        )

    async def exchange(
        self,
        address: str,
        port: int,
        request: Message,
        *,
        deadline_s: float,
        path: str = "",
        tls: bool = False,
    ) -> Message:
        """Sends a request and returns the response.

        path: where the site's attribute says the tunnel is, "" for the root. tls: HTTPS, whose certificate is not
        checked: a response proves itself by its request id and digest, over TLS as over UDP. deadline_s: monotonic.
        Raises Unreachable when no whole answer comes in time, WireError when it is no message.
        """
        octets = request.encode()
        return decode_message(
            await self.exchange_octets(address, port, octets, deadline_s=deadline_s, path=path, tls=tls)
        )

    async def exchange_octets(
        self,
        address: str,
        port: int,
        request: bytes,
        *,
        deadline_s: float,
        path: str = "",
        tls: bool = False,
    ) -> bytes:
        """The same for messages that may be encrypted, as whole messages with their envelopes."""
        url, node = _place(address, port, path, tls=tls)
        with _explained(node):
            async with asyncio.timeout_at(deadline_s), self._post(url, request) as body:
                octets = bytearray()
                async for part in body.iter_any():
                    octets += part
                    if len(octets) > TUNNEL_OCTETS_MAX:
                        raise _NotATunnel(f"an answer of more than {TUNNEL_OCTETS_MAX} octets")
        return bytes(octets)

    async def stream(
        self,
        address: str,
        port: int,
        request: Message,
        *,
        patience_s: float,
        path: str = "",
        tls: bool = False,
    ) -> AsyncGenerator[Message, None]:
        """Sends a request and gives the messages of its answer, each when it is whole, up to the first without CONT.

        patience_s: for the connection, and for each message. Raises as exchange().
        """
        url, node = _place(address, port, path, tls=tls)
        with _explained(node):
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(patience_s):
                    body = await stack.enter_async_context(self._post(url, request.encode()))
                follows = True
                while follows:
                    async with asyncio.timeout(patience_s):
                        message = await _read_message(body)
                    follows = message.has(OpFlag.CONT)
                    yield message

    async def close(self) -> None:
        """Closes every connection."""
        await self._session.close()

    @asynccontextmanager
    async def _post(self, url: str, request: bytes) -> AsyncGenerator[aiohttp.StreamReader, None]:
        """The body of the answer to a request."""
        headers: dict[str, Any] = {"Content-Type": MESSAGE_TYPE, "Accept": MESSAGE_TYPE}
        async with self._session.post(
            url, data=request, headers=headers, ssl=False, allow_redirects=False
        ) as response:
            if response.content_type != MESSAGE_TYPE:
                raise _NotATunnel(f"HTTP {response.status} without a Handle message")
            yield response.content


def _place(address: str, port: int, path: str, *, tls: bool) -> tuple[str, str]:
    """The URL of a tunnel, and what errors call it."""
    scheme = "https" if tls else "http"
    host = f"[{address}]" if ":" in address else address
    return f"{scheme}://{host}:{port}/{path.lstrip('/')}", f"{address} {scheme.upper()} {port}"


async def _read_message(body: aiohttp.StreamReader) -> Message:
    envelope = await body.readexactly(ENVELOPE_OCTETS)
    message_octets = decode_envelope(envelope).message_octets  # bounded before anything of that size is read
    return decode_message(envelope + await body.readexactly(message_octets))


@contextmanager
def _explained(node: str) -> Generator[None, None, None]:
    """Raises Unreachable for what goes wrong with a tunnel."""
    try:
        yield
    except TimeoutError as error:
        raise Unreachable("no answer in time", node=node) from error
    except asyncio.IncompleteReadError as error:
        raise Unreachable("the answer ended before it was whole", node=node) from error
    except (aiohttp.ClientError, OSError) as error:
        is_refused = isinstance(error, OSError) and error.errno == errno.ECONNREFUSED
        cause = (
            os.strerror(errno.ECONNREFUSED)
            if is_refused
            else f"the HTTP exchange failed ({type(error).__name__})"
        )
        raise Unreachable(cause, node=node) from error
    except _NotATunnel as error:
        raise Unreachable(str(error), node=node) from error


class _NotATunnel(Exception):
    """The peer speaks HTTP, but not Handle in it."""


_CONNECTIONS_MAX: Final = 512  # to all tunnels together
_CONNECTIONS_PER_HOST_MAX: Final = 32
