"""UDP as a client: one socket for each address family, retransmission, and only answers that were asked for.

An answer must come from the address that was asked and carry the request id of a request that is waiting for it: 31
unpredictable bits beside an unpredictable source port. Anything else is counted and dropped. All waits share one timer
of the event loop, and an exchange needs no task: begin() calls back, exchange() is the same for coroutines.
"""

import asyncio
import errno
import socket
import time
from collections.abc import Sequence
from typing import Final

import structlog

from protocol.errors import HandleError, NotSent, Unreachable, WireError
from protocol.message import ENVELOPE_OCTETS, Message, decode_message
from protocol.packets import Reassembler, split
from protocol.transport.datagrams import Address, DatagramSocket
from protocol.transport.timer_wheel import TimerWheel

RETRY_S: Final = (0.5, 1.0, 1.5)  # waits after each transmission, as deployed clients (PROTOCOL.md §3.9)
WAITING_MAX: Final = 16_384  # requests on their way at once; request ids must stay sparse among 2^31
_OUR_SHORTAGES: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_SEVERAL_PACKETS: Final = 0x20

log = structlog.get_logger(__name__)


class Sent:
    """One request on its way; a subclass says in done() what becomes of its answer."""

    __slots__ = ("_attempt", "_due", "_retry_s", "_until_s", "key", "packets", "socket")

    def __init__(
        self, packets: Sequence[bytes], to: Address, until_s: float, retry_s: tuple[float, ...] = RETRY_S
    ) -> None:
        """packets: of the request, identical in each transmission. to: as canonical() spells it. until_s: monotonic."""
        self.key = (packets[0][8:12], to)
        self.packets = packets
        self.socket: DatagramSocket
        self._retry_s = retry_s
        self._until_s = until_s
        self._attempt = 0
        self._due: set[Sent] | None = None

    def done(self, outcome: bytes | HandleError) -> None:
        """Told once, never from within begin(): the octets of the whole answer, or why there is none."""
        raise NotImplementedError

    def transmit(self, wheel: "TimerWheel[Sent]", now_s: float) -> float | None:
        """Send the packets, again or for the first time; when to look again, None when the patience is used up.

        Raises OSError when there is no way to the server.
        """
        attempt = self._attempt
        if attempt == len(self._retry_s) or now_s >= self._until_s:
            return None
        for packet in self.packets:
            self.socket.send(packet, self.key[1])
        self._attempt = attempt + 1
        due_s = now_s + self._retry_s[attempt]
        due_s = min(due_s, self._until_s)
        self._due = wheel.add(self, due_s)
        return due_s

    def end_wait(self) -> None:
        """Wait no longer; safe to repeat."""
        if self._due is not None:
            self._due.discard(self)


class _Awaited(Sent):
    """A request that a coroutine waits for."""

    __slots__ = ("answer",)

    def __init__(
        self, packets: Sequence[bytes], to: Address, until_s: float, retry_s: tuple[float, ...]
    ) -> None:
        super().__init__(packets, to, until_s, retry_s)
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def done(self, outcome: bytes | HandleError) -> None:
        """See Sent."""
        if self.answer.done():
            return
        if isinstance(outcome, bytes):
            self.answer.set_result(outcome)
        else:
            self.answer.set_exception(outcome)


