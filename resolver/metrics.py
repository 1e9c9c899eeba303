"""Every metric of a recursive node, in one place. Labels come from closed sets; never a handle, never a peer."""

from collections.abc import Callable
from functools import lru_cache
from math import nan
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from protocol.codes import ResponseCode, op_name, rc_name
from protocol.runtime.metrics import DURATION_BUCKETS_S, SocketDrops, outcome_of

ROLE: Final = "resolver"
LABELS_REMEMBERED: Final = 4_096  # transports by operations by codes; finding a child takes a microsecond


class Metrics:
    """The node's collectors, in a registry of their own, so that several nodes fit into one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._answers()
        self._caches()
        self._outside()
        self.event_loop_lag = Gauge(
            "handlegrid_event_loop_lag_seconds",
            "How late the event loop woke a timer at the last probe.",
            registry=self.registry,
        )

    def _answers(self) -> None:
        requests = Counter(
            "handlegrid_requests_total",
            "Requests answered.",
            ["role", "transport", "op", "rc"],
            registry=self.registry,
        )
        duration = Histogram(
            "handlegrid_request_duration_seconds",
            "First octet read to last written.",
            ["role", "outcome"],
            buckets=DURATION_BUCKETS_S,
            registry=self.registry,
        )
        self._limits = Counter(
            "handlegrid_limit_reached_total",
            "Requests that met a named limit.",
            ["limit"],
            registry=self.registry,
        )
        self._request_counter = lru_cache(LABELS_REMEMBERED)(
            lambda transport, op_code, code: requests.labels(ROLE, transport, op_name(op_code), rc_name(code))
        )
        self._duration_of = lru_cache(LABELS_REMEMBERED)(
            lambda code, outcome: duration.labels(ROLE, outcome_of(code, outcome))
        )
        self._answer_counter = lru_cache(LABELS_REMEMBERED)(self._make_answer_counter)

    def _caches(self) -> None:
        lookups = Counter(
            "handlegrid_cache_lookups_total",
            "Look-ups in a cache.",
            ["cache", "tier", "result"],
            registry=self.registry,
        )
        self._lookup_counter = lru_cache(LABELS_REMEMBERED)(
            lambda cache, tier, hit: lookups.labels(cache, tier, "hit" if hit else "miss")
        )
        self._entries = Gauge(
            "handlegrid_cache_entries", "Entries held.", ["cache", "tier"], registry=self.registry
        )
        self._octets = Gauge(
            "handlegrid_cache_bytes", "Octets held.", ["cache", "tier"], registry=self.registry
        )

    def _outside(self) -> None:
        self._exchanges = Counter(
            "handlegrid_upstream_exchanges_total",
            "Requests to other nodes.",
            ["level", "result"],
            registry=self.registry,
        )
        self._redis_up = Gauge("handlegrid_redis_up", "Whether the second cache tier answers.", registry=None)
        self._db_up = Gauge(
            "handlegrid_db_up", "Whether the database of the day counters answers.", registry=None
        )

    def count(self, transport: str, op_code: int, code: int, outcome: str, elapsed_s: float) -> None:
        """Count one answer; outcome is the front end's word for it."""
        self._request_counter(transport, op_code, code).inc()
        self._duration_of(code, outcome).observe(elapsed_s)

    def count_message(self, transport: str, op_code: int, code: int, outcome: str, elapsed_s: float) -> None:
        """Count the answer to a Handle message, which was looked up in the answer cache first."""
        self._answer_counter(transport, op_code, code, outcome)(elapsed_s)

    def _make_answer_counter(
        self, transport: str, op_code: int, code: int, outcome: str
    ) -> Callable[[float], None]:
        requests = self._request_counter(transport, op_code, code)
        duration = self._duration_of(code, outcome)
        was_looked_up = outcome in {"hit", "miss"}
        lookups = self._lookup_counter("answers", "memory", outcome == "hit") if was_looked_up else None

        def count(elapsed_s: float) -> None:
            requests.inc()
            duration.observe(elapsed_s)
            if lookups is not None:
                lookups.inc()

        return count

    def limit_reached(self, name: str) -> None:
        """A named limit refused work."""
        self._limits.labels(name).inc()

    def undecodable(self, transport: str) -> None:
        """Octets came that were no request, and were dropped or refused."""
        self._request_counter(transport, 0, int(ResponseCode.PROTOCOL_ERROR)).inc()

    def looked_up(self, cache: str, tier: str, *, hit: bool) -> None:
        """Count one look-up: cache is values, denials, delegations or answers; tier memory or redis."""
        self._lookup_counter(cache, tier, hit).inc()

    def exchanged(self, level: str, result: str) -> None:
        """Count one request to another node: level is prefix, service, handle or forward; result ok or failed."""
        self._exchanges.labels(level, result).inc()

    def expect_redis(self) -> None:
        """Tell from now on whether the second tier answers; a node without one tells nothing about it."""
        self._expect(self._redis_up)

    def expect_database(self) -> None:
        """The same for the database of the day counters."""
        self._expect(self._db_up)

    def _expect(self, up: Gauge) -> None:
        up.set(nan)  # until it was asked for the first time
        self.registry.register(up)

    def redis_is(self, *, up: bool) -> None:
        """The second tier answered, or did not."""
        self._redis_up.set(int(up))

    def database_is(self, *, up: bool) -> None:
        """The database of the day counters answered, or did not."""
        self._db_up.set(int(up))

    def watch_cache(self, cache: str, entries: Callable[[], float], octets: Callable[[], float]) -> None:
        """Read the size of a cache in memory whenever metrics are collected."""
        self._entries.labels(cache, "memory").set_function(entries)
        self._octets.labels(cache, "memory").set_function(octets)

    def watch_sockets(self, drops: Callable[[], int]) -> None:
        """Ask how many datagrams the kernel dropped whenever metrics are collected."""
        self.registry.register(SocketDrops(drops))
