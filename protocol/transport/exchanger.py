"""Exchanger: one request and its response with any interface of any server."""

import os
from collections.abc import AsyncGenerator
from typing import Final

from protocol.errors import Unreachable
from protocol.message import Message, decode_message
from protocol.site import InterfaceProtocol
from protocol.transport.tcp_exchange import exchange_octets_tcp, stream_tcp
from protocol.transport.tunnel import HttpExchanger
from protocol.transport.udp_exchange import UdpExchanger, canonical

RANDOM_BLOCK_OCTETS: Final = (
    4_096  # of the kernel's generator at once: a call for each id costs as much as sending
)
_random = bytearray()


def new_request_id() -> int:
    """An unpredictable request id: positive, 31 bits (PROTOCOL.md §3.1)."""
    return int.from_bytes(new_request_id_octets(), "big")


def new_request_id_octets() -> bytes:
    """The same as the four octets that an envelope holds."""
    while True:
        if not _random:
            _random.extend(os.urandom(RANDOM_BLOCK_OCTETS))
        octets = bytes((_random[-1] & 0x7F,)) + _random[-4:-1]
        del _random[-4:]
        if any(octets):
            return octets


os.register_at_fork(after_in_child=_random.clear)  # two processes must not draw the same ids


class Exchanger:
    """The client side of all transports; made within a running event loop, closed by close()."""

    def __init__(self) -> None:
        self.udp = UdpExchanger()
        self._http = HttpExchanger()

    async def exchange(
        self,
        interface_protocol: int,
        address: str,
        port: int,
        request: Message,
        *,
        deadline_s: float,
        path: str = "",
    ) -> Message:
        """Sends a request to one interface and returns the response, undigested and unjudged.

        interface_protocol: an InterfaceProtocol. address: a literal IPv4 or IPv6 address. deadline_s: monotonic. path:
        for HTTP, the site's path attribute. Raises Unreachable when no whole answer came, WireError when it is none.
        """
        return decode_message(
            await self.exchange_octets(
                interface_protocol, address, port, request.encode(), deadline_s=deadline_s, path=path
            )
        )

    async def exchange_octets(
        self,
        interface_protocol: int,
        address: str,
        port: int,
        request: bytes,
        *,
        deadline_s: float,
        path: str = "",
    ) -> bytes:
        """The same for messages that may be encrypted, as whole messages with their envelopes."""
        address = _literal(address)
        match interface_protocol:
            case InterfaceProtocol.UDP:
                return await self.udp.exchange_octets(address, port, request, deadline_s=deadline_s)
            case InterfaceProtocol.TCP:
                return await exchange_octets_tcp(address, port, request, deadline_s=deadline_s)
            case InterfaceProtocol.HTTP | InterfaceProtocol.HTTPS:
                tls = interface_protocol == InterfaceProtocol.HTTPS
                return await self._http.exchange_octets(
                    address, port, request, deadline_s=deadline_s, path=path, tls=tls
                )
            case _:
                raise Unreachable(f"nobody speaks interface protocol {interface_protocol}", node=address)

    def stream(
        self,
        interface_protocol: int,
        address: str,
        port: int,
        request: Message,
        *,
        patience_s: float,
        path: str = "",
    ) -> AsyncGenerator[Message, None]:
        """Sends a request and gives the messages of its answer, of which each but the last has CONT.

        patience_s: for the connection, and for each message. Raises as exchange(), and Unreachable over UDP, where no
        answer has several messages (PROTOCOL.md §4.11).
        """
        address = _literal(address)
        match interface_protocol:
            case InterfaceProtocol.TCP:
                return stream_tcp(address, port, request, patience_s=patience_s)
            case InterfaceProtocol.HTTP | InterfaceProtocol.HTTPS:
                tls = interface_protocol == InterfaceProtocol.HTTPS
                return self._http.stream(address, port, request, patience_s=patience_s, path=path, tls=tls)
            case _:
                raise Unreachable("an answer of several messages takes TCP or HTTP", node=address)

    async def close(self) -> None:
        """Closes every socket."""
        await self.udp.close()
        await self._http.close()


def _literal(address: str) -> str:
    """The one spelling of an address; names are never looked up. Raises Unreachable."""
    try:
        return canonical(address)[1]
    except OSError as error:
        raise Unreachable("no literal address", node=address) from error
