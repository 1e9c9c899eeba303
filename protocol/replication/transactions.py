"""A stream of transactions: what changed since a position. Source: PROTOCOL.md §9.3, repl_retrieve_txn_v27.

A transaction carries the record as it is now, not as it was then.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from protocol.errors import Malformed
from protocol.replication.fields import Fields, counted, name, u8, u32, u64, values
from protocol.replication.framing import StreamDecoder
from protocol.valuetypes.hs_pubkey import PublicKey

ONE_QUEUE: Final = 1
ALL_QUEUES: Final = 2
QUEUE_NAME_OCTETS_MAX: Final = 4_096  # the number of a server and the name of its site


class StreamStatus(IntEnum):
    """Whether transactions follow."""

    NEEDS_DUMP = 1
    """The source's log does not reach back to the position: only a new dump helps."""
    SENDING = 2


class TransactionAction(IntEnum):
    """What was done."""

    PLACEHOLDER = 0
    CREATE = 1
    DELETE = 2
    UPDATE = 3
    HOME = 4
    UNHOME = 5
    DELETE_ALL = 6


_WITH_VALUES: Final = frozenset({TransactionAction.CREATE, TransactionAction.UPDATE})


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamHead:
    """What the stream begins with."""

    format: int
    """ONE_QUEUE or ALL_QUEUES."""
    status: StreamStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One change of a handle, or of what the source homes."""

    number: int
    name: bytes
    action: TransactionAction
    date_ms: int
    values: tuple[bytes, ...] = ()
    """As in DumpedHandle; of a creation or an update."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSwitch:
    """What follows comes from the log of another source."""

    queue: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class EndOfQueue:
    """This queue is read up to a point in time."""

    date_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndOfStream:
    """Nothing follows. date_ms: up to when one queue is read; None where each queue has its own end."""

    date_ms: int | None


TransactionRecord = StreamHead | Transaction | QueueSwitch | EndOfQueue | EndOfStream


def decode_transactions(key: PublicKey | None) -> StreamDecoder[TransactionRecord]:
    """A decoder of what follows the first word of a stream of transactions. key: see StreamDecoder."""
    grammar = _Grammar()
    return StreamDecoder(grammar.head, grammar.record, is_last=_is_last, last_is_signed=True, key=key)


def _is_last(record: TransactionRecord) -> bool:
    needs_dump = isinstance(record, StreamHead) and record.status is StreamStatus.NEEDS_DUMP
    return needs_dump or isinstance(record, EndOfStream)


class _Grammar:
    """The stream's fields; its head decides how it ends."""

    def __init__(self) -> None:
        self._format = ONE_QUEUE

    def head(self) -> Fields[TransactionRecord | None]:
        self._format, status = (yield from u32()), (yield from u32())
        if self._format not in (ONE_QUEUE, ALL_QUEUES):
            raise Malformed(f"transactions of format {self._format}; {ONE_QUEUE} and {ALL_QUEUES} are known")
        try:
            return StreamHead(format=self._format, status=StreamStatus(status))
        except ValueError:
            raise Malformed(f"transactions with the unknown status {status}") from None

    def record(self) -> Fields[TransactionRecord]:
        kind = yield from u8()
        match kind:
            case 1:
                return (yield from _transaction())
            case 2:
                return QueueSwitch(queue=(yield from counted(QUEUE_NAME_OCTETS_MAX)))
            case 3:
                return EndOfQueue(date_ms=(yield from u64()))
            case 0 if self._format == ONE_QUEUE:
                return EndOfStream(date_ms=(yield from u64()))
            case 0:
                return EndOfStream(date_ms=None)
            case _:
                raise Malformed(f"transactions with a record of unknown kind {kind}")


def _transaction() -> Fields[Transaction]:
    number, handle, code = (yield from u64()), (yield from name()), (yield from u8())
    try:
        action = TransactionAction(code)
    except ValueError:
        raise Malformed(f"a transaction with the unknown action {code}") from None
    date_ms = yield from u64()
    changed = (yield from values()) if action in _WITH_VALUES else ()
    return Transaction(number=number, name=handle, action=action, date_ms=date_ms, values=changed)
