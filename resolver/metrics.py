"""Every metric of a recursive node beside those that all nodes tell."""

from math import nan
from typing import Final

from prometheus_client import Gauge

from protocol.runtime.metrics import NodeMetrics
from protocol.runtime.tallies import TallyCounter

ROLE: Final = "resolver"


class ResolverMetrics(NodeMetrics):
    """The collectors of one recursive node."""

    def __init__(self) -> None:
        super().__init__(ROLE)
        self._exchanges = TallyCounter(
            "handlegrid_upstream_exchanges_total",
            "Requests to other nodes.",
            ["level", "result"],
            registry=self.registry,
        )
        self._redis_up = Gauge("handlegrid_redis_up", "Whether the second cache tier answers.", registry=None)
        self._db_up = Gauge(
            "handlegrid_db_up", "Whether the database of the day counters answers.", registry=None
        )

    def exchanged(self, level: str, result: str) -> None:
        """Count one request to another node: level is prefix, service, handle or forward; result ok or failed."""
        self._exchanges.cell(level, result).value += 1

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
