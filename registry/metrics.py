"""Every metric of a registry node beside those that all nodes tell."""

import os
from collections.abc import Callable
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from protocol.codes import OpCode
from protocol.runtime.metrics import DURATION_BUCKETS_S, NodeMetrics
from registry.outcomes import Created, Deleted, Rejected, Replaced, Result, Unchanged

ROLE: Final = "registry"


class RegistryMetrics(NodeMetrics):
    """The collectors of one registry node."""

    def __init__(self) -> None:
        super().__init__(ROLE)
        self.db_pool_wait = Histogram(
            "handlegrid_db_pool_wait_seconds",
            "How long a request or statement waited for a database connection.",
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
        self.session_setups = Counter(
            "handlegrid_session_setups_total",
            "Requests for a session of the Handle protocol, by result.",
            ["result"],
            registry=self.registry,
        )
        self.sessions = Gauge(
            "handlegrid_sessions",
            "Sessions of the Handle protocol, by whether somebody has proved an identity in them.",
            ["proved"],
            registry=self.registry,
        )
        self.api_requests = Counter(
            "handlegrid_api_requests_total",
            "Requests to the API, by operation and HTTP status.",
            ["operation", "status"],
            registry=self.registry,
        )
        self.audit_sequencing = Gauge(
            "handlegrid_audit_sequencing",
            "Whether this process is the one that numbers the entries of the audit.",
            registry=self.registry,
        )
        self.audit_lag_entries = Gauge(
            "handlegrid_audit_lag_entries",
            "Entries of the audit that have no number yet.",
            registry=self.registry,
        )
        self.audit_lag = Gauge(
            "handlegrid_audit_lag_seconds",
            "Age of the oldest entry of the audit that has no number yet.",
            registry=self.registry,
        )
        self.parent_route_matches = Gauge(
            "handlegrid_parent_route_matches",
            "Whether the prefix records of the node above name this node's site as it is.",
            registry=self.registry,
        )
        self.parent_route_matches.set(float("nan"))  # until there is a node above, and it was asked
        self.disk_free = Gauge("handlegrid_disk_free_bytes", "Octets free.", ["use"], registry=self.registry)

    def registered(self, via: str, operation: OpCode, result: Result) -> None:
        """Count one write; via: rest, handle or import."""
        self.registrations.labels(via, result_name(operation, result)).inc()

    def authenticated(self, scheme: str, result: str) -> None:
        """Count one check of credentials: success, failed, missing, refused or unreadable."""
        self.auth.labels(scheme, result).inc()

    def session_message(self, result: str) -> None:
        """Count one message of a session, by what its MAC says; also elsewhere, replayed and unreadable ones."""
        self.authenticated("session", result)

    def session_setup(self, result: str) -> None:
        """Count one request for a session: success, failed or refused."""
        self.session_setups.labels(result).inc()

    def watch_sessions(self, unproved: Callable[[], float], proved: Callable[[], float]) -> None:
        """Read the numbers of sessions whenever metrics are collected."""
        self.sessions.labels("no").set_function(unproved)
        self.sessions.labels("yes").set_function(proved)

    def api_answered(self, operation: str, status: int) -> None:
        """Count one answer of the API; operation: the name of a route, or none."""
        self.api_requests.labels(operation, str(status)).inc()

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
