"""One TCP connection: octets in, complete requests to the responder, answers out in the same order."""

import asyncio
import struct
import time
from contextlib import aclosing
from typing import Final, cast

import structlog

from protocol.bodies import ResolutionRequest
from protocol.codes import OpCode, OpFlag, ResponseCode
from protocol.errors import HandleError
from protocol.message import ENVELOPE_OCTETS, HEADER_OCTETS, is_encrypted, undecodable
from protocol.transport.answer_cache import AnswerCache
from protocol.transport.base import (
    Answer,
    InFlight,
    Link,
    Peer,
    Responder,
    TransportObserver,
    refusal,
    remember,
    respond,
)
from protocol.transport.connections import ConnectionCount
from protocol.transport.hit_tally import HitTally
from protocol.transport.sockets import peer_address
from protocol.transport.source import SourceCheck, Verdict
from protocol.wire import MAX_MESSAGE_OCTETS

IDLE_S: Final = 30.0  # to begin a request, and again to complete it: what a slow client can hold
LINGER_S: Final = 2.0  # for the client to close its half after we closed ours
SMALL_OCTETS: Final = (
    4_096  # what a client may have sent of a request while others use up what is allowed together
)
BUFFERED_OCTETS_MAX: Final = 64 * 1_048_576  # incomplete requests of all connections together
_REQUESTS_PER_TURN: Final = 16  # answered from the cache in one go; then other clients have their turn
_PAUSE_OCTETS: Final = ENVELOPE_OCTETS + MAX_MESSAGE_OCTETS  # no more is read until one request is served
_BODY: Final = ENVELOPE_OCTETS + HEADER_OCTETS
_U32: Final = struct.Struct(">I")
_KPAL_AT: Final = ENVELOPE_OCTETS + 8
_IDIS_VERSION: Final = bytes((2, 10, 2, 11))  # what the SDK writes in, and what it suggests
_KPAL_OCTET: Final = OpFlag.KPAL >> 24

log = structlog.get_logger(__name__)


