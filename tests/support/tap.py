"""A tap between the world and a node: it sees everything that the node receives, and may spoil it.

It listens at an address of its own on the node's ports, for UDP and TCP, and passes everything on. The node's site
record names the tap, so that nobody who reads it goes around.
"""

import asyncio
import random
from dataclasses import dataclass
from typing import Final

from protocol.errors import WireError
from protocol.message import Message, decode_message
from protocol.packets import Reassembler

Address = tuple[str, int]
DELAY_MAX_S: Final = 0.05


@dataclass(kw_only=True)
class Weather:
    """What happens to packets on their way, each with its probability."""

    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def fate(self) -> list[float]:
        """Return after how many seconds copies of a packet arrive; none when it is lost."""
        if self._random.random() < self.loss:
            return []
        copies = 2 if self._random.random() < self.duplication else 1
        late = self._random.random() < self.reordering
        return [self._random.uniform(0, DELAY_MAX_S) if late else 0.0 for _ in range(copies)]


class Tap:
    """One tap; `received` holds every octet string that came for the node, `sent` what it answered."""

    def __init__(self, *, at: Address, to: Address, weather: Weather | None = None) -> None:
        self.at = at
        self.to = to
        self.weather = weather or Weather()
        self.received: list[bytes] = []
        self.sent: list[bytes] = []
        self.is_open = True
        """Whether anything gets through; a closed tap plays a silent node."""
        self._reassembler: Reassembler[Address] = Reassembler()
        self._requests: dict[int, Message] = {}
        self._udp: asyncio.DatagramTransport | None = None
        self._upstream: dict[Address, asyncio.DatagramTransport] = {}
        self._tcp: asyncio.Server | None = None
        self._opening = asyncio.Lock()
        self._streams: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Open the sockets."""
        loop = asyncio.get_running_loop()
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Front(self), local_addr=self.at)
        self._tcp = await asyncio.start_server(self._connected, *self.at)

    async def stop(self) -> None:
        """Close everything."""
        if self._udp is not None:
            self._udp.close()
        for transport in self._upstream.values():
            transport.close()
        if self._tcp is not None:
            self._tcp.close()
        for task in list(self._streams):
            task.cancel()
        await asyncio.gather(*self._streams, return_exceptions=True)
        await asyncio.sleep(0)

    @property
    def requests(self) -> list[Message]:
        """The requests that came over UDP, retransmissions left out."""
        return list(self._requests.values())

    def clear(self) -> None:
        """Forget what was seen."""
        self.received.clear()
        self.sent.clear()
        self._requests.clear()

    async def from_client(self, packet: bytes, client: Address) -> None:
        """Take a datagram for the node."""
        self.received.append(packet)
        self._note(packet, client)
        if not self.is_open:
            return
        async with self._opening:
            upstream = self._upstream.get(client)
            if upstream is None:
                loop = asyncio.get_running_loop()
                upstream, _ = await loop.create_datagram_endpoint(
                    lambda: _Back(self, client), remote_addr=self.to
                )
                self._upstream[client] = upstream
        for delay_s in self.weather.fate():
            self._later(delay_s, upstream, packet, None)

    def from_node(self, packet: bytes, client: Address) -> None:
        """Take a datagram of the node for a client."""
        self.sent.append(packet)
        if self.is_open and self._udp is not None:
            for delay_s in self.weather.fate():
                self._later(delay_s, self._udp, packet, client)

    def _later(
        self, delay_s: float, transport: asyncio.DatagramTransport, packet: bytes, address: Address | None
    ) -> None:
        def send() -> None:
            if not transport.is_closing():
                transport.sendto(packet, address)

        if delay_s:
            asyncio.get_running_loop().call_later(delay_s, send)
        else:
            send()

    def _note(self, packet: bytes, client: Address) -> None:
        try:
            whole = self._reassembler.add(client, packet, 0.0)
            if whole is not None:
                message = decode_message(whole)
                self._requests.setdefault(message.envelope.request_id, message)
        except WireError:
            return

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        try:
            await self._relay(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._streams.discard(task)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.is_open:
            await asyncio.sleep(3_600)
        node_reader, node_writer = await asyncio.open_connection(*self.to)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, node_writer, self.received))
                group.create_task(_pump(node_reader, writer, self.sent))
        except* OSError:
            pass
        finally:
            node_writer.close()


class _Front(asyncio.DatagramProtocol):
    def __init__(self, tap: Tap) -> None:
        self._tap = tap
        self._tasks: set[asyncio.Task[None]] = set()

    def datagram_received(self, data: bytes, addr: Address) -> None:
        task = asyncio.get_running_loop().create_task(self._tap.from_client(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Back(asyncio.DatagramProtocol):
    def __init__(self, tap: Tap, client: Address) -> None:
        self._tap = tap
        self._client = client

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._tap.from_node(data, self._client)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, log: list[bytes]) -> None:
    while octets := await reader.read(65_536):
        log.append(octets)
        writer.write(octets)
        await writer.drain()
    writer.write_eof()
