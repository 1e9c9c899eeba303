"""Shares: how much of what asks others one service may hold, so that a silent one leaves room for all the rest."""

from collections.abc import Iterator
from contextlib import contextmanager

from protocol.runtime.single_flight import TooBusy


class ServiceShares:
    """Counts the exchanges under way with each service. Holds only services that are being asked."""

    def __init__(self, exchanges_max: int) -> None:
        """exchanges_max: exchanges with one service at once (the setting service_exchanges_max)."""
        self._exchanges_max = exchanges_max
        self._under_way: dict[str, int] = {}

    @contextmanager
    def take(self, service: str) -> Iterator[None]:
        """One exchange with the service that the prefix record of this name describes. Raises TooBusy at the limit."""
        self.enter(service)
        try:
            yield
        finally:
            self.leave(service)

    def enter(self, service: str) -> None:
        """One exchange with a service begins. Raises TooBusy at the limit."""
        under_way = self._under_way.get(service, 0)
        if under_way >= self._exchanges_max:
            raise TooBusy("service_exchanges_max", self._exchanges_max)
        self._under_way[service] = under_way + 1

    def leave(self, service: str) -> None:
        """One exchange that entered has ended."""
        under_way = self._under_way[service] - 1
        if under_way:
            self._under_way[service] = under_way
        else:
            del self._under_way[service]
