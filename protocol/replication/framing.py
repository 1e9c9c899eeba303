"""Framing of a replication stream: what kind it is, and the server's signature behind each block of it.

Source: PROTOCOL.md §9.2; the recordings repl_*.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Final, Generic, TypeVar

from protocol.errors import Malformed
from protocol.replication.fields import Fields, counted
from protocol.signature import MAX_NAME_OCTETS, MAX_SIGNATURE_OCTETS, check_signature
from protocol.valuetypes.hs_pubkey import PublicKey
from protocol.wire import text

KIND_OCTETS: Final = 4

Record = TypeVar("Record")


class StreamKind(IntEnum):
    """The first word of a stream: how whoever reads it knows that it is the server's."""

    SIGNED = 0
    """The name of a hash follows, and a signature by the server's key behind each block."""
    TLS = 0x544C_5300
    """A TLS handshake begins on this very connection; the certificate's key is the server's, and blocks are bare."""
    UNSIGNED = 0xFFFF_FFFF
    """Bare blocks: inside HTTPS."""


def stream_kind(octets: bytes) -> StreamKind:
    """What the first four octets of a stream say. Raises Malformed for a word that no server sends."""
    word = int.from_bytes(octets, "big")
    try:
        return StreamKind(word)
    except ValueError:
        raise Malformed(f"a stream of unknown kind {word:#010x}") from None


class StreamDecoder(Generic[Record]):
    """Octets behind the first word in, records out; with a key, none before the signature over it was checked.

    Memory holds one record and what was fed and not yet used. Once it raised, it is of no more use.
    """

    def __init__(
        self,
        head: Callable[[], Fields[Record | None]],
        record: Callable[[], Fields[Record]],
        *,
        is_last: Callable[[Record], bool],
        last_is_signed: bool,
        key: PublicKey | None,
    ) -> None:
        """head, record: what a stream begins with, and what it goes on with until a record is the last.

        key: of a SIGNED stream, that of the server; None where the connection itself proves who sends.
        """
        self._head = head
        self._record = record
        self._is_last = is_last
        self._last_is_signed = last_is_signed
        self._key = key
        self._hash = ""
        self._records: list[Record] = []
        self._buffer = bytearray()
        self.ended = False
        """Whether the last record has come; octets behind it are not looked at."""
        self._reading = self._read()
        self._wanted = next(self._reading)

    def feed(self, octets: bytes) -> list[Record]:
        """The records that these octets complete. Raises WireError, and BadSignature for a block of somebody else."""
        self._buffer += octets
        position = 0
        while not self.ended and len(self._buffer) - position >= self._wanted:
            piece = bytes(self._buffer[position : position + self._wanted])
            position += self._wanted
            self._step(piece)
        del self._buffer[:position]
        complete, self._records = self._records, []
        return complete

    def _step(self, piece: bytes) -> None:
        try:
            self._wanted = self._reading.send(piece)
        except StopIteration:
            self.ended = True

    def _read(self) -> Fields[None]:
        if self._key is not None:
            self._hash = text((yield from counted(MAX_NAME_OCTETS)))
        record = yield from self._block(self._head())
        while not self._takes_last(record):
            record = yield from self._block(self._record())

    def _takes_last(self, record: Record | None) -> bool:
        """Hand a record out; whether it is the last. None is what a head says that has nothing to say."""
        if record is None:
            return False
        self._records.append(record)
        return self._is_last(record)

    def _block(self, fields: Fields[Record | None]) -> Fields[Record | None]:
        """A block, and the signature over its octets."""
        signed: list[bytes] = []
        wanted = next(fields)
        while True:
            signed.append((yield wanted))
            try:
                wanted = fields.send(signed[-1])
            except StopIteration as end:
                record: Record | None = end.value
                break
        if self._key is not None and (self._last_is_signed or record is None or not self._is_last(record)):
            signature = yield from counted(MAX_SIGNATURE_OCTETS)
            check_signature(signature, b"".join(signed), self._key, self._hash)
        return record
