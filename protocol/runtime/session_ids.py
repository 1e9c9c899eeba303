"""What a session id tells: the worker that gave it out. Ids of sessions and of challenges are one kind.

CNRI's software takes a session id for a signed number, and one that is not positive for none at all, so 31 bits are
left. The upper six of them are the number of the worker, the others belong to the allocator of the node at hand. An id
that a client made up itself, as IDIS clients do from 10001 upwards, so names no worker: their numbers begin with 1,
and 0 is a node of a single process.
"""

from typing import Final

OWN_BITS: Final = 25  # below the six of the worker; what the worker itself decides
OWN_BITS_MASK: Final = (1 << OWN_BITS) - 1
SESSION_ID_MAX: Final = 0x7FFF_FFFF


def worker_of(session_id: int) -> int:
    """The number of the worker that an id names; 0 when it names none.

    session_id: as in the envelope, 32 bits. Source: PROTOCOL.md §3.1, ARCHITECTURE.md §3.8.
    """
    return session_id >> OWN_BITS if session_id <= SESSION_ID_MAX else 0
