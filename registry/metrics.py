"""Every metric of a registry node, in one place; labels come from closed sets, units are seconds and octets."""

import os
from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from protocol.codes import OpCode, ResponseCode, op_name, rc_name
from protocol.runtime.metrics import DURATION_BUCKETS_S, SocketDrops, outcome_of
from registry.outcomes import Created, Deleted, Rejected, Replaced, Result, Unchanged

ROLE: Final = "registry"
ANSWER_CACHE: Final = "answers"


class RegistryMetrics:
    """The node's collectors, in a registry of their own, so that several nodes fit into one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "handlegrid_requests_total",
            "Requests answered.",
            ["role", "transport", "op", "rc"],
            registry=self.registry,
        )
        self.duration = Histogram(
            "handlegrid_request_duration_seconds",
            "First octet read to last written.",
            ["role", "outcome"],
            buckets=DURATION_BUCKETS_S,
            registry=self.registry,
        )
        self.cache_lookups = Counter(
            "handlegrid_cache_lookups_total",
            "Look-ups in a cache.",
            ["cache", "tier", "result"],
            registry=self.registry,
        )
        self.cache_entries = Gauge(
            "handlegrid_cache_entries", "Entries held.", ["cache", "tier"], registry=self.registry
        )
        self.cache_bytes = Gauge(
            "handlegrid_cache_bytes", "Octets held.", ["cache", "tier"], registry=self.registry
        )
        self.limit_reached = Counter(
            "handlegrid_limit_reached_total",
            "Requests that met a named limit.",
            ["limit"],
            registry=self.registry,
        )
        self.db_pool_wait = Histogram(
            "handlegrid_db_pool_wait_seconds",
            "How long a request waited for a database connection.",
            buckets=DURATION_BUCKETS_S,
            registry=self.registry,
        )
        self.db_up = Gauge(
            "handlegrid_db_up", "Whether the database answered the last probe.", registry=self.registry
        )
        self.registrations = Counter(
            "handlegrid_registrations_total",
            "Writes of handles, by front end and result.",
            ["via", "result"],
            registry=self.registry,
        )
        self.auth = Counter(
            "handlegrid_auth_total",
            "Credentials checked or missed.",
            ["scheme", "result"],
            registry=self.registry,
        )
        self.event_loop_lag = Gauge(
            "handlegrid_event_loop_lag_seconds",
            "How late the event loop woke a timer at the last probe.",
            registry=self.registry,
        )
        self.disk_free = Gauge("handlegrid_disk_free_bytes", "Octets free.", ["use"], registry=self.registry)

    def answer_counter(
        self, transport: str, op_code: int, code: int, outcome: str, *, cached: bool
    ) -> Callable[[float], None]:
        """Return what counts one kind of answer, given the seconds that it took.

        outcome: what the transport says: hit, miss or shed. cached: whether the answer cache was asked first.
        """
        requests = self.requests.labels(ROLE, transport, op_name(op_code), rc_name(code))
        duration = self.duration.labels(ROLE, outcome_of(code, outcome))
        looked_up = cached and outcome in {"hit", "miss"}
        lookups = self.cache_lookups.labels(ANSWER_CACHE, "memory", outcome) if looked_up else None

        def count(elapsed_s: float) -> None:
            requests.inc()
            duration.observe(elapsed_s)
            if lookups is not None:
                lookups.inc()

        return count

    def undecodable(self, transport: str) -> None:
        """Count octets that are no request."""
        self.requests.labels(ROLE, transport, op_name(0), rc_name(ResponseCode.PROTOCOL_ERROR)).inc()

    def registered(self, via: str, operation: OpCode, result: Result) -> None:
        """Count one write; via: rest, handle or import."""
        self.registrations.labels(via, result_name(operation, result)).inc()

    def authenticated(self, scheme: str, result: str) -> None:
        """Count one check of credentials: success, failed, missing, refused or unreadable."""
        self.auth.labels(scheme, result).inc()

    def watch_answer_cache(self, entries: Callable[[], float], octets: Callable[[], float]) -> None:
        """Read the size of the answer cache whenever metrics are collected."""
        self.cache_entries.labels(ANSWER_CACHE, "memory").set_function(entries)
        self.cache_bytes.labels(ANSWER_CACHE, "memory").set_function(octets)

    def watch_sockets(self, drops: Callable[[], int]) -> None:
        """Ask how many datagrams the kernel dropped whenever metrics are collected."""
        self.registry.register(SocketDrops(drops))

    def watch_disk(self, use: str, path: str) -> None:
        """Read the free octets of the file system that holds path whenever metrics are collected."""
        self.disk_free.labels(use).set_function(lambda: _free_octets(path))


def result_name(operation: OpCode, result: Result) -> str:
    """Return the label `result` of a write."""
    match result:
        case Created():
            return "created"
        case Replaced():
            return "values_removed" if operation is OpCode.REMOVE_VALUE else "replaced"
        case Unchanged():
            return "unchanged"
        case Deleted():
            return "deleted"
        case Rejected():
            return "rejected"


def _free_octets(path: str) -> float:
    try:
        status = os.statvfs(path)
    except OSError:
        return float("nan")
    return float(status.f_bavail * status.f_frsize)
