"""Which server is asked next, and which addresses are never asked: pure, time is an argument.

Referrals come from strangers. An address in them is used only when it is routable on the Internet in every
spelling, or when the operator opened its network for the prefix that it serves (ARCHITECTURE §3.15).
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from protocol.handle import Handle, Prefix
from protocol.message import OUR_VERSION, Version
from protocol.site import Interface, InterfaceProtocol, Server, Site

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_TARGETS: Final = 16  # interfaces tried for one exchange; a site record may list thousands
MAX_MEASURED_SERVERS: Final = 4_096  # a resolver meets hundreds; the longest unused is forgotten first
SMOOTHING: Final = 0.25  # weight of the newest round trip, twice TCP's since we see few of them
MEASUREMENT_LIFE_S: Final = 600.0  # then a server counts as unknown and is measured again
AVOID_MIN_S: Final = 15.0  # how long a server is asked last after one failure; doubles with each
AVOID_MAX_S: Final = 600.0

_PREFERENCE: Final = {
    InterfaceProtocol.UDP: 0,
    InterfaceProtocol.TCP: 1,
    InterfaceProtocol.HTTP: 2,
    InterfaceProtocol.HTTPS: 3,
}
_CONNECTIONS_FIRST: Final = {
    InterfaceProtocol.TCP: 0,
    InterfaceProtocol.HTTPS: 1,
    InterfaceProtocol.HTTP: 2,
    InterfaceProtocol.UDP: 3,
}

_NOT_ROUTABLE_IPV4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, and the metadata services of clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
"""Source: IANA IPv4 special-purpose address registry; written out because ipaddress changes its mind with versions."""

_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_NOT_ROUTABLE_IPV6: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments; Teredo hides IPv4 addresses
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
    )
)
_IPV4_COMPATIBLE: Final = IPv6Network("::/96")
_SIX_TO_FOUR: Final = IPv6Network("2002::/16")
_NAT64: Final = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A network that is not routable, opened by the operator for a prefix and all below it."""

    network: Network
    prefix: Prefix | None
    """None opens the network for every prefix."""

    def covers(self, address: Address, prefix: Prefix) -> bool:
        """Whether this address may be asked on behalf of the prefix."""
        of_prefix = self.prefix is None or prefix.is_within(self.prefix)
        return of_prefix and address.version == self.network.version and address in self.network


def canonical(address: Address) -> Address:
    """The address that is really spoken to: IPv4 in place of its IPv4-mapped IPv6 spelling."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def is_routable(address: Address, prefix: Prefix | None, openings: Iterable[Opening] = ()) -> bool:
    """Whether a server at this address may be asked on behalf of the prefix.

    prefix: None when the operator named the server himself, as in the root bundle; then every address may.
    """
    if prefix is None:
        return True
    address = canonical(address)
    return is_public(address) or any(opening.covers(address, prefix) for opening in openings)


def is_public(address: Address) -> bool:
    """Whether an address is routable on the Internet, with every IPv4 address that it may hide.

    6to4, NAT64 and IPv4-compatible addresses count as the IPv4 address inside.
    """
    address = canonical(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_ROUTABLE_IPV4)
    if address in _NAT64 or address in _IPV4_COMPATIBLE:
        return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    if address in _SIX_TO_FOUR:
        return is_public(IPv4Address(int(address) >> 80 & 0xFFFF_FFFF))
    return address in _GLOBAL_UNICAST and not any(address in network for network in _NOT_ROUTABLE_IPV6)


def routable_sites(
    sites: Iterable[Site], handle: Handle, prefix: Prefix | None, openings: Iterable[Opening]
) -> tuple[Site, ...]:
    """The sites whose server for the handle may be asked on behalf of the prefix."""
    opened = tuple(openings)
    return tuple(
        site
        for site in sites
        if site.servers and is_routable(site.responsible_server(handle).ip, prefix, opened)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One interface of one server: where a request can be sent."""

    site: Site
    protocol: InterfaceProtocol
    address: str
    """A literal IP address."""
    port: int
    path: str = ""
    """Of the HTTP tunnel."""

    @property
    def version(self) -> Version:
        """The protocol version to write requests in: the site's, at most ours, never the broken 2.5 and 2.6."""
        spoken = min((self.site.protocol_major, self.site.protocol_minor), OUR_VERSION)
        return (2, 4) if spoken in ((2, 5), (2, 6)) else max(spoken, (2, 1))

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port} {self.protocol.name}"


@dataclass(slots=True)
class _Record:
    """What is known of one interface."""

    round_trip_s: float | None = None
    measured_s: float = 0.0
    failures: int = 0
    failing_since_wall_s: float = 0.0
    avoid_until_s: float = 0.0


