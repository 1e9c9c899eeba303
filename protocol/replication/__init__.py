"""Replication streams of deployed servers: dumps and transactions, octets in and verified records out.

Source: PROTOCOL.md §9.
"""

from protocol.replication.dump import (
    Done,
    DumpedHandle,
    DumpedPrefix,
    DumpRecord,
    HandleDate,
    OtherSites,
    PrefixDate,
    SourceState,
    decode_dump,
)
from protocol.replication.framing import StreamDecoder, StreamKind, stream_kind
from protocol.replication.transactions import (
    EndOfQueue,
    EndOfStream,
    QueueSwitch,
    StreamHead,
    StreamStatus,
    Transaction,
    TransactionAction,
    TransactionRecord,
    decode_transactions,
)

__all__ = [
    "Done",
    "DumpRecord",
    "DumpedHandle",
    "DumpedPrefix",
    "EndOfQueue",
    "EndOfStream",
    "HandleDate",
    "OtherSites",
    "PrefixDate",
    "QueueSwitch",
    "SourceState",
    "StreamDecoder",
    "StreamHead",
    "StreamKind",
    "StreamStatus",
    "Transaction",
    "TransactionAction",
    "TransactionRecord",
    "decode_dump",
    "decode_transactions",
    "stream_kind",
]
