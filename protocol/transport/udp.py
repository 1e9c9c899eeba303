"""The UDP front end: source check, answer cache, and the responder for requests that the cache does not hold.

What is answered and what is not: octets without a whole header, or with a response code, are dropped, since nothing
could be echoed to the sender and two servers might answer each other for ever. All else gets an answer, or silence
where a limit says so.
"""

import asyncio
import socket
import time
from collections.abc import Mapping
from typing import Final

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
    Limit,
    Peer,
    Responder,
    TransportObserver,
    looks_like_request,
    refusal,
    remember,
    respond,
)
from protocol.transport.fast_path import FAST_PATH, FastPath
from protocol.transport.intake import Address
from protocol.transport.sockets import bound_address, inode_of, open_udp, peer_address, udp_drops
from protocol.transport.source import SourceCheck

_ANNOUNCED: Final = tuple(
    max(0, octets - ENVELOPE_OCTETS).to_bytes(4, "big") for octets in range(PACKET_OCTETS + 1)
)
"""What an envelope says that is alone in a datagram of so many octets."""
SOURCES_TOLD_S: Final = 1.0  # how often the addresses of cached answers are counted


class UdpListener:
    """One bound datagram socket; made by listen_udp()."""

    def __init__(
        self,
        bound: socket.socket,
        responder: Responder,
        *,
        source: SourceCheck,
        cache: AnswerCache | None,
        observer: TransportObserver,
        misses_max: int,
        path: FastPath,
    ) -> None:
        self._socket = bound
        self._responder = responder
        self._source = source
        self._cache = cache
        self._observer = observer
        self._misses_max = misses_max
        self._reassembler: Reassembler[Address] = Reassembler()
        self._misses: set[tuple[Address, bytes]] = set()
        self._in_flight = InFlight()
        self._intake = path.intake(bound, source=source, cache=cache, owner=self)
        self._loop = asyncio.get_running_loop()
        self._telling: asyncio.TimerHandle | None = None
        self._closed = False
        self.address = bound_address(bound)
        self._inode = inode_of(bound)

    @property
    def drops(self) -> int:
        """Datagrams that the kernel dropped because we were too slow, since the socket was opened."""
        return udp_drops(self._inode)

    def open(self) -> None:
        """Begins to answer."""
        self._loop.add_reader(self._socket.fileno(), self._intake.drain)

    async def close(self, drain_s: float = DRAIN_S) -> None:
        """Takes nothing new, finishes what is in flight within drain_s, then closes the socket. Safe to repeat."""
        if self._closed:
            return
        self._loop.remove_reader(self._socket.fileno())
        await self._in_flight.wait(drain_s)
        self._flush()
        if self._telling is not None:
            self._telling.cancel()
            self._tell_sources()
        self._closed = True
        self._socket.close()

    # What the intake hands over

    def miss(self, octets: bytes, address: Address, now_s: float) -> None:
        """See IntakeOwner."""
        self._miss(octets, address, now_s)

    def long_hit(self, request: bytes, response: bytes, address: Address, now_s: float) -> None:
        """See IntakeOwner."""
        self._send(response, address)
        elapsed_s = time.monotonic() - now_s
        self._observer.answered("udp", request, response, "hit", elapsed_s, host=address[0])

    def over_limit(self, octets: bytes, address: Address, now_s: float) -> None:
        """See IntakeOwner."""
        if looks_like_request(octets):
            self._shed(octets, address, ResponseCode.ERROR, "too many requests from your network", now_s)

    def limited(self, name: Limit, count: int) -> None:
        """See IntakeOwner."""
        self._observer.limit_reached(name, count)

    def hits(self, counts: Mapping[bytes, int], elapsed_s: float) -> None:
        """See IntakeOwner."""
        self._observer.hits("udp", counts, elapsed_s)
        if self._telling is None:
            self._telling = self._loop.call_later(SOURCES_TOLD_S, self._tell_sources)

    def is_sample_due(self, count: int) -> bool:
        """See IntakeOwner."""
        return self._observer.is_sample_due(count)

    def sampled(self, request: bytes, response: bytes, host: str) -> None:
        """See IntakeOwner."""
        self._observer.sampled("udp", request, response, host)

    def _tell_sources(self) -> None:
        self._telling = None
        self._observer.sources(self._intake.take_sources())

    def _miss(self, data: bytes, addr: Address, now_s: float) -> None:
        message = self._whole_message(data, addr, now_s)
        if message is None or (addr, message) in self._misses:
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
        if len(data) <= PACKET_OCTETS and data[16:20] == _ANNOUNCED[len(data)] and looks_like_request(data):
            return data  # as nearly always: whole in one datagram
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

    def _shed(self, data: bytes, addr: Address, code: ResponseCode, text: str, started_s: float) -> None:
        response = refusal(data, code, text)
        self._send(response, addr)
        self._observer.answered("udp", data, response, "shed", time.monotonic() - started_s, host=addr[0])

    def _send(self, octets: bytes, addr: Address) -> None:
        if not addr[1] or self._closed:
            return  # port 0 is forged: nothing can be sent there
        if len(octets) <= PACKET_OCTETS:
            self._send_packet(octets, addr)
            return
        packets = split(octets)
        if not self._source.may_send(addr[0], len(packets), time.monotonic()):
            self._observer.limit_reached("source_rate")  # a real client asks again, or over TCP
            return
        for packet in packets:
            self._send_packet(packet, addr)

    def _send_packet(self, packet: bytes, addr: Address) -> None:
        if self._intake.send(packet, addr):
            self._loop.call_soon(self._flush)  # with whatever else is to be sent in this turn of the loop

    def _flush(self) -> None:
        if not self._closed and (lost := self._intake.flush()):
            self._observer.limit_reached("send_buffer", lost)


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
    path: FastPath | None = None,
    bound: socket.socket | None = None,
) -> UdpListener:
    """Answers Handle requests on a UDP port.

    host: a literal address. port: 0 for a free one, told by the result's address. misses_max: requests that the cache
    does not hold and that are worked on at once; more are told that we are busy. path: None for the one that
    this process has chosen; the cache is of the same path. bound: a socket that is bound there already. Raises
    SettingsError when the port cannot be opened.
    """
    listener = UdpListener(
        bound or open_udp(host, port),
        responder,
        source=source,
        cache=cache,
        observer=observer,
        misses_max=misses_max,
        path=path or FAST_PATH,
    )
    listener.open()
    return listener
