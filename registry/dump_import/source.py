"""A dump, or what changed since, as an iterator of records: asked for, checked, taken up where a connection broke."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from protocol.admin_bodies import DumpPart, DumpRequest, Receiver, RetrieveTransactionsRequest
from protocol.codes import OpCode
from protocol.errors import BadSignature, Malformed, TooLarge, Unreachable
from protocol.message import Version
from protocol.replication import (
    Done,
    DumpedHandle,
    DumpedPrefix,
    DumpRecord,
    HandleDate,
    PrefixDate,
    StreamKind,
    TransactionRecord,
    decode_dump,
    decode_transactions,
    stream_kind,
)
from protocol.replication.framing import KIND_OCTETS
from protocol.site import HashOption
from protocol.transport.stream_link import StreamLink
from protocol.valuetypes import PublicKey
from registry.dump_import.asking import Proof, asked
from registry.dump_import.server import CLOCKS, IDLE_S, Clocks, HandleServer

RESUMES_SINCE: Final[Version] = (2, 8)
PAUSES_S: Final = (1.0, 5.0, 15.0, 60.0)
"""Before a broken connection is made again; a record that came begins anew. A server is restarted in that time."""
RECORDS_MAX: Final = 100_000_000  # so many handles take a terabyte; a source that never ends stops there
EVERYTHING: Final = Receiver(hash_option=HashOption.WHOLE, servers=1, server=0)

_PARTS: Final[dict[type[DumpRecord], DumpPart]] = {
    HandleDate: DumpPart.HANDLE_DATES,
    PrefixDate: DumpPart.PREFIX_DATES,
    DumpedHandle: DumpPart.HANDLES,
    DumpedPrefix: DumpPart.PREFIXES,
}

RestartPoint = tuple[bytes, int]
"""The last name that came, and the part of the dump in which it came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a source's log was read."""

    transaction: int
    date_ms: int
    """Unix milliseconds of the source's clock."""


def point_of(record: DumpRecord) -> RestartPoint | None:
    """Where a dump can be taken up behind this record; None for one that has no name."""
    part = _PARTS.get(type(record))
    name: bytes = getattr(record, "name", b"")
    return None if part is None else (name, int(part))


class DumpSource:
    """Everything that one server holds, as often as it is asked for."""

    def __init__(
        self,
        server: HandleServer,
        proof: Proof,
        *,
        clocks: Clocks = CLOCKS,
        idle_s: float = IDLE_S,
        pauses_s: Sequence[float] = PAUSES_S,
        records_max: int = RECORDS_MAX,
    ) -> None:
        self.server = server
        self.over_tls = False
        """Whether the last stream came over TLS, and not in signed blocks."""
        self._proof = proof
        self._clocks = clocks
        self._idle_s = idle_s
        self._pauses_s = pauses_s
        self._records_max = records_max

    @property
    def resumes(self) -> bool:
        """Whether the server can begin in the middle."""
        return self.server.version >= RESUMES_SINCE

    async def records(self, after: RestartPoint | None = None) -> AsyncGenerator[DumpRecord, None]:
        """Every record to the last one, Done; a connection that breaks is made again where the server can resume.

        after: the record behind which to begin; ignored where the server cannot. The record itself is left out when it
        comes once more. Raises Unreachable when the connection breaks for good, WireError, SourceRefused, BadSignature.
        """
        point = after if self.resumes else None
        pauses, came = iter(self._pauses_s), 0
        while True:
            try:
                async with aclosing(self._stream(point)) as stream:
                    async for record in stream:
                        came += 1
                        self._check_count(came)
                        here = point_of(record)
                        if here is not None and here == point:
                            continue
                        point = here or point
                        pauses = iter(self._pauses_s)
                        yield record
                        if isinstance(record, Done):
                            return
            except Unreachable:
                pause_s = next(pauses, None) if self.resumes else None
                if pause_s is None:
                    raise
                await asyncio.sleep(pause_s)

    async def _stream(self, after: RestartPoint | None) -> AsyncGenerator[DumpRecord, None]:
        body = DumpRequest(receiver=EVERYTHING, resume_after=after).encode()
        prefixes_came = after is not None and after[1] == DumpPart.PREFIXES
        async with self._asked(OpCode.DUMP_HANDLES, body) as link:
            decoder = decode_dump(await self._begin(link))
            while not decoder.ended:
                for record in decoder.feed(await link.read()):
                    prefixes_came = prefixes_came or isinstance(record, DumpedPrefix)
                    if isinstance(record, Done) and not (prefixes_came or self.over_tls):
                        raise _cut(link)
                    yield record

    async def transactions(self, since: Position) -> AsyncGenerator[TransactionRecord, None]:
        """What changed since a position, to the last record. Raises as records(), and nothing is made again."""
        body = RetrieveTransactionsRequest(
            receiver=EVERYTHING, last_transaction=since.transaction, last_query_ms=since.date_ms
        ).encode(self.server.version)
        came = 0
        async with self._asked(OpCode.RETRIEVE_TRANSACTION_LOG, body) as link:
            decoder = decode_transactions(await self._begin(link))
            while not decoder.ended:
                for record in decoder.feed(await link.read()):
                    came += 1
                    self._check_count(came)
                    yield record

    @asynccontextmanager
    async def _asked(self, op_code: OpCode, body: bytes) -> AsyncIterator[StreamLink]:
        """Ask for a stream, which follows on the link."""
        async with asked(
            self.server, op_code, body, self._proof, clocks=self._clocks, idle_s=self._idle_s
        ) as (_, link):
            yield link

    def _check_count(self, came: int) -> None:
        if came > self._records_max:
            raise TooLarge(f"the stream has more than {self._records_max:,} records; stopped there")

    async def _begin(self, link: StreamLink) -> PublicKey | None:
        """The key that signs the blocks; None over TLS, once it is certain that the server is at the other end."""
        kind = stream_kind(await link.read_exactly(KIND_OCTETS))
        self.over_tls = kind is StreamKind.TLS
        match kind:
            case StreamKind.SIGNED:
                return self.server.key
            case StreamKind.TLS:
                await link.start_tls(self.server.key)
                return None
            case StreamKind.UNSIGNED:
                raise BadSignature(
                    f"{link.node}: the stream is neither signed nor over TLS, so anybody could have sent it"
                )


def _cut(link: StreamLink) -> Malformed:
    """The end of a signed stream is not signed, but the prefixes that stand before it are, behind all handles."""
    return Malformed(
        f"{link.node}: the dump ends before the prefixes that the server homes; it was cut short"
    )
