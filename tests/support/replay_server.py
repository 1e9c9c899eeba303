"""A server that answers with recorded octets over real sockets, and may break a connection in the middle."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from protocol.message import ENVELOPE_OCTETS, decode_envelope
from tests.support.vectors import Recorded, recorded

HOST: Final = "127.0.0.1"


class ReplayServer:
    """Connection by connection, what the recorded server sent; after the last one from the beginning."""

    def __init__(self, recording: str) -> None:
        self.entries = [entry for entry in recorded() if entry.recording == recording]
        numbers = sorted({entry.connection for entry in self.entries})
        self._connections = [
            [entry for entry in self.entries if entry.connection == number] for number in numbers
        ]
        self._next = 0
        self.heard: list[bytes] = []
        """The messages that came."""
        self.cut_after: int | None = None
        """Octets of a stream after which its connection breaks."""
        self.port = 0

    @property
    def sent_by_client(self) -> list[Recorded]:
        """What the recorded client sent."""
        return [entry for entry in self.entries if entry.to_server]

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        connection = self._connections[self._next % len(self._connections)]
        self._next += 1
        try:
            envelope = await reader.readexactly(ENVELOPE_OCTETS)
            self.heard.append(envelope + await reader.readexactly(decode_envelope(envelope).message_octets))
            for entry in connection:
                if not entry.to_server:
                    cut = self.cut_after if entry.part == "stream" else None
                    writer.write(entry.octets[:cut])
            await writer.drain()
        finally:
            writer.close()

    def restart(self) -> None:
        """Begin with the first connection again."""
        self._next = 0


@asynccontextmanager
async def replaying(recording: str) -> AsyncIterator[ReplayServer]:
    """Serve a recording for the duration of the block."""
    made = ReplayServer(recording)
    server = await asyncio.start_server(made.answer, HOST, 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await server.wait_closed()
