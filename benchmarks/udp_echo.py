"""The floor: a UDP server that sends back what it gets, on the event loop of our daemons, and does nothing else."""

import asyncio
import sys
from typing import cast

import uvloop


class Echo(asyncio.DatagramProtocol):
    """Sends each datagram back."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport to answer on."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """The whole service."""
        self._transport.sendto(data, addr)


async def serve() -> None:
    """Listens on a free port of 127.0.0.1, prints it, and serves until standard input closes."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    print(transport.get_extra_info("sockname")[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    transport.close()


if __name__ == "__main__":
    uvloop.run(serve())
