"""Messages between two processes of one node, over a socket that nobody else can reach.

A frame is the number of its octets in four, and one message in MessagePack. Both ends are ours, so what cannot be read
is a bug; its size is bounded even so.
"""

import asyncio
import socket
import struct
from typing import Any, Final, Generic, TypeVar

import msgspec

FRAME_OCTETS_MAX: Final = 8 * 1_048_576  # the samples of a busy node are some hundred kilobytes
_LENGTH: Final = struct.Struct(">I")

Received = TypeVar("Received")


class Channel(Generic[Received]):
    """One end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, received: Any) -> None:
        """received: the union of messages that come."""
        self._reader, self._writer = reader, writer
        self._decoder: msgspec.msgpack.Decoder[Received] = msgspec.msgpack.Decoder(received)
        self._encoder = msgspec.msgpack.Encoder()

    @classmethod
    async def open(cls, end: socket.socket, received: Any) -> "Channel[Received]":
        """Use a connected socket, and close it at last."""
        reader, writer = await asyncio.open_connection(sock=end)
        return cls(reader, writer, received)

    @property
    def is_ended(self) -> bool:
        """Whether the other end is known to be gone."""
        return self._reader.at_eof() or self._writer.is_closing()

    async def send(self, message: msgspec.Struct) -> None:
        """Raises ConnectionError when the other end is gone."""
        frame = self._encoder.encode(message)
        assert len(frame) <= FRAME_OCTETS_MAX
        self._writer.write(_LENGTH.pack(len(frame)) + frame)
        await self._writer.drain()

    async def receive(self) -> Received:
        """The next message. Raises EOFError or ConnectionError when the other end is gone, ValueError for a bug."""
        (octets,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
        if octets > FRAME_OCTETS_MAX:
            raise ValueError(f"a frame of {octets} octets")
        return self._decoder.decode(await self._reader.readexactly(octets))

    def abort(self) -> None:
        """End it at once."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """What was sent is on its way, and then there is no more. Raises ConnectionError."""
        self._writer.close()
        await self._writer.wait_closed()
