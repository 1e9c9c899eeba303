"""The HTTP front end: HTTP and HTTPS on one port, behind the source check.

The first octet of a connection tells TLS from HTTP. It is peeked at in the kernel's buffer, without a thread and
without holding up the loop for a client that says nothing.
"""

import asyncio
import errno
import logging
import math
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any, Final

import structlog
from aiohttp import web

from protocol.transport.base import DRAIN_S, HANDOVER_S, SILENT, TransportObserver
from protocol.transport.connections import CONNECTIONS_PER_SOURCE_MAX, ConnectionCount
from protocol.transport.http_answers import REFUSAL_FORM, SERVER, refusal
from protocol.transport.http_cache import HttpCache
from protocol.transport.http_connection import HttpConnection
from protocol.transport.sockets import bound_address, open_tcp, peer_address
from protocol.transport.source import SourceCheck, Verdict

IDLE_S: Final = 30.0  # for the first octet, for a whole header, and between requests
REFUSED_MAX: Final = (
    64  # connections of networks that may not ask, which are told so; they take nobody else's place
)
HANDSHAKE_S: Final = 10.0  # for a TLS handshake
REQUEST_S: Final = 60.0  # for one request, its body included
LINGER_S: Final = 2.0  # for a client to stop sending a body that nobody reads
LINE_OCTETS_MAX: Final = 8_190  # a name of 2,048 octets, each percent-encoded, and its query fit
READ_AHEAD_OCTETS: Final = (
    4_096  # of a body, ahead of its reader: in chunks of one octet it takes 25 times that
)
HEADERS_MAX: Final = 64
_ACCEPTS_PER_TURN: Final = 64  # then other sockets have their turn
_ACCEPT_PAUSE_S: Final = 0.5  # when the process has no file descriptor left
_OUT_OF_DESCRIPTORS: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
PATIENCE: Final = web.RequestKey("patience", asyncio.Timeout)
"""The time limit of a request, for whoever answers it in parts: each part that the client takes may renew it."""
_TLS_HANDSHAKE: Final = b"\x16"  # the record type that every TLS connection starts with

_STALL_MS: Final = 30_000  # a client that takes none of its answer for so long is given up by the kernel
_MUTED: Final = logging.getLogger("handlegrid.http.connection")  # aiohttp would log every malformed request
_MUTED.disabled = True

log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def is_tls(request: web.Request) -> bool:
    """Whether a request came over TLS that ended in this process."""
    transport = request.transport
    return transport is not None and transport.get_extra_info("sslcontext") is not None


def peer_host(request: web.Request) -> str:
    """The address that a request came from; "" when its connection is gone."""
    transport = request.transport
    return "" if transport is None else peer_address(transport.get_extra_info("peername"))[0]


