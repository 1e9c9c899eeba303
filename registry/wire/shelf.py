"""A bounded number of sessions, in all and of one source network, in the order of their last use."""

from collections import OrderedDict
from collections.abc import Iterator

from protocol.transport.source import source_network
from registry.wire.session import Session


class Shelf:
    """Where there is no room for another one, the session that was not used for the longest time goes.

    The networks' shares keep an order of their own, so that nothing is ever searched.
    """

    def __init__(self, in_all_max: int, per_source_max: int) -> None:
        self._in_all_max = in_all_max
        self._per_source_max = per_source_max
        self._sessions: OrderedDict[int, Session] = OrderedDict()
        self._shares: dict[str, OrderedDict[int, None]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def __contains__(self, session_id: int) -> bool:
        return session_id in self._sessions

    def __iter__(self) -> Iterator[Session]:
        return iter(self._sessions.values())

    def get(self, session_id: int) -> Session | None:
        """The session of an id, if it is here."""
        return self._sessions.get(session_id)

    def put(self, session: Session) -> Session | None:
        """Add a session, and give the one that had to go for it: of the same source, or else of all."""
        share: OrderedDict[int, None] = self._shares.get(source_network(session.host), OrderedDict())
        displaced = None
        if len(share) >= self._per_source_max:
            displaced = self._sessions[next(iter(share))]
        elif len(self._sessions) >= self._in_all_max:
            displaced = next(iter(self._sessions.values()))
        if displaced is not None:
            self.remove(displaced)
        self._sessions[session.id] = session
        self._shares.setdefault(source_network(session.host), OrderedDict())[session.id] = None
        return displaced

    def touch(self, session: Session) -> None:
        """A session is used."""
        self._sessions.move_to_end(session.id)
        self._shares[source_network(session.host)].move_to_end(session.id)

    def remove(self, session: Session) -> None:
        """Take a session out."""
        del self._sessions[session.id]
        network = source_network(session.host)
        share = self._shares[network]
        del share[session.id]
        if not share:
            del self._shares[network]
