"""Opens all listeners of a daemon from its settings, and closes them together."""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog
from aiohttp import web

from protocol.errors import SettingsError
from protocol.runtime.listen_settings import ListenSettings
from protocol.runtime.workers.sockets import Kind
from protocol.runtime.workers.worker import ALONE, Worker
from protocol.transport.answer_cache import AnswerCache
from protocol.transport.base import DRAIN_S, SILENT, Listener, Responder, TransportObserver
from protocol.transport.http import HttpListener, listen_http
from protocol.transport.http_cache import HttpCache
from protocol.transport.sockets import is_address_available
from protocol.transport.tcp import TcpListener, listen_tcp
from protocol.transport.tunnel import add_tunnel
from protocol.transport.udp import UdpListener, listen_udp

_WILDCARDS: Final = {"0.0.0.0", "::"}  # noqa: S104

log = structlog.get_logger(__name__)


Endpoint = tuple[str, int]
Place = tuple[Kind, str, socket.socket | None]
"""What to listen for and where, and the socket that is bound there already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where a started node listens, as (address, port) pairs; a listener that is off has no pair."""

    udp: tuple[Endpoint, ...]
    tcp: tuple[Endpoint, ...]
    http: tuple[Endpoint, ...]
    admin: tuple[Endpoint, ...]


@dataclass(slots=True)
class Listeners:
    """What a daemon listens on."""

    opened: list[Listener] = field(default_factory=list)
    inherited: bool = False
    """Whether the supervisor has the sockets too."""

    @property
    def udp_drops(self) -> int:
        """Datagrams that the kernel dropped because their sockets' buffers were full; a supervisor counts its own."""
        if self.inherited:
            return 0
        return sum(listener.drops for listener in self.opened if isinstance(listener, UdpListener))

    def addresses(self, admin: HttpListener | None) -> Addresses:
        """Where all of them listen, and the admin listener where there is one."""

        def of(kind: type) -> tuple[Endpoint, ...]:
            return tuple(listener.address for listener in self.opened if isinstance(listener, kind))

        return Addresses(
            udp=of(UdpListener),
            tcp=of(TcpListener),
            http=of(HttpListener),
            admin=() if admin is None else (admin.address,),
        )

    async def close(self, drain_s: float = DRAIN_S) -> None:
        """Closes all at once: nothing new is taken, what is in flight has drain_s to end."""
        await asyncio.gather(*(listener.close(drain_s) for listener in self.opened))
        self.opened.clear()


async def open_listeners(
    settings: ListenSettings,
    responder: Responder,
    app: web.Application,
    *,
    cache: AnswerCache | None = None,
    http_cache: HttpCache | None = None,
    observer: TransportObserver = SILENT,
    worker: Worker = ALONE,
) -> Listeners:
    """Listens on every address for UDP, TCP and HTTP, the tunnel included, behind one source check.

    app: the HTTP routes, not yet started. A port of 0 opens no such listener. worker: whose sockets to use. Raises
    SettingsError with the first port that cannot be opened, and leaves nothing open then.
    """
    given = worker.inheritance
    listeners = Listeners(inherited=given is not None)
    source = settings.source_check(None if given is None else given.memory.sources)
    per_source_max = settings.tcp_connections_per_source_max
    places = _places(settings) if given is None else given.sockets.opened
    web_places = [(host, bound) for kind, host, bound in places if kind == "http"]
    try:
        for kind, host, bound in places:
            if kind == "tcp":
                tcp = await listen_tcp(
                    host,
                    settings.handle_port,
                    responder,
                    source=source,
                    cache=cache,
                    observer=observer,
                    connections_per_source_max=per_source_max,
                    bound=bound,
                )
                listeners.opened.append(tcp)
            elif kind == "udp":
                udp = await listen_udp(
                    host,
                    settings.handle_port,
                    responder,
                    source=source,
                    cache=cache,
                    observer=observer,
                    bound=bound,
                )
                listeners.opened.append(udp)
        if web_places:
            add_tunnel(app, responder, cache=cache, observer=observer)
            http = await listen_http(
                app,
                [host for host, _ in web_places],
                settings.http_port,
                tls=settings.tls_context(),
                source=source,
                observer=observer,
                connections_per_source_max=per_source_max,
                cache=http_cache,
                bound=[bound for _, bound in web_places if bound is not None],
            )
            listeners.opened.append(http)
    except BaseException:
        await listeners.close(0)
        raise
    return listeners


def usable_hosts(settings: ListenSettings) -> list[str]:
    """The addresses to listen on. Raises SettingsError when this machine has none of them."""
    hosts = [host for host in settings.listen_addresses if _is_usable(host)]
    if not hosts:
        raise SettingsError(["listen_addresses: this machine has none of these addresses"])
    return hosts


def _places(settings: ListenSettings) -> Sequence[Place]:
    """Where a process listens that opens its sockets itself."""
    hosts = usable_hosts(settings)
    handle: Sequence[Kind] = ("tcp", "udp") if settings.handle_port else ()
    places: list[Place] = [(kind, host, None) for host in hosts for kind in handle]
    return [*places, *(("http", host, None) for host in hosts if settings.http_port)]


def _is_usable(host: str) -> bool:
    """Whether to listen there; a wildcard of a family that this machine lacks is passed over."""
    if host in _WILDCARDS and not is_address_available(host):
        log.warning("address_family_missing", address=host)
        return False
    return True
