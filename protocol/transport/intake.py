"""Intake: datagrams received until none waits, cached answers sent at once, everything else handed to the owner.

A raw non-blocking socket that is drained at each wake-up; measured, that answers 1.3 times as many requests as datagram
callbacks of the event loop. `_fast.Intake` does the same by the batch (fast_path.py chooses).
"""

import socket
import time
from collections.abc import Mapping
from typing import Any, Final, Protocol

from protocol.message import ENVELOPE_OCTETS
from protocol.packets import PACKET_OCTETS
from protocol.transport.answer_cache import AnswerCache
from protocol.transport.base import Limit
from protocol.transport.source import SourceCheck, Verdict

DATAGRAM_OCTETS_MAX: Final = 65_535
DATAGRAMS_PER_WAKE: Final = 64  # then other sockets have their turn
HOSTS_MAX: Final = 10_000  # addresses whose hits are counted apart until the owner takes the counts
_CODES: Final = slice(ENVELOPE_OCTETS, ENVELOPE_OCTETS + 8)
_RESOLUTION: Final = b"\0\0\0\1"

Address = tuple[Any, ...]
"""Host, port, and whatever the kernel needs beside to send there."""


class IntakeOwner(Protocol):
    """Takes what the intake does not answer, and counts what it does."""

    def miss(self, octets: bytes, address: Address, now_s: float, /) -> None:
        """A datagram of an admitted sender that the cache does not answer."""

    def long_hit(self, request: bytes, response: bytes, address: Address, now_s: float, /) -> None:
        """A cached answer that does not fit one packet, or whose request came from port 0; not sent yet."""

    def over_limit(self, octets: bytes, address: Address, now_s: float, /) -> None:
        """A datagram of a network over its limit that shall be told so."""

    def limited(self, name: Limit, count: int, /) -> None:
        """So many datagrams met a limit."""

    def hits(self, counts: Mapping[bytes, int], elapsed_s: float, /) -> None:
        """Cached answers were sent; see TransportObserver."""

    def is_sample_due(self, count: int, /) -> bool:
        """So many resolutions were among the hits; whether one of them is to be sampled."""

    def sampled(self, request: bytes, response: bytes, host: str, /) -> None:
        """The one that is."""


class DatagramIntake(Protocol):
    """What both paths offer."""

    def drain(self) -> None:
        """Takes what waits in the socket, a bounded number; to be called when it is readable."""

    def send(self, octets: bytes, address: Address, /) -> bool:
        """Notes a datagram down for flush(); whether the caller has to see to it that flush() is called soon.

        address: as it was given with what came from there.
        """

    def flush(self) -> int:
        """Sends what was noted down; how many the kernel did not take, which are lost."""

    def take_sources(self) -> dict[str, int]:
        """How many resolutions among the hits came from which addresses since the last call."""


class Intake:
    """The intake in pure Python; see DatagramIntake."""

    def __init__(
        self,
        opened: socket.socket,
        *,
        source: SourceCheck,
        cache: AnswerCache | None,
        owner: IntakeOwner,
    ) -> None:
        """opened: bound and non-blocking; it stays the caller's."""
        self._receive, self._send = opened.recvfrom, opened.sendto
        self._source = source
        self._look_up = _nothing if cache is None else cache.get
        self._owner = owner
        self._waiting: list[tuple[bytes, Address]] = []
        self._hosts: dict[str, int] = {}

    def drain(self) -> None:
        """See DatagramIntake. Everything that is needed for each datagram is at hand: this is the hot loop."""
        now_s, wall_s = time.monotonic(), time.time()
        receive, send, check, look_up = self._receive, self._send, self._source.check, self._look_up
        counts: dict[bytes, int] = {}
        host, run = "", 0
        last = None
        try:
            for _ in range(DATAGRAMS_PER_WAKE):
                try:
                    octets, address = receive(DATAGRAM_OCTETS_MAX)
                except BlockingIOError:
                    break
                except OSError:  # an earlier answer did not arrive, which is its client's affair
                    continue
                verdict = check(address[0], now_s)
                if verdict is not Verdict.ADMIT:
                    self._over_limit(octets, address, verdict, now_s)
                    continue
                response = look_up(octets, now_s, wall_s)
                if response is None:
                    self._owner.miss(octets, address, now_s)
                    continue
                if len(response) > PACKET_OCTETS or not address[1]:
                    self._owner.long_hit(octets, response, address, now_s)
                    continue
                try:
                    send(response, address)
                except OSError as error:
                    self._not_sent(error)
                codes = response[_CODES]
                counts[codes] = counts.get(codes, 0) + 1
                if address[0] != host:
                    self._count(host, run)
                    host, run = address[0], 0
                if codes.startswith(_RESOLUTION):
                    run += 1
                    last = octets, response, host
        finally:  # an owner that failed is told of what was answered before
            if counts:
                self._count(host, run)
                self._tell(counts, last, time.monotonic() - now_s)

    def send(self, octets: bytes, address: Address) -> bool:
        """See DatagramIntake."""
        self._waiting.append((octets, address))
        return len(self._waiting) == 1

    def flush(self) -> int:
        """See DatagramIntake."""
        waiting, self._waiting = self._waiting, []
        lost = 0
        for octets, address in waiting:
            try:
                self._send(octets, address)
            except BlockingIOError:
                lost += 1
            except OSError:  # no way there: nobody would have heard it
                continue
        return lost

    def take_sources(self) -> dict[str, int]:
        """See DatagramIntake."""
        hosts, self._hosts = self._hosts, {}
        return hosts

    def _not_sent(self, error: OSError) -> None:
        if isinstance(error, BlockingIOError):
            self._owner.limited("send_buffer", 1)

    def _count(self, host: str, hits: int) -> None:
        if hits:
            known = host if host in self._hosts or len(self._hosts) < HOSTS_MAX else ""
            self._hosts[known] = self._hosts.get(known, 0) + hits

    def _over_limit(self, octets: bytes, address: Address, verdict: Verdict, now_s: float) -> None:
        try:
            self._owner.limited("source_refused" if verdict is Verdict.REFUSED else "source_rate", 1)
        finally:
            if verdict is Verdict.LIMITED:
                self._owner.over_limit(octets, address, now_s)

    def _tell(
        self, counts: dict[bytes, int], last: tuple[bytes, bytes, str] | None, elapsed_s: float
    ) -> None:
        self._owner.hits(counts, elapsed_s)
        if last is None:
            return
        resolutions = sum(count for codes, count in counts.items() if codes.startswith(_RESOLUTION))
        if self._owner.is_sample_due(resolutions):
            self._owner.sampled(*last)


def _nothing(request: bytes, now_s: float, wall_s: float) -> None:
    """The look-up without a cache."""
