"""The site record of a recursive node: what it answers when asked who it is (operation 2)."""

from collections.abc import Sequence
from ipaddress import ip_address

from protocol.site import Interface, InterfaceProtocol, Server, Site


def own_site(
    *,
    addresses: Sequence[str],
    serial: int,
    description: str,
    tcp_port: int | None,
    udp_port: int | None,
    http_port: int | None,
    https: bool,
) -> Site:
    """A site that holds nothing of its own, hence not primary, with query interfaces only, TCP first.

    addresses: literal, at least one; the others stand in the attribute `alt_addr`, since several servers would mean
    that handles are divided among them. A port is None for a listener that is off. Source: PROTOCOL.md §2.6.
    """
    interfaces = _interfaces(tcp_port=tcp_port, udp_port=udp_port, http_port=http_port, https=https)
    address = Server.pack_address(ip_address(addresses[0]))
    attributes = [(b"alt_addr", other.encode()) for other in addresses[1:2]]
    if description:
        attributes.append((b"desc", description.encode()))
    return Site(
        serial=serial,
        primary=False,
        attributes=tuple(attributes),
        servers=(Server(server_id=1, address=address, interfaces=interfaces),),
    )


def _interfaces(
    *, tcp_port: int | None, udp_port: int | None, http_port: int | None, https: bool
) -> tuple[Interface, ...]:
    offered = (
        (InterfaceProtocol.TCP, tcp_port),
        (InterfaceProtocol.UDP, udp_port),
        (InterfaceProtocol.HTTP, http_port),
        (InterfaceProtocol.HTTPS, http_port if https else None),
    )
    return tuple(
        Interface(admin=False, query=True, protocol=protocol, port=port)
        for protocol, port in offered
        if port is not None
    )
