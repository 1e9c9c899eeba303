"""Where an import from a server can be taken up again: a fact of the node, in its database beside what was written."""

import msgspec

from registry.dump_import.server import HandleServer
from registry.dump_import.source import RestartPoint
from registry.store import Store

_NOTHING = b""


class _Fact(msgspec.Struct, frozen=True):
    """What is remembered of one source."""

    fingerprint: str
    name: bytes
    part: int


class RestartMemory:
    """Remembers how far one source was imported; a source with another key is another source."""

    def __init__(self, store: Store, server: HandleServer) -> None:
        self._store = store
        self._fact = f"import from {server.host}:{server.port}"
        self._fingerprint = server.fingerprint

    async def recall(self) -> RestartPoint | None:
        """The point behind which to go on; None for the beginning. Raises StoreUnavailable."""
        octets = await self._store.fact(self._fact)
        if not octets:
            return None
        fact = msgspec.json.decode(octets, type=_Fact)
        return (fact.name, fact.part) if fact.fingerprint == self._fingerprint else None

    async def remember(self, point: RestartPoint) -> None:
        """Everything up to this point is committed. Raises StoreUnavailable."""
        fact = _Fact(fingerprint=self._fingerprint, name=point[0], part=point[1])
        await self._store.put_fact(self._fact, msgspec.json.encode(fact))

    async def forget(self) -> None:
        """The import is complete: the next one begins at the beginning. Raises StoreUnavailable."""
        await self._store.put_fact(self._fact, _NOTHING)
