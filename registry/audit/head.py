"""Head: how far the entries of the audit are numbered, and the chain up to there."""

from datetime import UTC, datetime
from typing import Final, Self

import msgspec

from registry.audit.entry import FIRST_LINK

HEAD_FACT: Final = "audit_head"
"""The fact of the node that holds the head; renewed in the transaction that numbers."""
CHAIN_OCTETS: Final = len(FIRST_LINK)


class Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last entry that has a number."""

    number: int = 0
    """0 while there is none."""
    chain: bytes = FIRST_LINK
    log_number: int = 0
    """Rows of the transaction log up to this entry, its own included."""
    position: int = 0
    """Every entry of a transaction below this one has been numbered."""
    numbered_ms: int = 0
    """When, in Unix milliseconds."""

    def encode(self) -> bytes:
        """The octets that are stored: JSON, so that an operator can read them."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """The head that encode was called on. Raises ValueError for anything else."""
        head = msgspec.json.decode(octets, type=cls)
        if len(head.chain) != CHAIN_OCTETS or head.number < 0:
            raise ValueError("the octets are no head of an audit chain")
        return head


def format_time(ms: int) -> str:
    """Unix milliseconds as people and checkpoints write them: 2026-11-20T21:52:00Z; outside the calendar the number."""
    try:
        return datetime.fromtimestamp(ms / 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{ms}ms"