class Connection(asyncio.Protocol):
    """One client: octets in, complete requests to the owner's responder, answers out in the same order."""

    def __init__(self, owner: "ConnectionOwner") -> None:
        self._owner = owner
        self._buffer = bytearray()
        self._request: bytes | None = None
        self._started_s = 0.0
        self._is_asking = False
        self._verdict: Verdict | None = None
        """Of the next request, when its token has been taken already."""
        self._timer: asyncio.TimerHandle | None = None
        self._deadline_s = 0.0
        self._host = ""
        self._port = 0
        self._admitted = False
        self._half_closed = False
        self._ending = False
        self._write_paused = False
        self._link: Link | None = None
        self._stream: asyncio.Task[None] | None = None
        """Sends the messages that follow a first one."""
        self._writable = asyncio.Event()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._host, self._port = peer_address(transport.get_extra_info("peername"))
        self._admitted = self._owner.admit(self, self._host)
        if not self._admitted:
            self._ending = True
            self._transport.abort()
            return
        self._wait(self._owner.idle_s)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ending = True
        self._link = None
        if self._timer is not None:
            self._timer.cancel()
        if self._stream is not None:
            self._stream.cancel()
        if self._admitted:
            self._owner.buffered_octets -= len(self._buffer)
            self._owner.forget(self, self._host)
        self._buffer.clear()

    def data_received(self, data: bytes) -> None:
        if self._ending:
            return
        if not self._buffer:
            if self._request is None and not self._write_paused and self._owner.cache is not None:
                data = self._serve_cached(data)
                if not data:
                    return
            self._wait(self._owner.idle_s)
        self._buffer += data
        self._owner.buffered_octets += len(data)
        if self._owner.buffered_octets > BUFFERED_OCTETS_MAX and len(self._buffer) > SMALL_OCTETS:
            self._owner.observer.limit_reached("message_octets")
            self._transport.abort()
            return
        self._advance()

    def eof_received(self) -> bool:
        self._half_closed = True
        self._advance()
        return not self._is_over

    def pause_writing(self) -> None:
        self._write_paused = True
        self._writable.clear()

    def resume_writing(self) -> None:
        self._write_paused = False
        self._writable.set()
        self._advance()

    # Requests

    def _advance(self) -> None:
        """Serves complete requests while nothing stands in the way; does nothing when called once too often."""
        for _ in range(_REQUESTS_PER_TURN):
            if self._request is not None or self._is_over or self._write_paused:
                break
            request = self._next_request()
            if request is None:
                break
            self._serve(request)
        else:
            asyncio.get_running_loop().call_soon(self._advance)
            return
        self._bound_reading()
        if self._half_closed and self._request is None and not self._write_paused:
            self.end()

    @property
    def _is_over(self) -> bool:
        """Whether nothing more may be asked of the transport; the loop may close it before it tells us."""
        return self._ending or self._transport.is_closing()

    def _next_request(self) -> bytes | None:
        """The first request of the buffer; None when more octets are needed, or none can be understood."""
        buffered = len(self._buffer)
        if buffered < ENVELOPE_OCTETS:
            return None
        message_octets = int(struct.unpack_from(">I", self._buffer, 16)[0])
        if message_octets > MAX_MESSAGE_OCTETS:
            self._refuse_size(message_octets)
            return None
        end = ENVELOPE_OCTETS + message_octets
        if buffered < end and not self._half_closed:
            return None
        return self._take(min(end, buffered))

    def _take(self, octets: int) -> bytes:
        taken = bytes(self._buffer[:octets])
        del self._buffer[:octets]
        self._owner.buffered_octets -= octets
        return taken

    def _refuse_size(self, message_octets: int) -> None:
        self._owner.observer.undecodable("tcp")
        text = f"a message of {message_octets} octets, {MAX_MESSAGE_OCTETS} allowed"
        self._transport.write(undecodable(bytes(self._buffer[:_BODY]), text, time.time()).encode())
        self.end()

    def _serve_cached(self, data: bytes) -> bytes:
        """Answers the requests at the start of data that the cache holds, in one go; what is left of it.

        Whatever is not whole or not plain is left, and so is everything behind it.
        """
        owner, host, now_s = self._owner, self._host, time.monotonic()
        cache, tally, wall_s = owner.cache, owner.tally, time.time()
        assert cache is not None
        answers: list[bytes] = []
        at, size, request = 0, len(data), b""
        while size - at >= _BODY and len(answers) < _REQUESTS_PER_TURN:
            end = at + ENVELOPE_OCTETS + _U32.unpack_from(data, at + 16)[0]
            if end > size:
                break
            self._verdict = owner.source.check(host, now_s)
            if self._verdict is not Verdict.ADMIT:
                break
            following = data if end - at == size else data[at:end]
            hit = cache.get(following, now_s, wall_s)
            if hit is None:
                break
            self._verdict = None
            request, at = following, end
            answers.append(hit)
        if not answers:
            return data
        self._transport.write(answers[0] if len(answers) == 1 else b"".join(answers))
        elapsed_s = time.monotonic() - now_s
        for answer in answers:
            tally.add(request, answer, host, elapsed_s)
        if at < size:
            return data[at:]
        self._deadline_s = now_s + owner.idle_s
        if not request[_KPAL_AT] & _KPAL_OCTET or owner.draining:  # the others stay as they are
            self._answered(keep=keeps_open(request))
        return b""

    def _serve(self, request: bytes) -> None:
        now_s = time.monotonic()
        owner = self._owner
        verdict, self._verdict = self._verdict or owner.source.check(self._host, now_s), None
        if verdict is not Verdict.ADMIT:
            self._over_limit(request, verdict, now_s)
            return
        hit = None if owner.cache is None else owner.cache.get(request, now_s, time.time())
        if hit is None:
            self._ask(request, now_s)
            return
        self._transport.write(hit)
        owner.tally.add(request, hit, self._host, time.monotonic() - now_s)
        self._answered(keep=keeps_open(request))

    def _ask(self, request: bytes, now_s: float) -> None:
        if len(self._owner.in_flight) >= self._owner.misses_max:
            self._owner.observer.limit_reached("concurrent_misses")
            text = "too many requests at once"
            self._write(request, refusal(request, ResponseCode.SERVER_TOO_BUSY, text), "shed", now_s)
            self._answered(keep=keeps_open(request))
            return
        self._request, self._started_s = request, now_s
        self._owner.in_flight.enter()  # until it is answered, even when whoever asked goes away
        self._is_asking = True
        self._link = self._link or Link()
        peer = Peer(self._host, self._port, "tcp", self._link)
        try:
            respond(self._owner.responder, request, peer, self._reply)
        finally:
            self._is_asking = False

    def _reply(self, answer: Answer | None) -> None:
        """See Reply; there is one request at a time."""
        request = self._request
        assert request is not None
        if answer is not None and answer.more is not None and not self._is_over:
            self._stream = asyncio.get_running_loop().create_task(self._send_on(request, answer))
            return
        self._request = None
        self._owner.in_flight.leave()
        if answer is not None:
            remember(self._owner.cache, request, answer)
        if self._is_over:
            return
        if answer is None:
            self.end()
            return
        self._write(request, answer.octets, "miss", self._started_s)
        self._finish(request, answer)

    async def _send_on(self, request: bytes, answer: Answer) -> None:
        """Sends an answer of several messages, each when the client has taken enough of those before."""
        assert answer.more is not None
        try:
            async with aclosing(answer.more) as more:
                self._write(request, answer.octets, "miss", self._started_s)
                async for octets in more:
                    if self._write_paused:
                        await self._writable.wait()
                    if self._is_over:
                        break
                    self._wait(self._owner.idle_s)
                    self._transport.write(octets)
        except Exception:
            log.exception("stream_failed", peer=self._host, transport="tcp")
            self.abort()  # or the client would take what it has for all of it
        finally:
            self._stream = self._request = None
            self._owner.in_flight.leave()
        if not self._is_over:
            self._finish(request, answer)

    def _finish(self, request: bytes, answer: Answer) -> None:
        self._answered(keep=answer.keep_open or keeps_open(request))
        if not self._is_asking:  # else whoever asked goes on, or a thousand answers at once would nest
            self._advance()

    def _over_limit(self, request: bytes, verdict: Verdict, now_s: float) -> None:
        if verdict is Verdict.REFUSED:
            self._owner.observer.limit_reached("source_refused")
        else:
            self._owner.observer.limit_reached("source_rate")
        if verdict is Verdict.LIMITED:
            text = "too many requests from your network"
            self._write(request, refusal(request, ResponseCode.ERROR, text), "shed", now_s)
        self.end()

    def _write(self, request: bytes, response: bytes, outcome: str, started_s: float) -> None:
        self._transport.write(response)
        elapsed_s = time.monotonic() - started_s
        self._owner.observer.answered("tcp", request, response, outcome, elapsed_s, host=self._host)

    # The end of a connection

    def _answered(self, *, keep: bool) -> None:
        self._wait(self._owner.idle_s)
        if self._owner.draining:
            self.end()
        elif not keep and not self._buffer:
            # One turn of the loop, so that a request which the kernel already holds still counts as having come.
            asyncio.get_running_loop().call_soon(self._end_unless_more)

    def _end_unless_more(self) -> None:
        if self._request is None and not self._buffer:
            self.end()

    @property
    def is_idle(self) -> bool:
        """Whether no request of this client is worked on."""
        return self._request is None

    def end(self) -> None:
        """Sends what is written, closes our half, and everything once the client closed its half."""
        if self._is_over:
            return
        self._ending = True
        if self._half_closed:
            self._transport.close()
            return
        self._wait(LINGER_S)
        self._arm()
        self._transport.resume_reading()
        self._transport.write_eof()

    def abort(self) -> None:
        """Ends the connection at once."""
        self._transport.abort()

    def _bound_reading(self) -> None:
        if self._is_over:
            return
        if len(self._buffer) >= _PAUSE_OCTETS:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # Time

    def _wait(self, seconds: float) -> None:
        self._deadline_s = time.monotonic() + seconds

    def _arm(self) -> None:
        """Looks again at the deadline; it may have moved on by then, which is cheaper than a timer per request."""
        if self._timer is not None:
            self._timer.cancel()
        left_s = max(0.0, self._deadline_s - time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(left_s, self._expire)

    def _expire(self) -> None:
        if self._request is not None and not (self._stream and self._write_paused):  # it waits for us
            self._wait(self._owner.idle_s)
        if time.monotonic() < self._deadline_s:
            self._arm()
            return
        if self._buffer or self._write_paused:
            self._owner.observer.limit_reached("request_wait")
        self._transport.abort()


class ConnectionOwner:
    """What the connections of one listening socket share."""

    def __init__(
        self,
        responder: Responder,
        *,
        source: SourceCheck,
        cache: AnswerCache | None,
        observer: TransportObserver,
        connections: ConnectionCount,
        idle_s: float,
        misses_max: int,
    ) -> None:
        self.responder = responder
        self.source = source
        self.cache = cache
        self.observer = observer
        self.idle_s = idle_s
        self.misses_max = misses_max
        self.buffered_octets = 0
        self.draining = False
        """Connections end after their next answer."""
        self.closing = False
        """Connections end."""
        self.in_flight = InFlight()
        self.tally = HitTally("tcp", observer)
        self._count = connections
        self.connections: set[Connection] = set()
        self.none_left = asyncio.Event()

    def admit(self, connection: Connection, host: str) -> bool:
        """Whether a new connection may stay; it is then counted."""
        if self.closing:
            return False
        if self.source.is_refused(host, time.monotonic()):
            self.observer.limit_reached("source_refused")
            return False
        limit = self._count.enter(host)
        if limit is not None:
            self.observer.limit_reached(limit)
            return False
        self.connections.add(connection)
        return True

    def forget(self, connection: Connection, host: str) -> None:
        """A connection that was admitted has ended."""
        self.connections.discard(connection)
        self._count.leave(host)
        if not self.connections:
            self.none_left.set()


def keeps_open(request: bytes) -> bool:
    """Whether a request asks that its connection stay: KPAL, or what the IDIS SDK sends over connections of its pool.

    That is resolution with a trailing field, and get-site-info in its version, behind which its login comes; others
    read the answer to get-site-info until the connection ends. An encrypted request asks whoever decrypts it.
    Source: PROTOCOL.md §4.1, DOMAIN.md §3.5.
    """
    if len(request) < _BODY or is_encrypted(request):
        return False
    op_code, _, flags = struct.unpack_from(">III", request, ENVELOPE_OCTETS)
    if flags & OpFlag.KPAL or (op_code == OpCode.GET_SITE_INFO and request.startswith(_IDIS_VERSION)):
        return True
    if op_code != OpCode.RESOLUTION:
        return False
    body_octets = struct.unpack_from(">I", request, _BODY - 4)[0]
    try:
        return bool(ResolutionRequest.decode(request[_BODY : _BODY + body_octets]).extension)
    except HandleError:
        return False
