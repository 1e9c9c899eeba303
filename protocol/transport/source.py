"""The source check in front of every listener: access lists, and one token bucket per source network.

A bucket is kept as one number, the time at which it would be full again (the generic cell rate algorithm), so that a
check is a dictionary look-up and an addition.
"""

import ipaddress
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from typing import Final

ENTRIES_MAX: Final = 65_536  # sources and networks remembered; about 20 MB when full of forged addresses
ANSWER_EVERY: Final = 4  # datagrams over the limit for each that is told RC 2: more would amplify a flood
_PROBES_MAX: Final = 8  # busy buckets passed over to make room: forged sources cannot reset a busy one
_ROUNDING: Final = 0.001  # of a token: sums of floats must not cost a whole one
_IPV4_PREFIX: Final = 24
_IPV6_PREFIX: Final = 56

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Verdict(Enum):
    """What becomes of a request, judged by its source alone."""

    ADMIT = "admit"
    LIMITED = "limited"
    """Too many: say so (RC 2, HTTP 429)."""
    LIMITED_SILENT = "limited_silent"
    """Too many: say nothing where silence is possible."""
    REFUSED = "refused"
    """On no account: silence, a closed connection, HTTP 403."""


class _Bucket:
    __slots__ = ("full_s", "over", "packets_full_s")

    def __init__(self, now_s: float) -> None:
        self.full_s = now_s
        self.packets_full_s = now_s
        self.over = 0


class _Source:
    """What is known of one host: whether it may ask at all, and whose bucket it draws from."""

    __slots__ = ("bucket", "refused")

    def __init__(self, *, refused: bool, bucket: _Bucket | None) -> None:
        self.refused = refused
        self.bucket = bucket


class SourceCheck:
    """Decides by source address, without a clock of its own.

    allow: networks that may ask, empty for all. deny: networks that may not, even when allowed. unlimited: networks
    without a bucket. rate_per_s: tokens that a network gains per second, 0 for no limit; burst: tokens that it may
    save up. Networks are written as CIDR; ValueError for anything else.
    """

    def __init__(
        self,
        *,
        allow: Iterable[str] = (),
        deny: Iterable[str] = (),
        rate_per_s: float = 0,
        burst: float = 1,
        unlimited: Iterable[str] = (),
        entries_max: int = ENTRIES_MAX,
    ) -> None:
        assert burst >= 1
        assert rate_per_s >= 0
        assert entries_max >= 1
        self._allow = parse_networks(allow)
        self._deny = parse_networks(deny)
        self._unlimited = parse_networks(unlimited)
        self._token_s = 1 / rate_per_s if rate_per_s else 0.0
        self._tolerance_s = (burst - 1 + _ROUNDING) * self._token_s
        self._entries_max = entries_max
        self._sources: dict[str, _Source] = {}
        self._buckets: dict[str, _Bucket] = {}

    def check(self, host: str, now_s: float) -> Verdict:
        """Takes one token for a request of this host. now_s: monotonic."""
        source = self._sources.get(host) or self._learn(host, now_s)
        bucket = source.bucket
        if bucket is None:
            return Verdict.REFUSED if source.refused else Verdict.ADMIT
        full_s = max(bucket.full_s, now_s)
        if full_s - now_s <= self._tolerance_s:
            bucket.full_s = full_s + self._token_s
            return Verdict.ADMIT
        bucket.over += 1
        return Verdict.LIMITED_SILENT if bucket.over % ANSWER_EVERY else Verdict.LIMITED

    def may_send(self, host: str, packets: int, now_s: float) -> bool:
        """Takes tokens for the packets of a long answer to this host; False, and none taken, when none is left.

        A request may be forged, and one of a hundred octets can ask for a quarter of a megabyte. These tokens are
        apart from those of requests, at the same rate, so that such forgeries do not cost a network its requests.
        """
        bucket = (self._sources.get(host) or self._learn(host, now_s)).bucket
        if bucket is None:
            return True
        full_s = max(bucket.packets_full_s, now_s)
        if full_s - now_s > self._tolerance_s:
            return False
        bucket.packets_full_s = full_s + packets * self._token_s
        return True

    def is_refused(self, host: str, now_s: float) -> bool:
        """Whether the access lists refuse this host; takes no token."""
        return (self._sources.get(host) or self._learn(host, now_s)).refused

    def retry_after_s(self, host: str, now_s: float) -> float:
        """Seconds until this host's network has a token again; 0 when it has one."""
        bucket = (self._sources.get(host) or self._learn(host, now_s)).bucket
        return 0.0 if bucket is None else max(0.0, bucket.full_s - self._tolerance_s - now_s)

    def _learn(self, host: str, now_s: float) -> _Source:
        address = _parse_address(host)
        if address is None or self._is_denied(address):
            source = _Source(refused=True, bucket=None)
        elif not self._token_s or _is_in(address, self._unlimited):
            source = _Source(refused=False, bucket=None)
        else:
            source = _Source(refused=False, bucket=self._bucket(source_network(host), now_s))
        if len(self._sources) >= self._entries_max:
            self._sources.pop(next(iter(self._sources)))
        self._sources[host] = source
        return source

    def _is_denied(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        return _is_in(address, self._deny) or bool(self._allow and not _is_in(address, self._allow))

    def _bucket(self, network: str, now_s: float) -> _Bucket:
        bucket = self._buckets.get(network)
        if bucket is None:
            if len(self._buckets) >= self._entries_max:
                self._make_room(now_s)
            bucket = self._buckets[network] = _Bucket(now_s)
        return bucket

    def _make_room(self, now_s: float) -> None:
        """Forgets the oldest bucket that is full again, or else simply the oldest."""
        for _ in range(_PROBES_MAX):
            network, bucket = next(iter(self._buckets.items()))
            del self._buckets[network]
            if bucket.full_s <= now_s:
                return
            self._buckets[network] = bucket
        del self._buckets[next(iter(self._buckets))]


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """The networks that texts name, as CIDR or single addresses. ValueError names the first that is neither."""
    return tuple(ipaddress.ip_network(text) for text in texts)


@lru_cache(maxsize=ENTRIES_MAX)
def source_network(host: str) -> str:
    """The network whose bucket and connection count a host shares: IPv4 /24, IPv6 /56, as CIDR.

    An IPv4 address written as IPv6 counts as IPv4; text that is no address is a network of its own.
    """
    address = _parse_address(host)
    if address is None:
        return host
    prefix = _IPV4_PREFIX if address.version == 4 else _IPV6_PREFIX
    return str(ipaddress.ip_network((address, prefix), strict=False))


def _parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if address.version == 6 and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_in(address: ipaddress.IPv4Address | ipaddress.IPv6Address, networks: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
