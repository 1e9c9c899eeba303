"""Clients that keep asking, and count every answer: none may be missing when a node restarts itself."""

import asyncio
import itertools
from typing import Final, cast

from protocol.codes import DEFAULT_FLAGS, OpFlag
from protocol.message import ENVELOPE_OCTETS, decode_message
from tests.support.asking import Address, Answered, read_answer, resolution

PATIENCE_S: Final = 30.0


class DatagramClient(asyncio.DatagramProtocol):
    """One socket; its request ids are given or count up, so that two workers have them by turns."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Answered]] = {}

    @classmethod
    async def open(cls, address: Address) -> "DatagramClient":
        """Bind a socket of its own."""
        _, client = await asyncio.get_running_loop().create_datagram_endpoint(cls, remote_addr=address)
        return client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: object) -> None:
        message = decode_message(data)
        waiting = self._waiting.pop(message.envelope.request_id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(read_answer(message))

    def send(self, handle: str, *, request_id: int | None = None) -> asyncio.Future[Answered]:
        """Ask once, and give what will be answered."""
        number = next(self._ids) if request_id is None else request_id
        octets = bytearray(resolution(handle).encode())
        octets[8:12] = number.to_bytes(4, "big")
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._transport.sendto(bytes(octets))
        return answer

    async def ask(self, handle: str, *, request_id: int | None = None) -> Answered:
        """Ask once and wait."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.send(handle, request_id=request_id)

    def close(self) -> None:
        """Close the socket."""
        self._transport.close()


class StreamClient:
    """One connection that is to be kept, and made anew when the server has ended it."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.connections = 0

    async def ask(self, handle: str) -> Answered:
        """Ask; on a new connection when the server ended the kept one before it began to answer, as clients do."""
        octets = resolution(handle, flags=DEFAULT_FLAGS | OpFlag.KPAL).encode()
        async with asyncio.timeout(PATIENCE_S):
            if self._streams is not None:
                try:
                    return await self._exchange(octets)
                except (asyncio.IncompleteReadError, ConnectionError) as error:
                    if getattr(error, "partial", b""):
                        raise  # an answer was cut off
                    self.close()
            self._streams = await asyncio.open_connection(*self._address)
            self.connections += 1
            return await self._exchange(octets)

    async def _exchange(self, octets: bytes) -> Answered:
        assert self._streams is not None
        reader, writer = self._streams
        writer.write(octets)
        envelope = await reader.readexactly(ENVELOPE_OCTETS)
        rest = await reader.readexactly(int.from_bytes(envelope[16:20], "big"))
        return read_answer(decode_message(envelope + rest))

    def close(self) -> None:
        """End the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
