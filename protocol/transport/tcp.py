"""The TCP front end.

Life of a connection (ARCHITECTURE §3.12): requests are served one after the other. After an answer the connection is
closed, unless the request has KPAL or the trailing field of the IDIS SDK, or more octets have come already. A client
may close its half first. A request must be complete 30 s after its first octet, and one must begin within 30 s.

We close our half and wait a moment for the client's, since closing with unread octets would make the kernel throw away
the answer that is still on its way.
"""

import asyncio
import socket

from protocol.transport.answer_cache import AnswerCache
from protocol.transport.base import (
    DRAIN_S,
    HANDOVER_S,
    MISSES_MAX,
    SILENT,
    Responder,
    TransportObserver,
)
from protocol.transport.connections import CONNECTIONS_PER_SOURCE_MAX, ConnectionCount
from protocol.transport.sockets import bound_address, open_tcp
from protocol.transport.source import SourceCheck
from protocol.transport.tcp_connection import IDLE_S, LINGER_S, Connection, ConnectionOwner


class TcpListener(ConnectionOwner):
    """One listening socket and its connections; made by listen_tcp()."""

    _server: asyncio.Server
    _handed_over = False
    """Whether somebody else goes on to accept when we do not."""
    address: tuple[str, int]
    """Host and port that it is bound to."""

    async def open(self, host: str, port: int, bound: socket.socket | None = None) -> None:
        """Binds and listens, or takes over a socket that does. Raises SettingsError when the port cannot be opened."""
        self._handed_over = bound is not None
        bound = bound or open_tcp(host, port)
        self.address = bound_address(bound)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), sock=bound)

    async def close(self, drain_s: float = DRAIN_S) -> None:
        """Accepts nothing new, answers requests in flight within drain_s, then ends every connection."""
        self._server.close()
        self.draining = True
        if self._handed_over:  # a connection that has come to us may expect an answer, and gets no other
            await asyncio.sleep(min(drain_s, HANDOVER_S))
        self.closing = True
        for connection in tuple(self.connections):
            if connection.is_idle:
                connection.end()
        await self.in_flight.wait(drain_s)
        await self._await_connections(min(drain_s, LINGER_S))
        await self._server.wait_closed()
        self.tally.tell()

    async def _await_connections(self, linger_s: float) -> None:
        """Lets clients read their last answers, then ends those that do not close."""
        if self.connections:
            self.none_left.clear()
            try:
                async with asyncio.timeout(linger_s):
                    await self.none_left.wait()
            except TimeoutError:
                for connection in tuple(self.connections):
                    connection.abort()
        while self.connections:
            self.none_left.clear()
            await self.none_left.wait()


async def listen_tcp(
    host: str,
    port: int,
    responder: Responder,
    *,
    source: SourceCheck,
    cache: AnswerCache | None = None,
    observer: TransportObserver = SILENT,
    connections_per_source_max: int = CONNECTIONS_PER_SOURCE_MAX,
    idle_s: float = IDLE_S,
    misses_max: int = MISSES_MAX,
    bound: socket.socket | None = None,
) -> TcpListener:
    """Answers Handle requests on a TCP port.

    host: a literal address. port: 0 for a free one, told by the address. idle_s: see the module. misses_max: as in
    listen_udp(). bound: a socket that listens there already. Raises SettingsError when the port cannot be opened.
    """
    listener = TcpListener(
        responder,
        source=source,
        cache=cache,
        observer=observer,
        connections=ConnectionCount(per_source_max=connections_per_source_max),
        idle_s=idle_s,
        misses_max=misses_max,
    )
    await listener.open(host, port, bound)
    return listener
