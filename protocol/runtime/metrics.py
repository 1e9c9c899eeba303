"""What the metrics of both daemons share, so that a name, a label and a bucket mean the same at every node."""

import asyncio
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from protocol.codes import REFERRALS, ResponseCode, op_name, rc_name
from protocol.runtime import build
from protocol.runtime.tallies import Cell, DurationCell, TallyCounter, TallyHistogram
from protocol.transport.fast_path import FAST_PATH

DURATION_BUCKETS_S: Final = [0.000_062_5 * 2**step for step in range(18)]  # 62.5 microseconds to 8 seconds
LABELS_REMEMBERED: Final = 4_096  # transports by operations by codes; finding a child takes a microsecond
ANSWER_CACHE: Final = "answers"
HTTP_CACHE: Final = "http"
_SHED: Final = frozenset({ResponseCode.SERVER_TOO_BUSY, ResponseCode.SERVER_BACKUP})
_ERRORS: Final = frozenset({ResponseCode.ERROR, ResponseCode.PROTOCOL_ERROR, ResponseCode.RECURSION_LIMIT})


def outcome_of(code: int, told: str) -> str:
    """The label `outcome` of an answer: hit, miss, stale, denied, referral, error or shed.

    told: the front end's word; it decides between hit, stale and miss, and where nothing was worked on.
    """
    if told == "shed" or code in _SHED:
        return "shed"
    if code == ResponseCode.SUCCESS:
        return told if told in ("hit", "stale") else "miss"
    if code in REFERRALS:
        return "referral"
    return "error" if code in _ERRORS else "denied"


class AnswerCells:
    """Where answers of one kind are counted."""

    __slots__ = ("_duration", "_lookups", "_requests")

    def __init__(self, requests: Cell, duration: DurationCell, lookups: Cell | None) -> None:
        """lookups: None when the answer cache was not asked."""
        self._requests = requests
        self._duration = duration
        self._lookups = lookups or Cell()

    def count(self, elapsed_s: float, count: int = 1) -> None:
        """Count answers, each of which took elapsed_s."""
        self._requests.value += count
        self._duration.observe(elapsed_s, count)
        self._lookups.value += count


class UdpDrops(Collector):
    """How many datagrams the kernel dropped before anybody read them: its counter, under the name of a Counter."""

    def __init__(self, count: Callable[[], int]) -> None:
        """count: asked at each collection."""
        self._count = count

    def collect(self) -> Iterable[CounterMetricFamily]:
        """See Collector."""
        yield CounterMetricFamily(
            "handlegrid_udp_socket_drops_total",
            "Datagrams that the kernel dropped since a socket's buffer was full.",
            value=self._count(),
        )


class ProcessMetrics(Collector):
    """What runs in this process, and how many datagrams the kernel dropped before it could read them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Add the collectors; started() fills them, each time that a node starts."""
        self._drops: UdpDrops | None = None
        self._build = Gauge(
            "handlegrid_build_info",
            "Always 1; what runs is in the labels.",
            ["version", "commit", "loop", "fast_path"],
            registry=registry,
        )
        registry.register(self)

    def started(self, udp_drops: Callable[[], int]) -> None:
        """Tell about a node on the running loop. udp_drops: asked at each collection, such as Listeners.udp_drops."""
        loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
        self._build.labels(build.version(), build.commit(), loop, FAST_PATH.name).set(1)
        self._drops = UdpDrops(udp_drops)

    def collect(self) -> Iterable[CounterMetricFamily]:
        """Nothing before the start."""
        return () if self._drops is None else self._drops.collect()


