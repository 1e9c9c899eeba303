"""Connections that are kept: one message, or one HTTP request, and its answer."""

import asyncio
from typing import Final, Self

from protocol.message import ENVELOPE_OCTETS, decode_envelope

ANSWER_WITHIN_S: Final = 30.0
_END_OF_HEAD: Final = b"\r\n\r\n"
_LENGTH: Final = b"\r\ncontent-length:"


class Link:
    """One TCP connection; what is not answered in time raises TimeoutError, what ends raises EOFError."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, host: str, port: int) -> Self:
        """Connect."""
        return cls(*await asyncio.open_connection(host, port))

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    async def exchange(self, octets: bytes) -> bytes:
        """One whole message of the Handle protocol, and the one that answers it."""
        self._writer.write(octets)
        async with asyncio.timeout(ANSWER_WITHIN_S):
            envelope = await self._reader.readexactly(ENVELOPE_OCTETS)
            return envelope + await self._reader.readexactly(decode_envelope(envelope).message_octets)

    async def request(self, octets: bytes) -> tuple[int, bytes]:
        """One HTTP request; status and body of its answer."""
        self._writer.write(octets)
        async with asyncio.timeout(ANSWER_WITHIN_S):
            head = (await self._reader.readuntil(_END_OF_HEAD)).lower()
            start = head.index(_LENGTH) + len(_LENGTH)
            length = int(head[start : head.index(b"\r\n", start)])
            return int(head[9:12]), await self._reader.readexactly(length)
