"""Counts what the front ends do: every answer in the metrics, and resolutions in the counters of the day."""

import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Protocol

from protocol.codes import OpCode
from protocol.message import ENVELOPE_OCTETS
from protocol.runtime.day_counters import OTHER_SOURCES, DayCounters, Outcome, outcome_of_code
from protocol.runtime.metrics import HTTP_CACHE, AnswerCells, NodeMetrics
from protocol.runtime.sampling import QuerySampler
from protocol.transport.base import TransportName
from protocol.transport.http_cache import Kind, LastHit
from protocol.transport.source import source_network

KINDS_MAX: Final = 1_024  # transports by operations by codes by outcomes
_CODES: Final = slice(ENVELOPE_OCTETS, ENVELOPE_OCTETS + 8)  # operation and response code begin the header


class AnswerObserver(Protocol):
    """Told of every HTTP answer that the cache did not give."""

    def __call__(
        self, op_code: int, code: int, outcome: str, elapsed_s: float, /, *, host: str, target: str
    ) -> None:
        """op_code: 0 for a page of our own. host: the client's address. target: of the request line."""


class _Kind(NamedTuple):
    """Where the answers of one kind are counted."""

    cells: AnswerCells
    of_day: Outcome | None
    """What the day counts; None for what is no resolution."""


class TrafficObserver:
    """The TransportObserver of a node, and its AnswerObserver; quick, and never raises."""

    def __init__(
        self,
        metrics: NodeMetrics,
        counters: DayCounters,
        *,
        sampler: QuerySampler | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """counters: those of the day. sampler: None samples nothing."""
        self._metrics = metrics
        self._counters = counters
        self._wall_clock = wall_clock
        self._kinds: dict[tuple[str, bytes, str], _Kind] = {}
        self.sampler = sampler
        self.limit_reached = metrics.limit_reached
        self.undecodable = metrics.undecodable

    def answered(
        self,
        transport: TransportName,
        request_octets: bytes,
        response_octets: bytes,
        outcome: str,
        elapsed_s: float,
        *,
        host: str,
    ) -> None:
        """Count the answer to a Handle message, which was looked up in the answer cache first."""
        kind = self._kinds.get((transport, response_octets[_CODES], outcome)) or self._new_kind(
            transport, response_octets[_CODES], outcome
        )
        kind.cells.count(elapsed_s)
        if kind.of_day is None:
            return
        self._counters.record(self._wall_clock(), kind.of_day, elapsed_s, source_network(host))
        if self.sampler is not None and self.sampler.is_due(1):
            self.sampler.sample(transport, request_octets, response_octets, outcome, host)

    def hits(self, transport: TransportName, counts: Mapping[bytes, int], elapsed_s: float) -> None:
        """Count answers that came from the cache together; see TransportObserver."""
        wall_s = self._wall_clock()
        for codes, count in counts.items():
            kind = self._kinds.get((transport, codes, "hit")) or self._new_kind(transport, codes, "hit")
            kind.cells.count(elapsed_s, count)
            if kind.of_day is not None:
                self._counters.record_many(wall_s, kind.of_day, elapsed_s, count)

    def _new_kind(self, transport: TransportName, codes: bytes, outcome: str) -> _Kind:
        op_code, code = int.from_bytes(codes[:4], "big"), int.from_bytes(codes[4:], "big")
        cells = self._metrics.cells_of(transport, op_code, code, outcome, cached=True)
        kind = _Kind(cells, outcome_of_code(code) if op_code == OpCode.RESOLUTION else None)
        if len(self._kinds) < KINDS_MAX:
            self._kinds[transport, codes, outcome] = kind
        return kind

    def is_sample_due(self, count: int) -> bool:
        """Whether one of so many hits is to be sampled."""
        return self.sampler is not None and self.sampler.is_due(count)

    def sampled(self, transport: TransportName, request: bytes, response: bytes, host: str) -> None:
        """Log the one that is."""
        assert self.sampler is not None
        self.sampler.sample(transport, request, response, "hit", host)

    def sources(self, counts: Mapping[str, int]) -> None:
        """Count the clients of these answers; see TransportObserver."""
        networks = (
            (source_network(host) if host else OTHER_SOURCES, count) for host, count in counts.items()
        )
        self._counters.record_sources(self._wall_clock(), networks)

    def _resolved(self, code: int, elapsed_s: float, host: str) -> None:
        self._counters.record(self._wall_clock(), outcome_of_code(code), elapsed_s, source_network(host))

    def http_looked_up(
        self,
        hits: Mapping[Kind, int],
        misses: int,
        hosts: Mapping[str, int],
        elapsed_s: float,
        last: LastHit | None,
    ) -> None:
        """Count HTTP answers that came from their cache, and requests that it did not hold; see HttpCacheObserver."""
        wall_s = self._wall_clock()
        for (op_code, code), count in hits.items():
            self._metrics.answered("http", op_code, code, "hit", elapsed_s, cached=False, count=count)
            self._metrics.looked_up(HTTP_CACHE, "memory", hit=True, count=count)
            if op_code == OpCode.RESOLUTION:
                self._counters.record_many(wall_s, outcome_of_code(code), elapsed_s, count)
        if misses:
            self._metrics.looked_up(HTTP_CACHE, "memory", hit=False, count=misses)
        self.sources(hosts)
        if last is not None and self.is_sample_due(sum(hosts.values())):
            assert self.sampler is not None
            target = last.line.split(b" ")[1].decode("utf-8", "surrogateescape")
            self.sampler.sample_http(target, last.code, "hit", last.host)

    def answered_http(
        self, op_code: int, code: int, outcome: str, elapsed_s: float, *, host: str, target: str
    ) -> None:
        """Count an answer of the HTTP interface; see AnswerObserver."""
        self._metrics.answered("http", op_code, code, outcome, elapsed_s, cached=False)
        if op_code == OpCode.RESOLUTION:
            self._resolved(code, elapsed_s, host)
            if self.is_sample_due(1):
                assert self.sampler is not None
                self.sampler.sample_http(target, code, outcome, host)
