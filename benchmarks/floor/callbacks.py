"""Bare UDP servers on the callbacks of uvloop: an echo, and a forwarder to one upstream.

    python -m benchmarks.floor.callbacks echo
    python -m benchmarks.floor.callbacks forward 127.0.0.1:2641

The forwarder is the floor of a cache miss: a fresh request id, the datagram sent on, the answer sent back with the
client's id. It checks nothing, times nothing out and keeps nothing.
"""

import asyncio
import itertools
import sys
from typing import Any, cast

import uvloop

from benchmarks.load.run import parse_address

REQUEST_ID = slice(8, 12)


class Echo(asyncio.DatagramProtocol):
    """Sends each datagram back."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to answer on."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """The whole service."""
        self._transport.sendto(data, addr)


class Forwarder(asyncio.DatagramProtocol):
    """The client's side; the upstream's is `Upstream`."""

    def __init__(self) -> None:
        self.waiting: dict[bytes, tuple[bytes, tuple[Any, ...]]] = {}
        self.upstream: asyncio.DatagramTransport | None = None
        self._ids = itertools.count()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to answer on."""
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """A question: send it on."""
        assert self.upstream is not None
        fresh = (next(self._ids) & 0x3FFF_FFFF).to_bytes(4, "big")
        self.waiting[fresh] = data[REQUEST_ID], addr
        self.upstream.sendto(data[:8] + fresh + data[12:])


class Upstream(asyncio.DatagramProtocol):
    """The socket to the one upstream."""

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """An answer: send it back."""
        asked = self._forwarder.waiting.pop(data[REQUEST_ID], None)
        if asked is not None:
            self._forwarder.transport.sendto(data[:8] + asked[0] + data[12:], asked[1])


async def serve(kind: str, *upstream: str) -> None:
    """Listen on a free port of 127.0.0.1, print it, and serve until standard input ends."""
    loop = asyncio.get_running_loop()
    factory = Echo if kind == "echo" else Forwarder
    transport, protocol = await loop.create_datagram_endpoint(factory, local_addr=("127.0.0.1", 0))
    if isinstance(protocol, Forwarder):
        protocol.upstream, _ = await loop.create_datagram_endpoint(
            lambda: Upstream(protocol), remote_addr=parse_address(upstream[0])
        )
    print(transport.get_extra_info("sockname")[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    transport.close()


if __name__ == "__main__":
    uvloop.run(serve(*sys.argv[1:]))
