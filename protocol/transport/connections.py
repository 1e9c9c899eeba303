"""How many connections are open, in all and from each source network."""

from typing import Final

from protocol.transport.base import Limit
from protocol.transport.source import source_network

CONNECTIONS_MAX: Final = 8_192  # below common limits of open files, with room for databases and datagrams
CONNECTIONS_PER_SOURCE_MAX: Final = 100  # a plant behind one translator; deployed servers stop at 200 in all


class ConnectionCount:
    """Counts connections of one listener; what enter() admitted must leave()."""

    def __init__(
        self,
        *,
        per_source_max: int = CONNECTIONS_PER_SOURCE_MAX,
        total_max: int = CONNECTIONS_MAX,
    ) -> None:
        self._per_source_max = per_source_max
        self._total_max = total_max
        self._sources: dict[str, int] = {}
        self.total = 0

    def enter(self, host: str) -> Limit | None:
        """Counts a new connection, or names the limit that it would break and counts nothing."""
        if self.total >= self._total_max:
            return "connections"
        network = source_network(host)
        count = self._sources.get(network, 0)
        if count >= self._per_source_max:
            return "connections_per_source"
        self._sources[network] = count + 1
        self.total += 1
        return None

    def leave(self, host: str) -> None:
        """A connection that enter() admitted has ended."""
        network = source_network(host)
        left = self._sources[network] - 1
        if left:
            self._sources[network] = left
        else:
            del self._sources[network]
        self.total -= 1
        assert self.total >= 0