class HttpListener:
    """Listening sockets that serve one application; made by listen_http()."""

    def __init__(
        self,
        app: web.Application,
        *,
        tls: ssl.SSLContext | None,
        source: SourceCheck,
        observer: TransportObserver,
        connections: ConnectionCount,
        idle_s: float,
        cache: HttpCache | None,
    ) -> None:
        if cache is not None:
            app.on_response_prepare.append(cache.note)
        app.middlewares.insert(0, _guard(source, observer, lambda: self._draining))
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        self._tls = tls
        self._source = source
        self._observer = observer
        self._count = connections
        self._refused = ConnectionCount(per_source_max=REFUSED_MAX, total_max=REFUSED_MAX)
        self._idle_s = idle_s
        self._cache = cache
        self._sockets: list[socket.socket] = []
        self._starting: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._draining = False
        self._handed_over = False
        self.address = ("", 0)

    async def open(self, hosts: Sequence[str], port: int, bound: Sequence[socket.socket] = ()) -> None:
        """Starts the application and listens on each host, or takes over sockets that do.

        Raises SettingsError when a port cannot be opened.
        """
        await self._runner.setup()
        self._handed_over = bool(bound)
        self._sockets += bound
        try:
            for host in () if bound else hosts:
                listening = open_tcp(host, port)
                self._sockets.append(listening)
                port = bound_address(listening)[1]  # a free port is the same for all hosts
        except BaseException:
            await self.close(0)
            raise
        self.address = bound_address(self._sockets[0])
        for listening in self._sockets:
            self._loop.add_reader(listening.fileno(), self._accept, listening)

    async def close(self, drain_s: float = DRAIN_S) -> None:
        """Accepts nothing new, finishes requests in flight within drain_s, then stops the application."""
        for listening in self._sockets:
            self._loop.remove_reader(listening.fileno())
            listening.close()
        self._sockets.clear()
        self._draining = True
        if self._cache is not None:
            self._cache.close()
        if self._handed_over:  # a connection that has come to us may expect an answer, and gets no other
            await asyncio.sleep(min(drain_s, HANDOVER_S))
        for task in tuple(self._starting):
            task.cancel()
        if self._starting:
            await asyncio.wait(self._starting)
        server = self._runner.server
        if server is not None:
            server.pre_shutdown()
            await server.shutdown(drain_s)
        await self._runner.cleanup()
        if self._cache is not None:
            self._cache.tally.tell()

    def _accept(self, listening: socket.socket) -> None:
        """Takes what waits in the backlog."""
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                accepted, name = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause_accepting(listening, error)
                return
            self._admit(accepted, peer_address(name)[0])

    def _pause_accepting(self, listening: socket.socket, error: OSError) -> None:
        """Without this, a process without descriptors would spin, since the backlog stays readable."""
        if error.errno not in _OUT_OF_DESCRIPTORS:
            return
        self._observer.limit_reached("connections")
        self._loop.remove_reader(listening.fileno())
        self._loop.call_later(_ACCEPT_PAUSE_S, self._resume_accepting, listening)

    def _resume_accepting(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            self._loop.add_reader(listening.fileno(), self._accept, listening)

    def _admit(self, accepted: socket.socket, host: str) -> None:
        count = self._refused if self._source.is_refused(host, time.monotonic()) else self._count
        limit = count.enter(host)
        if limit is not None:
            self._observer.limit_reached(limit)
            accepted.close()
            return
        task = self._loop.create_task(self._start(accepted, _once(lambda: count.leave(host))))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _start(self, accepted: socket.socket, leave: Callable[[], None]) -> None:
        """Gives a connection to aiohttp, with TLS in between when its first octet asks for it.

        leave: to be called when it has ended.
        """
        ours: socket.socket | None = accepted
        try:
            _prepare(accepted)
            tls = await self._wanted_tls(accepted)
            ours = None  # from here on the event loop closes it, also when the handshake fails
            await self._loop.connect_accepted_socket(
                lambda: self._make_handler(leave),
                accepted,
                ssl=tls,
                ssl_handshake_timeout=None if tls is None else HANDSHAKE_S,
            )
        except BaseException as error:
            if ours is not None:
                ours.close()
            leave()
            self._not_started(error)

    def _not_started(self, error: BaseException) -> None:
        """Counts why a connection did not come to its first request."""
        if isinstance(error, TimeoutError):
            self._observer.limit_reached("request_wait")
        elif isinstance(error, OSError):  # a failed TLS handshake among them
            self._observer.undecodable("http")
        else:
            raise error

    async def _wanted_tls(self, accepted: socket.socket) -> ssl.SSLContext | None:
        """The context to speak TLS with, or None for plain HTTP. Raises TimeoutError for a silent client."""
        if self._tls is None:
            return None
        async with asyncio.timeout(self._idle_s):
            first = await _peek(self._loop, accepted)
        return self._tls if first == _TLS_HANDSHAKE else None

    def _make_handler(self, ended: Callable[[], None]) -> HttpConnection:
        server = self._runner.server
        assert server is not None
        return HttpConnection(
            server,
            cache=self._cache,
            source=self._source,
            ended=ended,
            loop=self._loop,
            keepalive_timeout=self._idle_s,
            lingering_time=LINGER_S,
            logger=_MUTED,
            access_log=None,
            max_line_size=LINE_OCTETS_MAX,
            max_field_size=LINE_OCTETS_MAX,
            max_headers=HEADERS_MAX,
            auto_decompress=False,
            read_bufsize=READ_AHEAD_OCTETS,
        )


def _once(call: Callable[[], None]) -> Callable[[], None]:
    """The same call, of which only the first one counts."""
    calls = [call]

    def first_only() -> None:
        if calls:
            calls.pop()()

    return first_only


def _prepare(accepted: socket.socket) -> None:
    accepted.setblocking(False)
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STALL_MS)