class UdpExchanger:
    """Exchanges messages over UDP with many servers at once; used within one event loop."""

    def __init__(self) -> None:
        self._sockets: dict[socket.AddressFamily, DatagramSocket] = {}
        self._waiting: dict[tuple[bytes, Address], Sent] = {}
        self._reassembler: Reassembler[Address] = Reassembler()
        self._wheel: TimerWheel[Sent] = TimerWheel()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = 0.0
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

        deadline_s: monotonic. The packets of every transmission are identical. Raises Unreachable without an answer,
        WireError for one that is no message.
        """
        octets = await self.exchange_octets(
            address, port, request.encode(), deadline_s=deadline_s, retry_s=retry_s
        )
        return decode_message(octets)

    async def exchange_octets(
        self,
        address: str,
        port: int,
        request: bytes,
        *,
        deadline_s: float,
        retry_s: tuple[float, ...] = RETRY_S,
    ) -> bytes:
        """The same with the octets of both, those of the response in one piece and otherwise as they came."""
        try:
            family, host = canonical(address)
        except OSError as error:
            raise Unreachable("no literal address", node=_node(address, port)) from error
        sent = _Awaited(split(request), (host, port), deadline_s, retry_s)
        self.begin(family, sent, time.monotonic())
        try:
            return await sent.answer
        finally:
            self.give_up(sent)
            _ = sent.answer.cancel() or sent.answer.exception()  # what came too late is nobody's surprise

    def begin(self, family: socket.AddressFamily, sent: Sent, now_s: float) -> None:
        """Send a request for the first time, and return. now_s: monotonic. Raises Unreachable when it cannot be."""
        key = sent.key
        if key in self._waiting or len(self._waiting) >= WAITING_MAX:
            raise NotSent("too many requests on their way", node=_node(*key[1]))
        try:
            sent.socket = self._sockets.get(family) or self._open(family)
            due_s = sent.transmit(self._wheel, now_s)
        except OSError as error:
            raise _unsendable(error, key[1]) from error
        if due_s is None:
            raise Unreachable("no answer in time", node=_node(*key[1]))
        self._waiting[key] = sent
        if self._timer is None or due_s < self._timer_s:
            self._arm()

    def give_up(self, sent: Sent) -> None:
        """Wait for an answer no longer; safe to repeat."""
        if self._waiting.get(sent.key) is sent:
            del self._waiting[sent.key]
        sent.end_wait()

    def received(self, packet: bytes, sender: Address) -> None:
        """One datagram that came in."""
        sent = self._waiting.get((packet[8:12], sender))
        if sent is None or len(packet) < ENVELOPE_OCTETS:
            self.mismatched += 1
            return
        outcome: bytes | HandleError | None = packet
        if (
            packet[2] & _SEVERAL_PACKETS
            or int.from_bytes(packet[16:20], "big") != len(packet) - ENVELOPE_OCTETS
        ):
            outcome = self._reassembled(packet, sender)
        if outcome is not None:
            del self._waiting[sent.key]
            sent.end_wait()
            _tell(sent, outcome)

    async def close(self) -> None:
        """Closes the sockets; exchanges under way are told that nothing comes any more."""
        for opened in self._sockets.values():
            opened.close()
        self._sockets.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for sent in list(self._waiting.values()):
            self.give_up(sent)
            _tell(sent, Unreachable("this node is stopping", node=_node(*sent.key[1])))

    def _reassembled(self, packet: bytes, sender: Address) -> bytes | HandleError | None:
        try:
            return self._reassembler.add(sender, packet, time.monotonic())
        except WireError as error:
            # Whoever can forge address and request id could also forge an answer: waiting on would gain nothing.
            return error

    def _open(self, family: socket.AddressFamily) -> DatagramSocket:
        opened = self._sockets[family] = DatagramSocket(family, self.received)
        return opened

    def _arm(self) -> None:
        """Have the loop wake us when the next wait falls due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due_s = self._wheel.next_due_s()
        if due_s is not None:
            self._timer_s = due_s
            wait_s = max(0.0, due_s - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._fall_due)

    def _fall_due(self) -> None:
        """Send again what has waited for long enough, and end what has no patience left."""
        self._timer = None
        now_s = time.monotonic()
        for sent in self._wheel.take_due(now_s):
            failure = self._transmit_again(sent, now_s)
            if failure is not None and self._waiting.get(sent.key) is sent:
                del self._waiting[sent.key]
                _tell(sent, failure)
        if self._timer is None:
            self._arm()

    def _transmit_again(self, sent: Sent, now_s: float) -> Unreachable | None:
        try:
            due_s = sent.transmit(self._wheel, now_s)
        except OSError as error:
            return _unsendable(error, sent.key[1])
        return Unreachable("no answer in time", node=_node(*sent.key[1])) if due_s is None else None


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


def _tell(sent: Sent, outcome: bytes | HandleError) -> None:
    """A bug in who is told must not keep the others from being told."""
    try:
        sent.done(outcome)
    except Exception:
        log.exception("outcome_not_taken", node=_node(*sent.key[1]))


def _node(host: str, port: int) -> str:
    return f"{host} UDP {port}"


def _unsendable(error: OSError, to: Address) -> Unreachable:
    kind = NotSent if error.errno in _OUR_SHORTAGES else Unreachable
    return kind(error.strerror or "the datagram cannot be sent", node=_node(*to))
