"""The source check in front of every listener: access lists, and one token bucket per source network.

A check is a dictionary look-up and an addition in a bucket (buckets.py).
"""

import ipaddress
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from typing import Final

from protocol.transport.buckets import FULL, OVER, PACKETS, Buckets

ENTRIES_MAX: Final = 65_536  # hosts remembered; about 15 MB when full of forged addresses
ANSWER_EVERY: Final = 4  # datagrams over the limit for each that is told RC 2: more would amplify a flood
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


NO_BUCKET: Final = -1


class _Source:
    """What is known of one host: whether it may ask at all, and where the bucket stands that it draws from."""

    __slots__ = ("network", "tag", "verdict", "way")

    def __init__(self, verdict: "Verdict", network: str = "") -> None:
        """network: what shares its bucket, which may change the verdict; empty for a host without one."""
        self.verdict = verdict
        self.network = network
        self.way, self.tag = NO_BUCKET, 0


class SourceCheck:
    """Decides by source address, without a clock of its own.

    allow: networks that may ask, empty for all. deny: networks that may not, even when allowed. unlimited: networks
    without a bucket. rate_per_s: tokens that a network gains per second, 0 for no limit; burst: tokens that it may
    save up. Networks are written as CIDR; ValueError for anything else. buckets: shared with whom; None for nobody.
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
        buckets: Buckets | None = None,
    ) -> None:
        assert burst >= 1
        assert rate_per_s >= 0
        assert entries_max >= 1
        self._allow = parse_networks(allow)
        self._deny = parse_networks(deny)
        self._unlimited = parse_networks(unlimited)
        self.token_s = 1 / rate_per_s if rate_per_s else 0.0
        """Seconds that it takes to gain a token; 0 without a limit."""
        self.tolerance_s = (burst - 1 + _ROUNDING) * self.token_s
        """How far ahead of now the time may be at which a bucket is full again."""
        self._entries_max = entries_max
        self._sources: dict[str, _Source] = {}
        self.buckets = buckets or Buckets()
        self._words, self._times = self.buckets.words, self.buckets.times

    def check(self, host: str, now_s: float) -> Verdict:
        """Takes one token for a request of this host. now_s: monotonic."""
        source = self._sources.get(host) or self._learn(host)
        way = source.way
        if way == NO_BUCKET:
            if not source.network:
                return source.verdict
            way = self._way(source, now_s)
        elif self._words[way] != source.tag:
            way = self._way(source, now_s)
        full_s = self._times[way + FULL]
        if full_s <= now_s:
            self._times[way + FULL] = now_s + self.token_s
            return Verdict.ADMIT
        if full_s - now_s <= self.tolerance_s:
            self._times[way + FULL] = full_s + self.token_s
            return Verdict.ADMIT
        return self.over(way)

    def over(self, way: int) -> Verdict:
        """What becomes of a request for which the bucket at this place has no token."""
        words = self._words
        words[way + OVER] = over = (words[way + OVER] + 1) % ANSWER_EVERY
        return Verdict.LIMITED_SILENT if over else Verdict.LIMITED

    def may_send(self, host: str, packets: int, now_s: float) -> bool:
        """Takes tokens for the packets of a long answer to this host; False, and none taken, when none is left.

        A request may be forged, and one of a hundred octets can ask for a quarter of a megabyte. These tokens are
        apart from those of requests, at the same rate, so that such forgeries do not cost a network its requests.
        """
        source = self._sources.get(host) or self._learn(host)
        if not source.network:
            return True
        times, full = self._times, self._way(source, now_s) + PACKETS
        full_s = max(times[full], now_s)
        if full_s - now_s > self.tolerance_s:
            return False
        times[full] = full_s + packets * self.token_s
        return True

    def is_refused(self, host: str, now_s: float) -> bool:
        """Whether the access lists refuse this host; takes no token."""
        return (self._sources.get(host) or self._learn(host)).verdict is Verdict.REFUSED

    def retry_after_s(self, host: str, now_s: float) -> float:
        """Seconds until this host's network has a token again; 0 when it has one."""
        source = self._sources.get(host) or self._learn(host)
        if not source.network:
            return 0.0
        return max(0.0, self._times[self._way(source, now_s) + FULL] - self.tolerance_s - now_s)

    def place(self, host: str, now_s: float) -> tuple[bool, int, int]:
        """For a path that remembers hosts itself: whether one is refused, where its bucket stands, and its tag.

        The place is NO_BUCKET for a host without a limit, and counts while the tag stands there.
        """
        source = self._sources.get(host) or self._learn(host)
        if source.network:
            self._way(source, now_s)
        return source.verdict is Verdict.REFUSED, source.way, source.tag

    def _way(self, source: _Source, now_s: float) -> int:
        if source.way == NO_BUCKET or self._words[source.way] != source.tag:
            source.way, source.tag = self.buckets.find(source.network, now_s)
        return source.way

    def _learn(self, host: str) -> _Source:
        address = _parse_address(host)
        if address is None or self._is_denied(address):
            source = _Source(Verdict.REFUSED)
        elif not self.token_s or _is_in(address, self._unlimited):
            source = _Source(Verdict.ADMIT)
        else:
            source = _Source(Verdict.ADMIT, source_network(host))
        if len(self._sources) >= self._entries_max:
            self._sources.pop(next(iter(self._sources)))
        self._sources[host] = source
        return source

    def _is_denied(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        return _is_in(address, self._deny) or bool(self._allow and not _is_in(address, self._allow))


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
