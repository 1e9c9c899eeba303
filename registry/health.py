"""Is the database there? Asked again and again, for the metric, the log and /health/ready."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import structlog
from prometheus_client import Gauge

from protocol.errors import StoreUnavailable
from protocol.runtime.lifecycle import repeat
from registry.store import Store

PROBE_PERIOD_S: Final = 2.0
PROBE_TIME_MAX_S: Final = 1.5  # a healthy database takes a millisecond; readiness probes wait two seconds

log = structlog.get_logger(__name__)


class DatabaseWatch:
    """Knows whether the database answers and, if not, since when and why."""

    def __init__(self, store: Store, gauge: Gauge, wall_clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._gauge = gauge
        self._wall_clock = wall_clock
        self._down_since: float | None = None

    async def probe(self) -> str | None:
        """Ask the database; None when it answers, else what is wrong and since when."""
        try:
            async with asyncio.timeout(PROBE_TIME_MAX_S):
                await self._store.ping()
        except TimeoutError:
            return self._failed(f"no answer within {PROBE_TIME_MAX_S:g} s")
        except StoreUnavailable as error:
            return self._failed(str(error))
        self._answered()
        return None

    async def keep_looking(self, stopping: asyncio.Event) -> None:
        """Probe until stopping is set."""

        async def look() -> None:
            await self.probe()

        await repeat(look, PROBE_PERIOD_S, stopping)

    def _answered(self) -> None:
        self._gauge.set(1)
        if self._down_since is not None:
            log.info("database_back", down_s=round(self._wall_clock() - self._down_since, 1))
            self._down_since = None

    def _failed(self, reason: str) -> str:
        self._gauge.set(0)
        if self._down_since is None:
            self._down_since = self._wall_clock()
            log.error("database_gone", reason=reason)
        since = datetime.fromtimestamp(self._down_since, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        return f"the database does not answer since {since}: {reason}"
