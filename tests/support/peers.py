"""Servers that behave as told: silent, lame, lying, or sending us in circles."""

import asyncio
from collections.abc import Callable
from typing import Any

from protocol.errors import HandleError
from protocol.message import Message, decode_message
from protocol.packets import split
from protocol.site import Interface, InterfaceProtocol, Server, Site

Address = tuple[str, int]
Behaviour = Callable[[Message], list[Message] | list[bytes]]
"""What a server answers to a request: messages or raw datagrams, none to stay silent."""


class Peer:
    """A server on UDP and TCP that answers each request as its behaviour says."""

    def __init__(self, address: Address, behaviour: Behaviour) -> None:
        self.address = address
        self.behaviour = behaviour
        self.requests: list[Message] = []
        self.udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Open the sockets."""
        loop = asyncio.get_running_loop()
        self.udp, _ = await loop.create_datagram_endpoint(lambda: _Ear(self), local_addr=self.address)
        self._tcp = await asyncio.start_server(self._connected, *self.address)

    async def stop(self) -> None:
        """Close the sockets."""
        if self.udp is not None:
            self.udp.close()
        if self._tcp is not None:
            self._tcp.close()
        for writer in self._writers:
            writer.close()
        await asyncio.sleep(0)

    def site(self, **changes: Any) -> Site:
        """Return a site record that names this server."""
        return site_at(self.address, **changes)

    def answers(self, octets: bytes) -> list[bytes]:
        """Return the octets that answer a request; none for what is no request."""
        try:
            request = decode_message(octets)
        except HandleError:
            return []
        self.requests.append(request)
        return [
            answer.encode() if isinstance(answer, Message) else answer for answer in self.behaviour(request)
        ]

    def heard(self, octets: bytes, client: Address) -> None:
        """Take a datagram."""
        assert self.udp is not None
        for answer in self.answers(octets):
            for packet in split(answer):
                self.udp.sendto(packet, client)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            head = await reader.readexactly(20)
            body = await reader.readexactly(int.from_bytes(head[16:20], "big"))
            answers = self.answers(head + body)
            for answer in answers:
                writer.write(answer)
            if answers:
                await writer.drain()
            else:
                await reader.read()  # a silent server keeps the connection open and says nothing
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            self._writers.discard(writer)


class _Ear(asyncio.DatagramProtocol):
    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._peer.heard(data, addr)


def site_at(address: Address, **changes: Any) -> Site:
    """Return a site record of one server at an address, over UDP and TCP."""
    from ipaddress import ip_address

    interfaces = tuple(
        Interface(admin=False, query=True, protocol=protocol, port=address[1])
        for protocol in (InterfaceProtocol.TCP, InterfaceProtocol.UDP)
    )
    server = Server(server_id=1, address=Server.pack_address(ip_address(address[0])), interfaces=interfaces)
    return Site(servers=(server,), **changes)
