"""Routes: which addresses and URLs a prefix may be served at, or the node may be told to speak to.

Whoever applies for a prefix names the addresses of his own node, and we publish them, probe them and send them what
others ask. So nothing is accepted that leads into a network of ours or of a stranger's host: loopback, link-local,
private, multicast and unspecified addresses in every spelling, unless the operator opened that network for the prefix.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Final, Protocol
from urllib.parse import urlsplit

from protocol.client.selection import Address, Opening, canonical, is_routable
from protocol.errors import HandleError, WireError
from protocol.handle import Prefix
from protocol.site import HashOption, InterfaceProtocol, Server, Site
from protocol.valuetypes import PublicKey
from registry.text import refused_character

SERVERS_MAX: Final = 16
"""Servers of one site: as many as the largest real site has."""
SITE_OCTETS_MAX: Final = 32_768
"""Of a site record in wire form; two of them stand in each prefix record, far below what a message carries."""
KEY_BITS_MIN: Final = 2_048  # shorter RSA keys can be broken
KEY_BITS_MAX: Final = 8_192  # longer ones cost whoever checks a signature too much
URL_CHARACTERS_MAX: Final = 2_000
"""As long as every client can handle."""
PORT_MAX: Final = 65_535
EVERY_PREFIX: Final = "*"
RESOLUTION_WAIT_S: Final = 5.0
"""How long a host name may take to resolve."""

_HOST: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_ADDRESS_ATTRIBUTES: Final = (b"alt_addr",)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""From a host name to its addresses, as text; raises OSError when there are none."""


class OpenedNetwork(Protocol):
    """A setting that opens a network (CIDR form) to prefixes and what is below them; "*" stands for every prefix."""

    @property
    def network(self) -> str:
        """In CIDR form, such as "10.0.0.0/8"."""

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Prefixes, or "*"."""


class RouteRefused(HandleError):
    """A site or a URL that is not accepted; the text says what is wrong with it and what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedUrl:
    """A URL whose host has been resolved and checked: connect to these addresses and to no others."""

    url: str
    scheme: str
    host: str
    port: int
    addresses: tuple[str, ...]


def openings_of(rules: Iterable[OpenedNetwork]) -> tuple[Opening, ...]:
    """The openings that settings describe; the settings have checked networks and prefixes."""
    return tuple(
        Opening(network=ip_network(rule.network), prefix=None if name == EVERY_PREFIX else Prefix.parse(name))
        for rule in rules
        for name in rule.prefixes
    )


def check_site(site: Site, prefix: Prefix, opened: Sequence[Opening] = ()) -> None:
    """Raises RouteRefused unless every server of the site may be published as the prefix's and spoken to.

    opened: networks beside the public Internet that the operator allows.
    """
    if not 0 < len(site.servers) <= SERVERS_MAX:
        raise RouteRefused(f"a site has 1 to {SERVERS_MAX} servers, not {len(site.servers)}")
    octets = len(site.encode())
    if octets > SITE_OCTETS_MAX:
        raise RouteRefused(f"a site record of {octets} octets; at most {SITE_OCTETS_MAX}")
    if not site.primary:
        raise RouteRefused("the site of a prefix is its primary one; set primarySite")
    if site.hash_option not in HashOption.__members__.values():
        raise RouteRefused(f"hashOption {site.hash_option} is none of 0, 1 and 2")
    for server in site.servers:
        _check_server(server, prefix, opened)
    for name, value in site.attributes:
        if name.lower() in _ADDRESS_ATTRIBUTES:
            check_host(value.decode("utf-8", "replace"), prefix, opened, names=False)


def _check_server(server: Server, prefix: Prefix, opened: Sequence[Opening]) -> None:
    _check_address(server.ip, prefix, opened)
    if not any(interface.query for interface in server.interfaces):
        raise RouteRefused(f"the server at {server.ip} has no interface that answers queries")
    for interface in server.interfaces:
        if interface.protocol not in InterfaceProtocol.__members__.values():
            raise RouteRefused(f"the server at {server.ip} has an interface of protocol {interface.protocol}")
        if not 0 < interface.port <= PORT_MAX:
            raise RouteRefused(f"the server at {server.ip} has an interface at port {interface.port}")
    try:
        bits = PublicKey.decode(server.public_key).rsa().key_size
    except (WireError, ValueError) as error:
        raise RouteRefused(f"the server at {server.ip} has no readable RSA key: {error}") from None
    if not KEY_BITS_MIN <= bits <= KEY_BITS_MAX:
        raise RouteRefused(
            f"the server at {server.ip} has a key of {bits} bits; {KEY_BITS_MIN} to {KEY_BITS_MAX}"
        )


