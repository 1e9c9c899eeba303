"""What a supervisor and a worker tell each other, over a pair of sockets that nobody else can reach.

A frame is the number of its octets in four, and one message in MessagePack. Both ends are ours, so what cannot be read
is a bug; its size is bounded even so.
"""

import asyncio
import socket
import struct
from typing import Any, Final, Generic, TypeVar

import msgspec

from protocol.runtime.workers.sockets import Inherited

FRAME_OCTETS_MAX: Final = 8 * 1_048_576  # the samples of a busy node are some hundred kilobytes
_LENGTH: Final = struct.Struct(">I")


class Start(msgspec.Struct, frozen=True, tag=True):
    """To a worker, first of all: who it is."""

    settings: bytes
    """In MessagePack: what the supervisor has read and checked, so that a file that changes meanwhile does nothing."""
    index: int
    column: int
    """Of the shared seconds."""
    sockets: list[Inherited]
    memory: int
    """Descriptor of the shared memory."""


class Collect(msgspec.Struct, frozen=True, tag=True):
    """To a worker: tell what you have counted."""


class Probe(msgspec.Struct, frozen=True, tag=True):
    """To a worker: are you ready?"""


class Drain(msgspec.Struct, frozen=True, tag=True):
    """To a worker: take nothing new, finish, and end."""


class Ready(msgspec.Struct, frozen=True, tag=True):
    """From a worker: it answers."""

    site_serial: int


class Failed(msgspec.Struct, frozen=True, tag=True):
    """From a worker: it cannot start."""

    faults: list[str]
    outage: bool
    """Whether something that it needs is down; else the settings are at fault."""


class Family(msgspec.Struct, frozen=True, array_like=True):
    """A metric with its samples: name, labels and number of each."""

    name: str
    documentation: str
    kind: str
    samples: list[tuple[str, dict[str, str], float]]


class Collected(msgspec.Struct, frozen=True, tag=True):
    """From a worker: what it has counted since it began. Also sent as the last thing it says."""

    families: list[Family]


class Probed(msgspec.Struct, frozen=True, tag=True):
    """From a worker: why it is not ready, by the name of the check."""

    reasons: dict[str, str]


ToWorker = Start | Collect | Probe | Drain
FromWorker = Ready | Failed | Collected | Probed
Received = TypeVar("Received")


class Control(Generic[Received]):
    """One end of the pair."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, received: Any) -> None:
        self._reader, self._writer = reader, writer
        self._decoder: msgspec.msgpack.Decoder[Received] = msgspec.msgpack.Decoder(received)
        self._encoder = msgspec.msgpack.Encoder()

    @classmethod
    async def open(cls, end: socket.socket, received: Any) -> "Control[Received]":
        """Use one end, and close it at last. received: the union of messages that come."""
        reader, writer = await asyncio.open_connection(sock=end)
        return cls(reader, writer, received)

    async def send(self, message: ToWorker | FromWorker) -> None:
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

    async def close(self) -> None:
        """What was sent is on its way, and then there is no more. Raises ConnectionError."""
        self._writer.close()
        await self._writer.wait_closed()
