"""The UDP front end: source check, answer cache, and the responder for requests that the cache does not hold.

What is answered and what is not: octets without a whole header, or with a response code, are dropped, since nothing
could be echoed to the sender and two servers might answer each other for ever. All else gets an answer, or silence
where a limit says so.
"""

import asyncio
import time
from typing import Any, Final, cast

import structlog

from protocol.codes import ResponseCode
from protocol.errors import WireError
from protocol.message import ENVELOPE_OCTETS, undecodable
from protocol.packets import PACKET_OCTETS, Reassembler, split
from protocol.transport.answer_cache import AnswerCache
from protocol.transport.base import (
    DRAIN_S,
    MISSES_MAX,
    SILENT,
    Answer,
    InFlight,
    Peer,
    Responder,
    TransportObserver,
    looks_like_request,
    refusal,
    remember,
    respond,
)
from protocol.transport.sockets import bound_address, inode_of, open_udp, peer_address, udp_drops
from protocol.transport.source import SourceCheck, Verdict

SEND_BUFFER_OCTETS: Final = 1_048_576  # answers that the kernel did not take; beyond, they are dropped

log = structlog.get_logger(__name__)

Address = tuple[Any, ...]


class UdpListener(asyncio.DatagramProtocol):
    """One bound datagram socket; made by listen_udp()."""

    def __init__(
        self,
        responder: Responder,
        *,
        source: SourceCheck,
        cache: AnswerCache | None,
        observer: TransportObserver,
        misses_max: int,
    ) -> None:
        self._responder = responder
        self._source = source
        self._cache = cache
        self._observer = observer
        self._misses_max = misses_max
        self._reassembler: Reassembler[Address] = Reassembler()
        self._misses: set[tuple[Address, bytes]] = set()
        self._in_flight = InFlight()
        self._draining = False
        self._closed = asyncio.Event()
        self.address = ("", 0)
        self.inode = 0

    @property
    def drops(self) -> int:
        """Datagrams that the kernel dropped because we were too slow, since the socket was opened."""
        return udp_drops(self.inode)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is ready."""
        self._transport = cast(asyncio.DatagramTransport, transport)
        self._unsent = cast(asyncio.WriteTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self._closed.set()

    def error_received(self, exc: Exception) -> None:
        """A client could not be reached; that is its own affair."""

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """Answers from the cache at once, or hands the datagram on."""
        now_s = time.monotonic()
        verdict = self._source.check(addr[0], now_s)
        if verdict is not Verdict.ADMIT:
            self._over_limit(data, addr, verdict, now_s)
            return
        if self._cache is not None:
            hit = self._cache.get(data, now_s, time.time())
            if hit is not None:
                self._send(hit, addr)
                self._observer.answered("udp", data, hit, "hit", time.monotonic() - now_s, host=addr[0])
                return
        self._miss(data, addr, now_s)

    async def close(self, drain_s: float = DRAIN_S) -> None:
        """Takes nothing new, finishes what is in flight within drain_s, then closes the socket."""
        self._draining = True
        await self._in_flight.wait(drain_s)
        self._transport.close()
        await self._closed.wait()

    def _miss(self, data: bytes, addr: Address, now_s: float) -> None:
        message = self._whole_message(data, addr, now_s)
        if message is None or self._draining or (addr, message) in self._misses:
            return  # a retransmission of what is being worked on is answered once
        if len(self._misses) >= self._misses_max:
            self._observer.limit_reached("concurrent_misses")
            self._shed(message, addr, ResponseCode.SERVER_TOO_BUSY, "too many requests at once", now_s)
            return
        self._misses.add((addr, message))
        self._in_flight.enter()
        host, port = peer_address(addr)
        reply = _Miss(self, message, addr, now_s).reply
        respond(self._responder, message, Peer(host, port, "udp"), reply)

    def _whole_message(self, data: bytes, addr: Address, now_s: float) -> bytes | None:
        """The message that this datagram completes; None when it is a piece, or nothing that may be answered."""
        if len(data) < ENVELOPE_OCTETS:
            self._observer.undecodable("udp")
            return None
        try:
            message = self._reassembler.add(addr, data, now_s)
        except WireError as error:
            self._observer.undecodable("udp")
            if looks_like_request(data):
                self._send(undecodable(data, str(error), time.time()).encode(), addr)
            return None
        if message is not None and not looks_like_request(message):
            self._observer.undecodable("udp")
            return None
        return message

    def answered(self, miss: "_Miss", answer: Answer | None) -> None:
        """The responder has answered a miss, or decided to be silent."""
        self._misses.discard((miss.addr, miss.message))
        self._in_flight.leave()
        if answer is None:
            return
        self._send(answer.octets, miss.addr)
        remember(self._cache, miss.message, answer)
        elapsed_s = time.monotonic() - miss.started_s
        self._observer.answered("udp", miss.message, answer.octets, "miss", elapsed_s, host=miss.addr[0])

    def _over_limit(self, data: bytes, addr: Address, verdict: Verdict, now_s: float) -> None:
        self._observer.limit_reached("source_refused" if verdict is Verdict.REFUSED else "source_rate")
        if verdict is Verdict.LIMITED and looks_like_request(data):
            self._shed(data, addr, ResponseCode.ERROR, "too many requests from your network", now_s)

    def _shed(self, data: bytes, addr: Address, code: ResponseCode, text: str, started_s: float) -> None:
        response = refusal(data, code, text)
        self._send(response, addr)
        self._observer.answered("udp", data, response, "shed", time.monotonic() - started_s, host=addr[0])

    def _send(self, octets: bytes, addr: Address) -> None:
        if not addr[1] or self._transport.is_closing():
            return  # port 0 is forged: nothing can be sent there
        if self._unsent.get_write_buffer_size() > SEND_BUFFER_OCTETS:
            self._observer.limit_reached("send_buffer")
            return
        if len(octets) <= PACKET_OCTETS:
            self._transport.sendto(octets, addr)
            return
        packets = split(octets)
        if not self._source.may_send(addr[0], len(packets), time.monotonic()):
            self._observer.limit_reached("source_rate")  # a real client asks again, or over TCP
            return
        for packet in packets:
            self._transport.sendto(packet, addr)


class _Miss:
    """One request that the responder works on."""

    __slots__ = ("addr", "listener", "message", "started_s")

    def __init__(self, listener: UdpListener, message: bytes, addr: Address, started_s: float) -> None:
        self.listener = listener
        self.message = message
        self.addr = addr
        self.started_s = started_s

    def reply(self, answer: Answer | None) -> None:
        """See Reply."""
        self.listener.answered(self, answer)


async def listen_udp(
    host: str,
    port: int,
    responder: Responder,
    *,
    source: SourceCheck,
    cache: AnswerCache | None = None,
    observer: TransportObserver = SILENT,
    misses_max: int = MISSES_MAX,
) -> UdpListener:
    """Answers Handle requests on a UDP port.

    host: a literal address. port: 0 for a free one, told by the result's address. misses_max: requests that the cache
    does not hold and that are worked on at once; more are told that we are busy. Raises SettingsError when the port
    cannot be opened.
    """
    listener = UdpListener(
        responder,
        source=source,
        cache=cache,
        observer=observer,
        misses_max=misses_max,
    )
    bound = open_udp(host, port)
    listener.address = bound_address(bound)
    listener.inode = inode_of(bound)
    await asyncio.get_running_loop().create_datagram_endpoint(lambda: listener, sock=bound)
    return listener