class ServerHealth:
    """Smoothed round-trip times and failures of servers, by interface; bounded, the longest unused is forgotten."""

    def __init__(self, entries_max: int = MAX_MEASURED_SERVERS) -> None:
        self._records: OrderedDict[tuple[str, int, int], _Record] = OrderedDict()
        self._entries_max = entries_max

    def answered(self, target: Target, elapsed_s: float, now_s: float) -> None:
        """A server answered after elapsed_s: smooth its round-trip time, forget its failures."""
        known_s = self.round_trip_s(target, now_s)
        record = self._record(target)
        record.round_trip_s = elapsed_s if known_s is None else known_s + SMOOTHING * (elapsed_s - known_s)
        record.measured_s = now_s
        record.failures = 0
        record.avoid_until_s = 0.0

    def failed(self, target: Target, now_s: float, wall_s: float) -> None:
        """A server did not answer, or answered nonsense: it is asked last for a while."""
        record = self._record(target)
        if record.failures == 0:
            record.failing_since_wall_s = wall_s
        record.avoid_until_s = now_s + min(AVOID_MAX_S, AVOID_MIN_S * 2 ** min(record.failures, 10))
        record.failures += 1

    def failing_since_wall_s(self, target: Target) -> float | None:
        """Unix seconds of the first failure since the last answer; None when its last answer was good."""
        record = self._records.get(_key(target))
        return record.failing_since_wall_s if record is not None and record.failures else None

    def round_trip_s(self, target: Target, now_s: float) -> float | None:
        """The smoothed round-trip time; None when unknown or out of date."""
        record = self._records.get(_key(target))
        if record is None or now_s - record.measured_s > MEASUREMENT_LIFE_S:
            return None
        return record.round_trip_s

    def is_avoided(self, target: Target, now_s: float) -> bool:
        """Whether the interface failed so lately that others are asked first."""
        record = self._records.get(_key(target))
        return record is not None and now_s < record.avoid_until_s

    def _record(self, target: Target) -> _Record:
        key = _key(target)
        record = self._records.get(key)
        if record is not None:
            self._records.move_to_end(key)
            return record
        record = self._records[key] = _Record()
        while len(self._records) > self._entries_max:
            self._records.popitem(last=False)
        return record


def _key(target: Target) -> tuple[str, int, int]:
    return target.address, target.port, target.protocol


def plan_targets(
    sites: Sequence[Site], handle: Handle, *, primary_only: bool, health: ServerHealth, now_s: float
) -> tuple[Target, ...]:
    """The interfaces to try, best first, at most MAX_TARGETS.

    Those that failed lately come last. UDP of every site comes before TCP of any, and TCP before HTTP, so that a
    silent site costs one time-out before a mirror is asked. Within a protocol unmeasured servers come first, then by
    round-trip time. Source: PROTOCOL.md §6.2, §7.5.
    primary_only: leave out mirrors, unless no site calls itself primary.
    """
    primaries = [site for site in sites if site.primary]
    chosen = primaries if primary_only and primaries else sites
    targets = [target for site in chosen if site.servers for target in site_targets(site, handle)]

    def rank(target: Target) -> tuple[bool, int, float]:
        round_trip_s = health.round_trip_s(target, now_s)
        measured = -1.0 if round_trip_s is None else round_trip_s
        return health.is_avoided(target, now_s), _PREFERENCE[target.protocol], measured

    return tuple(sorted(targets, key=rank)[:MAX_TARGETS])


def site_targets(site: Site, handle: Handle) -> list[Target]:
    """The query interfaces of the site's server for the handle; those with unknown protocols or ports are left out."""
    return _server_targets(site, site.responsible_server(handle), lambda interface: interface.query)


def administration_targets(site: Site, server: Server) -> list[Target]:
    """The interfaces of a server that take administration, best first: connections before datagrams."""
    targets = _server_targets(site, server, lambda interface: interface.admin)
    return sorted(targets, key=lambda target: _CONNECTIONS_FIRST[target.protocol])


def listing_targets(site: Site, server: Server) -> list[Target]:
    """The interfaces of a server over which lists come, best first: no datagram carries one (PROTOCOL.md §4.11)."""
    targets = _server_targets(site, server, lambda interface: interface.query or interface.admin)
    connections = [target for target in targets if target.protocol is not InterfaceProtocol.UDP]
    return sorted(connections, key=lambda target: _CONNECTIONS_FIRST[target.protocol])


def _server_targets(site: Site, server: Server, is_wanted: Callable[[Interface], bool]) -> list[Target]:
    address = str(canonical(server.ip))
    path = (site.attribute(b"path") or b"").decode("ascii", "ignore")
    places = [
        (InterfaceProtocol(interface.protocol), interface.port)
        for interface in server.interfaces
        if is_wanted(interface) and interface.protocol in _PREFERENCE and 0 < interface.port <= 65_535
    ]
    return [
        Target(site=site, protocol=protocol, address=address, port=port, path=path)
        for protocol, port in dict.fromkeys(places)
    ]
