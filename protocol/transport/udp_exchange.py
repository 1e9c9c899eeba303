"""UDP as a client: one socket for each address family, retransmission, and only answers that were asked for.

An answer must come from the address that was asked and carry the request id of a request that is waiting for it: 31
unpredictable bits beside an unpredictable source port. Anything else is counted and dropped.
"""

import asyncio
import socket
import time
from dataclasses import dataclass
from typing import Any, Final, cast

from protocol.errors import Unreachable, WireError
from protocol.message import ENVELOPE_OCTETS, Message, decode_message
from protocol.packets import Reassembler, split
from protocol.transport.sockets import UDP_BUFFER_OCTETS

RETRY_S: Final = (0.5, 1.0, 1.5)  # waits after each transmission, as deployed clients (PROTOCOL.md §3.9)
WAITING_MAX: Final = 16_384  # requests on their way at once; request ids must stay sparse among 2^31

Key = tuple[int, str, int]
"""Request id, host, port."""


@dataclass(slots=True)
class _Socket(asyncio.DatagramProtocol):
    """One address family's socket."""

    exchanger: "UdpExchanger"
    transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self.exchanger.received(data, str(addr[0]).partition("%")[0], int(addr[1]))

    def error_received(self, exc: Exception) -> None:
        """An ICMP error names no request, so retransmission and deadline stay in charge."""


class UdpExchanger:
    """Exchanges messages over UDP with many servers at once."""

    def __init__(self) -> None:
        self._sockets: dict[socket.AddressFamily, _Socket] = {}
        self._opening = asyncio.Lock()
        self._waiting: dict[Key, asyncio.Future[Message]] = {}
        self._reassembler: Reassembler[tuple[str, int]] = Reassembler()
        self.mismatched = 0
        """Datagrams that nobody waited for: late, forged, or from another address."""

    async def exchange(
        self,
        address: str,
        port: int,
        request: Message,
        *,
        deadline_s: float,
        retry_s: tuple[float, ...] = RETRY_S,
    ) -> Message:
        """Sends a request, again after each wait of retry_s, and returns the response.

        deadline_s: monotonic. The packets of every transmission are identical. Raises Unreachable without an answer.
        """
        node = f"{address} UDP {port}"
        try:
            family, host = canonical(address)
        except OSError as error:
            raise Unreachable("no literal address", node=node) from error
        key = (request.envelope.request_id, host, port)
        if key in self._waiting or len(self._waiting) >= WAITING_MAX:
            raise Unreachable("too many requests on their way", node=node)
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[key] = answer
        try:
            _check_route(family, host, port)
            transport = await self._transport(family)
            async with asyncio.timeout_at(deadline_s):
                return await _transmit(transport, split(request.encode()), (host, port), answer, retry_s)
        except TimeoutError as error:
            raise Unreachable("no answer in time", node=node) from error
        except OSError as error:
            raise Unreachable(error.strerror or "the datagram cannot be sent", node=node) from error
        finally:
            del self._waiting[key]
            _ = answer.cancel() or answer.exception()  # what came too late is nobody's surprise

    def received(self, packet: bytes, host: str, port: int) -> None:
        """One datagram that came in."""
        request_id = int.from_bytes(packet[8:12], "big")
        answer = self._waiting.get((request_id, host, port))
        if len(packet) < ENVELOPE_OCTETS or answer is None or answer.done():
            self.mismatched += 1
            return
        try:
            whole = self._reassembler.add((host, port), packet, time.monotonic())
            if whole is not None:
                answer.set_result(decode_message(whole))
        except WireError as error:
            # Whoever can forge address and request id could also forge an answer: waiting on would gain nothing.
            answer.set_exception(error)

    async def close(self) -> None:
        """Closes the sockets; exchanges under way end at their deadline."""
        for opened in self._sockets.values():
            if opened.transport is not None:
                opened.transport.close()
        self._sockets.clear()
        await asyncio.sleep(0)

    async def _transport(self, family: socket.AddressFamily) -> asyncio.DatagramTransport:
        async with self._opening:
            opened = self._sockets.get(family)
            if opened is None:
                opened = self._sockets[family] = await self._open(family)
        assert opened.transport is not None
        return opened.transport

    async def _open(self, family: socket.AddressFamily) -> _Socket:
        protocol = _Socket(self)
        unbound = socket.socket(family, socket.SOCK_DGRAM)
        try:
            unbound.setblocking(False)
            unbound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER_OCTETS)
            unbound.bind(("", 0))
            await asyncio.get_running_loop().create_datagram_endpoint(lambda: protocol, sock=unbound)
        except OSError:
            unbound.close()
            raise
        return protocol


def canonical(address: str) -> tuple[socket.AddressFamily, str]:
    """The family of a literal address and its one spelling, as the kernel gives it back.

    An IPv4 address written as IPv6 is IPv4. Raises OSError for text that is no address.
    """
    if ":" not in address:
        return socket.AF_INET, socket.inet_ntop(socket.AF_INET, socket.inet_pton(socket.AF_INET, address))
    octets = socket.inet_pton(socket.AF_INET6, address)
    if octets.startswith(bytes(10) + b"\xff\xff"):
        return socket.AF_INET, socket.inet_ntop(socket.AF_INET, octets[12:])
    return socket.AF_INET6, socket.inet_ntop(socket.AF_INET6, octets)


def _check_route(family: socket.AddressFamily, host: str, port: int) -> None:
    """Raises OSError when the kernel knows no way there, as for IPv6 on most hosts without it.

    A datagram that cannot leave raises nothing on a shared socket, so the exchange would wait for all its retries.
    """
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.setblocking(False)
        probe.connect((host, port))


async def _transmit(
    transport: asyncio.DatagramTransport,
    packets: list[bytes],
    to: tuple[str, int],
    answer: "asyncio.Future[Message]",
    retry_s: tuple[float, ...],
) -> Message:
    """Raises TimeoutError after the last wait."""
    for wait_s in retry_s:
        for packet in packets:
            transport.sendto(packet, to)
        done, _ = await asyncio.wait([answer], timeout=wait_s)
        if done:
            return answer.result()
    raise TimeoutError
