"""Datagrams as a client: one raw socket of an address family, drained at each wake-up of the event loop.

The one place where datagrams to and from servers pass the kernel.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from protocol.transport.sockets import UDP_BUFFER_OCTETS

DRAIN_MAX: Final = 64  # datagrams taken at one wake-up, before others have their turn
DATAGRAM_OCTETS_MAX: Final = 65_535

Address = tuple[str, int]
"""Host as the kernel spells it, without zone, and port."""

Received = Callable[[bytes, Address], None]


class DatagramSocket:
    """An unconnected socket on an unpredictable port; made within a running event loop."""

    def __init__(self, family: socket.AddressFamily, received: Received) -> None:
        """received: told of each datagram. Raises OSError when the host does not have the address family."""
        self._received = received
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._is_ipv6 = family == socket.AF_INET6
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER_OCTETS)
            self._socket.bind(("", 0))
        except OSError:
            self._socket.close()
            raise
        self._loop.add_reader(self._socket.fileno(), self._drain)

    @property
    def port(self) -> int:
        """Where answers come in."""
        return int(self._socket.getsockname()[1])

    def send(self, datagram: bytes, to: Address) -> None:
        """Hand a datagram to the kernel. Raises OSError when there is no way there.

        One for which the kernel has no room is lost, as on any way: its sender sends it again.
        """
        try:
            self._socket.sendto(datagram, to)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Close the socket; nothing is received any more."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _drain(self) -> None:
        receive, received = self._socket.recvfrom, self._received
        try:
            for _ in range(DRAIN_MAX):
                datagram, sender = receive(DATAGRAM_OCTETS_MAX)
                received(datagram, without_zone(sender) if self._is_ipv6 else sender)
        except BlockingIOError:
            return
        except OSError:
            return  # an ICMP error names no request, so retransmission and deadline stay in charge


def without_zone(name: tuple[str, int, int, int]) -> Address:
    """Host and port of an IPv6 peer."""
    return name[0].partition("%")[0], name[1]