def check_host(
    host: str, prefix: Prefix | None, opened: Sequence[Opening] = (), *, names: bool = True
) -> Address | None:
    """The address that a host stands for, or None for a name, which is to be resolved and checked then.

    names: whether a host name is accepted at all.
    prefix: on whose behalf it is spoken to; None when the operator named it himself, then every address may be.
    Raises RouteRefused: not routable, or a spelling that others read as another address than we do.
    """
    spelled = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        address = ip_address(spelled)
    except ValueError:
        address = None
    if address is not None:
        if "%" in spelled:
            raise RouteRefused(f"{host} names a network interface; write the address alone")
        _check_address(address, prefix, opened)
        return address
    _check_name(host)
    if not names:
        raise RouteRefused(f"{host!r} is no IP address")
    return None


def _check_name(host: str) -> None:
    name = host.removesuffix(".")
    if not name.isascii() or len(name) > 253 or not _HOST.fullmatch(name):
        raise RouteRefused("the host is neither an IP address nor a host name in ASCII form")
    if _NUMBER.fullmatch(
        name.rpartition(".")[2]
    ):  # what some programs read as an address, each in its own way
        raise RouteRefused(f"{host} is an unusual spelling of an address; write four decimal numbers")


def _check_address(address: Address, prefix: Prefix | None, opened: Sequence[Opening]) -> None:
    if not is_routable(address, prefix, opened):
        meant = canonical(address)
        raise RouteRefused(
            f"{meant} is not routable on the Internet, and its network is not open to {prefix}; name a public "
            "address, or let the operator open the network (open_networks)"
        )


def check_url(
    url: str, prefix: Prefix | None, opened: Sequence[Opening] = (), *, schemes: Sequence[str] = ("https",)
) -> PinnedUrl:
    """Check a URL that somebody else gave us to speak to; where its host is an address it is pinned already.

    schemes: those that are accepted. Raises RouteRefused, also for credentials, and for a fragment.
    """
    if (
        len(url) > URL_CHARACTERS_MAX
        or refused_character(url)
        or not url.isascii()
        or " " in url
        or "\\" in url
    ):
        raise RouteRefused(
            f"a URL is ASCII text without spaces, at most {URL_CHARACTERS_MAX} characters long"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise RouteRefused(f"the URL cannot be read: {error}") from None
    if parts.scheme not in schemes:
        raise RouteRefused(f"the URL must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if "@" in parts.netloc:
        raise RouteRefused("the URL must not carry credentials")
    if parts.fragment or not parts.hostname:
        raise RouteRefused("the URL must name a host, and no fragment")
    if port == 0:
        raise RouteRefused("the URL names port 0")
    address = check_host(parts.hostname, prefix, opened)
    return PinnedUrl(
        url=url,
        scheme=parts.scheme,
        host=parts.hostname,
        port=port or _DEFAULT_PORTS.get(parts.scheme, 443),
        addresses=() if address is None else (str(canonical(address)),),
    )


async def pin_url(
    url: str,
    prefix: Prefix | None,
    opened: Sequence[Opening] = (),
    *,
    schemes: Sequence[str] = ("https",),
    resolve: Resolve | None = None,
) -> PinnedUrl:
    """Check a URL and resolve its host once; whoever connects uses the addresses found here, and no name again.

    Every address of the name must be acceptable, since the peer's DNS chooses which one comes first.
    Raises RouteRefused.
    """
    checked = check_url(url, prefix, opened, schemes=schemes)
    if checked.addresses:
        return checked
    try:
        async with asyncio.timeout(RESOLUTION_WAIT_S):
            found = await (resolve or resolve_host)(checked.host)
    except (OSError, TimeoutError, UnicodeError) as error:
        raise RouteRefused(f"{checked.host} does not resolve: {str(error) or 'no answer in time'}") from None
    addresses = []
    for text in dict.fromkeys(found):
        address = ip_address(text.partition("%")[0])
        try:
            _check_address(address, prefix, opened)
        except RouteRefused as error:
            raise RouteRefused(f"{checked.host} resolves to an address that is refused: {error}") from None
        addresses.append(str(canonical(address)))
    if not addresses:
        raise RouteRefused(f"{checked.host} has no address")
    return PinnedUrl(
        url=checked.url,
        scheme=checked.scheme,
        host=checked.host,
        port=checked.port,
        addresses=tuple(addresses),
    )


async def resolve_host(host: str) -> list[str]:
    """Ask the system for the addresses of a host name. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]