class Settling(Collector):
    """Has no metrics of its own, and sees to it that those of others are complete."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def collect(self) -> Iterable[CounterMetricFamily]:
        """Nothing, after the calls."""
        for call in self.calls:
            call()
        return ()


class NodeMetrics:
    """What every node tells, in a registry of its own, so that several nodes fit into one process.

    Labels come from closed sets, never a handle, never a peer; units are seconds and octets.
    """

    def __init__(self, role: str) -> None:
        """role: the label of who answers."""
        self.registry = CollectorRegistry()
        self._settling = Settling()
        self.registry.register(self._settling)  # the first, so that it is asked before those that it fills
        self.before_collecting = self._settling.calls.append
        """Takes what is called whenever metrics are collected, to count what was gathered elsewhere until then."""
        self.event_loop_lag = Gauge(
            "handlegrid_event_loop_lag_seconds",
            "How late the event loop woke a timer at the last probe.",
            registry=self.registry,
        )
        self.process = ProcessMetrics(self.registry)
        self._role = role
        self._answer_metrics()
        self._cache_metrics()
        self.cells_of = lru_cache(LABELS_REMEMBERED)(self._make_cells)
        """Where answers of one kind are counted; the arguments of answered()."""
        self._lookup_cell = lru_cache(LABELS_REMEMBERED)(self._make_lookup_cell)

    def _answer_metrics(self) -> None:
        self._requests = TallyCounter(
            "handlegrid_requests_total",
            "Requests answered.",
            ["role", "transport", "op", "rc"],
            registry=self.registry,
        )
        self._duration = TallyHistogram(
            "handlegrid_request_duration_seconds",
            "First octet read to last written.",
            ["role", "outcome"],
            buckets=DURATION_BUCKETS_S,
            registry=self.registry,
        )
        self._limits = TallyCounter(
            "handlegrid_limit_reached_total",
            "Requests and connections that met a named limit.",
            ["limit"],
            registry=self.registry,
        )
        self._signatures = TallyCounter(
            "handlegrid_signatures_total",
            "Requests for a signed answer.",
            ["result"],
            registry=self.registry,
        )

    def _cache_metrics(self) -> None:
        self._lookups = TallyCounter(
            "handlegrid_cache_lookups_total",
            "Look-ups in a cache.",
            ["cache", "tier", "result"],
            registry=self.registry,
        )
        self._entries = Gauge(
            "handlegrid_cache_entries", "Entries held.", ["cache", "tier"], registry=self.registry
        )
        self._octets = Gauge(
            "handlegrid_cache_bytes", "Octets held.", ["cache", "tier"], registry=self.registry
        )

    def answered(
        self,
        transport: str,
        op_code: int,
        code: int,
        told: str,
        elapsed_s: float,
        *,
        cached: bool,
        count: int = 1,
    ) -> None:
        """Count answers of one kind, each of which took elapsed_s.

        told: the front end's word for the outcome. cached: whether the answer cache was asked first.
        """
        self.cells_of(transport, op_code, code, told, cached=cached).count(elapsed_s, count)

    def requests(self) -> int:
        """How many answers were counted since the start."""
        return self._requests.total()

    def _make_cells(self, transport: str, op_code: int, code: int, told: str, *, cached: bool) -> AnswerCells:
        requests = self._requests.cell(self._role, transport, op_name(op_code), rc_name(code))
        duration = self._duration.cell(self._role, outcome_of(code, told))
        looked_up = cached and told in {"hit", "miss"}
        lookups = self._lookup_cell(ANSWER_CACHE, "memory", told == "hit") if looked_up else None
        return AnswerCells(requests, duration, lookups)

    def _make_lookup_cell(self, cache: str, tier: str, hit: bool) -> Cell:
        return self._lookups.cell(cache, tier, "hit" if hit else "miss")

    def undecodable(self, transport: str) -> None:
        """Octets that are no request were dropped or refused."""
        self._requests.cell(
            self._role, transport, op_name(0), rc_name(ResponseCode.PROTOCOL_ERROR)
        ).value += 1

    def limit_reached(self, name: str, count: int = 1) -> None:
        """A named limit refused work so many times."""
        self._limits.cell(name).value += count

    def signature(self, result: str) -> None:
        """Count a request for a signed answer; see SigningObserver."""
        self._signatures.cell(result).value += 1

    def looked_up(self, cache: str, tier: str, *, hit: bool, count: int = 1) -> None:
        """Count look-ups with one result; tier: memory or redis."""
        self._lookup_cell(cache, tier, hit).value += count

    def watch_cache(self, cache: str, entries: Callable[[], float], octets: Callable[[], float]) -> None:
        """Read the size of a cache in memory whenever metrics are collected."""
        self._entries.labels(cache, "memory").set_function(entries)
        self._octets.labels(cache, "memory").set_function(octets)
