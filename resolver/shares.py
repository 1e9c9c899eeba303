"""Shares: how much of a recursive node one service may hold, so that a silent one leaves room for all others."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from resolver.cache.singleflight import TooBusy


class ServiceShares:
    """Counts the exchanges under way with each service. Holds only services that are being asked."""

    def __init__(self, exchanges_max: int) -> None:
        """exchanges_max: exchanges with one service at once (the setting service_exchanges_max)."""
        self._exchanges_max = exchanges_max
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def take(self, service: str) -> Iterator[None]:
        """One exchange with the service that the prefix record of this name describes. Raises TooBusy at the limit."""
        if self._under_way[service] >= self._exchanges_max:
            raise TooBusy("service_exchanges_max", self._exchanges_max)
        self._under_way[service] += 1
        try:
            yield
        finally:
            self._under_way[service] -= 1
            if not self._under_way[service]:
                del self._under_way[service]
