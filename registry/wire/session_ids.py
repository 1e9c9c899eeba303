"""The ids that this process gives to sessions and to challenges: never one of both at once, and not to be guessed."""

import secrets
from typing import Final

from protocol.runtime.session_ids import OWN_BITS, worker_of

_RANDOM_BITS: Final = OWN_BITS - 1
LIVE_MAX: Final = 1 << (_RANDOM_BITS - 2)  # of four draws three are free; the stores are bounded far below


class SessionIds:
    """An allocator; sessions and challenges of a process share one."""

    def __init__(self, worker: int = 0) -> None:
        """worker: its number, from 1; 0 for the only process of a node."""
        self._first = worker << OWN_BITS | 1 << _RANDOM_BITS  # far above what clients make up
        assert worker_of(self._first) == worker, "at most 63 workers"
        self._live: set[int] = set()

    def __len__(self) -> int:
        return len(self._live)

    def allocate(self) -> int:
        """A positive id of 31 bits that nothing else has, until it is released."""
        assert len(self._live) < LIVE_MAX
        while True:
            session_id = self._first | secrets.randbits(_RANDOM_BITS)
            if session_id not in self._live:
                self._live.add(session_id)
                return session_id

    def release(self, session_id: int) -> None:
        """The session or challenge has ended."""
        self._live.remove(session_id)
