"""How far a server was imported: facts of the node, in its database beside what was written."""

from typing import TypeVar

import msgspec

from registry.dump_import.server import HandleServer
from registry.dump_import.source import Position, RestartPoint
from registry.store import Store

_NOTHING = b""


class _Point(msgspec.Struct, frozen=True):
    """Where its dump is to be taken up."""

    fingerprint: str
    name: bytes
    part: int


class _Position(msgspec.Struct, frozen=True):
    """How far its log is contained in what was imported."""

    fingerprint: str
    transaction: int
    date_ms: int


_Fact = TypeVar("_Fact", _Point, _Position)


class RestartMemory:
    """Remembers how far one source was imported; a source with another key is another source.

    Every method raises StoreUnavailable.
    """

    def __init__(self, store: Store, server: HandleServer) -> None:
        self._store = store
        self._point_name = f"import from {server.host}:{server.port}"
        self._position_name = f"transactions from {server.host}:{server.port}"
        self._fingerprint = server.fingerprint

    async def recall(self) -> RestartPoint | None:
        """The point behind which to go on; None for the beginning."""
        fact = await self._fact(self._point_name, _Point)
        return None if fact is None else (fact.name, fact.part)

    async def remember(self, point: RestartPoint) -> None:
        """Everything up to this point is committed."""
        fact = _Point(fingerprint=self._fingerprint, name=point[0], part=point[1])
        await self._store.put_fact(self._point_name, msgspec.json.encode(fact))

    async def forget(self) -> None:
        """The import is complete: the next one begins at the beginning."""
        await self._store.put_fact(self._point_name, _NOTHING)

    async def position(self) -> Position | None:
        """Behind which the source's log is not in yet; None for a source whose dump was never begun."""
        fact = await self._fact(self._position_name, _Position)
        return None if fact is None else Position(transaction=fact.transaction, date_ms=fact.date_ms)

    async def remember_position(self, position: Position) -> None:
        """The log is in up to here, or will be once the dump is."""
        fact = _Position(
            fingerprint=self._fingerprint, transaction=position.transaction, date_ms=position.date_ms
        )
        await self._store.put_fact(self._position_name, msgspec.json.encode(fact))

    async def _fact(self, name: str, kind: type[_Fact]) -> _Fact | None:
        octets = await self._store.fact(name)
        if not octets:
            return None
        fact = msgspec.json.decode(octets, type=kind)
        return fact if fact.fingerprint == self._fingerprint else None