async def _peek(loop: asyncio.AbstractEventLoop, accepted: socket.socket) -> bytes:
    """The first octet of a connection, which stays in the kernel's buffer; nothing when the client closed."""
    while True:
        try:
            return accepted.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            await _readable(loop, accepted)


async def _readable(loop: asyncio.AbstractEventLoop, accepted: socket.socket) -> None:
    ready = asyncio.Event()
    loop.add_reader(accepted.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(accepted.fileno())


def _guard(source: SourceCheck, observer: TransportObserver, is_draining: Callable[[], bool]) -> Any:
    """The middleware in front of all others: source check, a time limit, and the last catch of bugs."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = peer_host(request)
        now_s = time.monotonic()
        verdict = source.check(host, now_s)
        if verdict is Verdict.REFUSED:
            observer.limit_reached("source_refused")
            return _refuse(request, 403, "your network may not ask here")
        if verdict is not Verdict.ADMIT:
            observer.limit_reached("source_rate")
            wait_s = math.ceil(source.retry_after_s(host, now_s))
            text = "too many requests from your network"
            return _refuse(request, 429, text, retry_after_s=max(1, wait_s))
        response = await _handle(request, handler, observer)
        response.headers["Server"] = SERVER
        if is_draining():
            response.force_close()
        return response

    return guard


async def _handle(request: web.Request, handler: Handler, observer: TransportObserver) -> web.StreamResponse:
    try:
        async with asyncio.timeout(REQUEST_S) as patience:
            request[PATIENCE] = patience
            return await handler(request)
    except ConnectionError:
        raise
    except web.HTTPException as error:
        return _as_refusal(error)
    except TimeoutError:
        observer.limit_reached("request_wait")
        if request.content.is_eof():
            return _refuse(request, 503, "no answer in time", retry_after_s=1)
        return _refuse(request, 408, "the request did not come in time")
    except Exception:
        log.exception("http_handler_failed", method=request.method, route=_route(request))
        return _refuse(request, 500, "internal error")


def _refuse(
    request: web.Request, status: int, text: str, *, retry_after_s: int | None = None
) -> web.Response:
    """A refusal in the form that the application wants for this target; it ends the connection."""
    form = request.app.get(REFUSAL_FORM)
    wanted = None if form is None else form(request.raw_path, status, text)
    return refusal(status, text, retry_after_s=retry_after_s, close=True, form=wanted)


def _route(request: web.Request) -> str:
    """The pattern of a route: the path itself may hold what is not for logs."""
    resource = request.match_info.route.resource
    return "" if resource is None else resource.canonical


def _as_refusal(error: web.HTTPException) -> web.Response:
    """What the router refuses, such as a path without a handler."""
    response = refusal(
        error.status, error.reason.lower(), close=error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    )
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


async def listen_http(
    app: web.Application,
    host: str | Sequence[str],
    port: int,
    *,
    tls: ssl.SSLContext | None = None,
    source: SourceCheck,
    observer: TransportObserver = SILENT,
    connections_per_source_max: int = CONNECTIONS_PER_SOURCE_MAX,
    idle_s: float = IDLE_S,
    cache: HttpCache | None = None,
    bound: Sequence[socket.socket] = (),
) -> HttpListener:
    """Serves an application over HTTP, and over HTTPS on the same port when tls is given.

    app: not yet started; it is started and stopped here. host: one or several literal addresses. port: 0 for a free
    one, told by the result's address. cache: keeps the answers that may be given again. bound: sockets that listen
    there already, instead of those. Raises SettingsError when a port cannot be opened.
    """
    listener = HttpListener(
        app,
        tls=tls,
        source=source,
        observer=observer,
        connections=ConnectionCount(per_source_max=connections_per_source_max),
        idle_s=idle_s,
        cache=cache,
    )
    await listener.open([host] if isinstance(host, str) else host, port, bound)
    return listener
