"""An intake on a real socket, with an owner that writes down what it was told, and clients that are sockets too."""

import select
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from protocol.transport.answer_cache import AnswerCache
from protocol.transport.base import Limit
from protocol.transport.fast_path import FastPath
from protocol.transport.intake import Address
from protocol.transport.sockets import open_udp
from protocol.transport.source import SourceCheck
from tests.support.datagrams import answer_for, recorded_requests

OCTETS_MAX = 8 * 1_048_576
DRAINS_MAX = 10_000


@dataclass
class Owner:
    """See IntakeOwner. `raises` names the methods that fail."""

    raises: set[str] = field(default_factory=set)
    sample_every: int = 0
    misses: list[tuple[bytes, str]] = field(default_factory=list)
    long_hits: list[tuple[bytes, bytes, str]] = field(default_factory=list)
    told: list[tuple[bytes, str]] = field(default_factory=list)
    """Those over the limit that shall be told so."""
    limits: dict[str, int] = field(default_factory=dict)
    codes: dict[bytes, int] = field(default_factory=dict)
    samples: list[tuple[bytes, bytes, str]] = field(default_factory=list)
    unsampled: int = 0

    def _fail(self, name: str) -> None:
        if name in self.raises:
            raise RuntimeError(name)

    def miss(self, octets: bytes, address: Address, now_s: float, /) -> None:
        self.misses.append((octets, address[0]))
        self._fail("miss")

    def long_hit(self, request: bytes, response: bytes, address: Address, now_s: float, /) -> None:
        self.long_hits.append((request, response, address[0]))
        self._fail("long_hit")

    def over_limit(self, octets: bytes, address: Address, now_s: float, /) -> None:
        self.told.append((octets, address[0]))
        self._fail("over_limit")

    def limited(self, name: Limit, count: int, /) -> None:
        self.limits[name] = self.limits.get(name, 0) + count
        self._fail("limited")

    def hits(self, counts: Mapping[bytes, int], elapsed_s: float, /) -> None:
        assert elapsed_s >= 0
        for codes, count in counts.items():
            self.codes[codes] = self.codes.get(codes, 0) + count
        self._fail("hits")

    def is_sample_due(self, count: int, /) -> bool:
        self._fail("is_sample_due")
        self.unsampled += count
        return bool(self.sample_every) and self.unsampled >= self.sample_every

    def sampled(self, request: bytes, response: bytes, host: str, /) -> None:
        self.unsampled = 0
        self.samples.append((request, response, host))
        self._fail("sampled")

    @property
    def seen(self) -> int:
        """Datagrams accounted for."""
        limited = self.limits.get("source_refused", 0) + self.limits.get("source_rate", 0)
        return len(self.misses) + len(self.long_hits) + limited + sum(self.codes.values())


class Bench:
    """An intake that is drained by hand. Close it, or use it as a context."""

    def __init__(
        self,
        path: FastPath,
        *,
        host: str = "127.0.0.1",
        source: SourceCheck | None = None,
        cache: AnswerCache | None = None,
        owner: Owner | None = None,
    ) -> None:
        self.owner = owner or Owner()
        self.cache = path.answer_table(octets_max=OCTETS_MAX) if cache is None else cache
        self.socket = open_udp(host, 0)
        self.intake = path.intake(
            self.socket, source=source or SourceCheck(), cache=self.cache, owner=self.owner
        )
        self.address: Any = self.socket.getsockname()
        self.clients: dict[str, socket.socket] = {}
        self.sent = 0

    def __enter__(self) -> "Bench":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        for client in self.clients.values():
            client.close()

    def client(self, host: str) -> socket.socket:
        """The socket of a client with this address."""
        if host not in self.clients:
            made = open_udp(host, 0)
            made.connect(self.address)
            self.clients[host] = made
        return self.clients[host]

    def send(self, octets: bytes, host: str = "127.0.0.1") -> None:
        """Send a datagram from this host; drain before the socket's buffer is full."""
        self.client(host).send(octets)
        self.sent += 1

    def drain(self) -> list[BaseException]:
        """Work on everything that was sent, and give what was raised meanwhile."""
        raised: list[BaseException] = []
        for _ in range(DRAINS_MAX):
            if not select.select([self.socket], [], [], 0)[0]:
                return raised
            try:
                self.intake.drain()
            except Exception as error:
                raised.append(error)
        raise AssertionError("it does not end")

    def answers(self, host: str = "127.0.0.1") -> list[bytes]:
        """What came back to this host; on loopback it is there when the call that sends it returns."""
        received = []
        while True:
            try:
                received.append(self.client(host).recv(65_535))
            except BlockingIOError:
                return received


def later() -> float:
    """A monotonic time that no test reaches."""
    return time.monotonic() + 10_000


def fed(bench: Bench, datagrams: list[bytes], hosts: list[str], at_once: int) -> dict[str, list[bytes]]:
    """Send datagrams from the hosts in turn; what came back to each, without the expiration."""
    received: dict[str, list[bytes]] = {host: [] for host in hosts}
    for number, octets in enumerate(datagrams):
        bench.send(octets, hosts[number % len(hosts)])
        if number % at_once == at_once - 1 or len(octets) > 2_000:
            assert not bench.drain()
            for host in hosts:
                received[host] += [answer[:36] + answer[40:] for answer in bench.answers(host)]
    assert not bench.drain()
    for host in hosts:
        received[host] += [answer[:36] + answer[40:] for answer in bench.answers(host)]
    return received


def fill(bench: Bench) -> None:
    """Put an answer to each recorded request that may be kept, short and long by turns."""
    for number, octets in enumerate(recorded_requests()):
        bench.cache.put(octets, answer_for(octets, bytes(number % 5 * 140)), later())
