"""Logins of IDIS clients: who has proved for one TCP connection to be who (DOMAIN.md §3.5).

After a login such a client makes up session ids of its own and sends no MAC: they are honoured on the connection of the
login alone, and what is remembered ends with it.
"""

from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

from protocol.transport.base import Link, Peer
from registry.outcomes import Identity

LIFE_S: Final = 86_400.0  # as of sessions: for so long a withdrawn key still opens what it has opened


class Logins:
    """The logins of one process; as many as it has connections at most."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """clock: monotonic seconds."""
        self._clock = clock
        self._identities: WeakKeyDictionary[Link, tuple[Identity, float]] = WeakKeyDictionary()

    def remember(self, peer: Peer, identity: Identity) -> None:
        """Somebody has proved to be who, for the connection of this peer."""
        assert peer.link is not None
        self._identities[peer.link] = identity, self._clock() + LIFE_S

    def identity_of(self, peer: Peer) -> Identity | None:
        """Who has logged in on this connection."""
        identity, until_s = self._identities.get(peer.link, _NOBODY) if peer.link is not None else _NOBODY
        return identity if self._clock() < until_s else None


_NOBODY: Final[tuple[Identity | None, float]] = (None, 0.0)
