"""Opens all listeners of a daemon from its settings, and closes them together."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

import structlog
from aiohttp import web

from protocol.errors import SettingsError
from protocol.runtime.listen_settings import ListenSettings
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

    @property
    def udp_drops(self) -> int:
        """Datagrams that the kernel dropped because their sockets' buffers were full."""
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
) -> Listeners:
    """Listens on every address for UDP, TCP and HTTP, the tunnel included, behind one source check.

    app: the HTTP routes, not yet started. A port of 0 opens no such listener. Raises SettingsError with the first port
    that cannot be opened, and leaves nothing open then.
    """
    listeners = Listeners()
    source = settings.source_check()
    per_source_max = settings.tcp_connections_per_source_max
    hosts = [host for host in settings.listen_addresses if _is_usable(host)]
    if not hosts:
        raise SettingsError(["listen_addresses: this machine has none of these addresses"])
    try:
        for host in hosts if settings.handle_port else ():
            port = settings.handle_port
            tcp = await listen_tcp(
                host,
                port,
                responder,
                source=source,
                cache=cache,
                observer=observer,
                connections_per_source_max=per_source_max,
            )
            listeners.opened.append(tcp)
            udp = await listen_udp(host, port, responder, source=source, cache=cache, observer=observer)
            listeners.opened.append(udp)
        if settings.http_port:
            add_tunnel(app, responder, cache=cache, observer=observer)
            http = await listen_http(
                app,
                hosts,
                settings.http_port,
                tls=settings.tls_context(),
                source=source,
                observer=observer,
                connections_per_source_max=per_source_max,
                cache=http_cache,
            )
            listeners.opened.append(http)
    except BaseException:
        await listeners.close(0)
        raise
    return listeners


def _is_usable(host: str) -> bool:
    """Whether to listen there; a wildcard of a family that this machine lacks is passed over."""
    if host in _WILDCARDS and not is_address_available(host):
        log.warning("address_family_missing", address=host)
        return False
    return True
