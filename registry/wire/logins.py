"""Logins of IDIS clients: who has proved for one TCP connection to be who (DOMAIN.md §3.5).

After a login such a client makes up session ids of its own and sends no MAC: they are honoured on the connection of the
login alone, and what is remembered ends with it.
"""

from weakref import WeakKeyDictionary

from protocol.transport.base import Link, Peer
from registry.outcomes import Identity


class Logins:
    """The logins of one process; as many as it has connections at most."""

    def __init__(self) -> None:
        self._identities: WeakKeyDictionary[Link, Identity] = WeakKeyDictionary()

    def remember(self, peer: Peer, identity: Identity) -> None:
        """Somebody has proved to be who, for the connection of this peer."""
        assert peer.link is not None
        self._identities[peer.link] = identity

    def identity_of(self, peer: Peer) -> Identity | None:
        """Who has logged in on this connection."""
        return None if peer.link is None else self._identities.get(peer.link)
