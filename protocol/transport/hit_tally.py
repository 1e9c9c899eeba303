"""Hits of a stream front end, counted together once in each turn of the event loop."""

import asyncio
from typing import Final

from protocol.transport.base import TransportName, TransportObserver

HOSTS_MAX: Final = 10_000  # addresses counted apart within one turn of the loop
_CODES: Final = slice(20, 28)
_RESOLUTION: Final = b"\0\0\0\1"


class HitTally:
    """Collects hits and tells the observer of them when whatever else is ready has been served."""

    def __init__(self, transport: TransportName, observer: TransportObserver) -> None:
        self._transport = transport
        self._observer = observer
        self._counts: dict[bytes, int] = {}
        self._hosts: dict[str, int] = {}
        self._total = 0
        self._elapsed_s = 0.0
        self._last = b"", b"", ""

    def add(self, request: bytes, response: bytes, host: str, elapsed_s: float) -> None:
        """One cached answer was handed to the transport after elapsed_s; both are whole messages."""
        if not self._total:
            asyncio.get_running_loop().call_soon(self.tell)
        codes = response[_CODES]
        self._counts[codes] = self._counts.get(codes, 0) + 1
        if codes.startswith(_RESOLUTION):
            known = host if host in self._hosts or len(self._hosts) < HOSTS_MAX else ""
            self._hosts[known] = self._hosts.get(known, 0) + 1
            self._last = request, response, host
        self._total += 1
        self._elapsed_s += elapsed_s

    def tell(self) -> None:
        """Tells the observer what was added; each with the mean of their durations."""
        if not self._total:
            return
        counts, hosts, total = self._counts, self._hosts, self._total
        self._counts, self._hosts, self._total = {}, {}, 0
        mean_s, self._elapsed_s = self._elapsed_s / total, 0.0
        self._observer.hits(self._transport, counts, mean_s)
        self._observer.sources(hosts)
        resolutions = sum(hosts.values())
        if resolutions and self._observer.is_sample_due(resolutions):
            self._observer.sampled(self._transport, *self._last)
