"""One HTTP connection: what the cache holds is answered before aiohttp has read it, everything else by aiohttp.

A connection leaves the fast path for good when something comes whose end only a parser of everything can tell. Until
then aiohttp is given one whole request at a time, and what comes behind waits here for its answer: so
aiohttp never holds half a request, and answers cannot change places.

This leans on how aiohttp works inside: `_waiter` is a future while the connection is idle, `_paused` tells that the
client does not take its answers, `_reading_paused` and `_buffer_paused` that aiohttp wants to read no more for now,
`_close` and `_force_close` that the connection ends, `_next_keepalive_close_time` when it will for want of requests.
tests/unit/protocol/transport/test_http_connection.py fails when that changes.
"""

import asyncio
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from protocol.transport.http_answers import refusal
from protocol.transport.http_cache import HttpCache, Kind
from protocol.transport.http_head import BODY, END, EOL, UNKNOWN, is_request_line, may_become_head
from protocol.transport.sockets import peer_address
from protocol.transport.source import SourceCheck, Verdict

HELD_OCTETS_MAX: Final = 65_536  # of requests that wait; then nothing more is read from the connection
ANSWERS_PER_TURN: Final = 128  # then other connections have their turn
WRITE_OCTETS: Final = 65_536  # gathered for one write; then it is seen whether the client takes them


class HttpConnection(web.RequestHandler):
    """aiohttp's connection, with the cache in front of it."""

    __slots__ = (
        "_answers",
        "_body_left",
        "_ended",
        "_held",
        "_host",
        "_idle",
        "_is_fast",
        "_is_full",
        "_source",
    )

    def __init__(
        self,
        server: web.Server,
        *,
        cache: HttpCache | None,
        source: SourceCheck,
        ended: Callable[[], None],
        **options: Any,
    ) -> None:
        """ended: called once, when the connection has ended."""
        self._idle: asyncio.Future[None] | None = None
        self._held = b""
        self._body_left = 0
        """Octets to come that are aiohttp's, since they belong to the request that it has."""
        super().__init__(server, **options)
        self._answers = cache
        self._source = source
        self._ended = ended
        self._host = ""
        self._is_fast = cache is not None
        self._is_full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._host = peer_address(transport.get_extra_info("peername"))[0]
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._held = b""
        reader = self._task_handler if self._current_request is None else None
        super().connection_lost(exc)
        if (
            reader is not None
        ):  # it may have been woken for a request already, and would fail where it has no handler
            reader.cancel()
        self._ended()

    def data_received(self, data: bytes) -> None:
        if not self._is_fast or not data:  # with nothing, aiohttp tells itself to go on with what it has read
            super().data_received(data)
            return
        if self._body_left:
            body, data = data[: self._body_left], data[self._body_left :]
            self._body_left -= len(body)
            super().data_received(body)
            if not data:
                return
        if self._held:
            data = self._held + data
            self._held = b""
        if self._is_ready():
            self._serve(data)
        else:
            self._hold(data)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._held:
            self._loop.call_soon(self._go_on)

    @property
    def _waiter(self) -> asyncio.Future[None] | None:
        """What aiohttp waits with for the next request; None while it works on one."""
        return self._idle

    @_waiter.setter
    def _waiter(self, waiter: asyncio.Future[None] | None) -> None:
        self._idle = waiter
        if waiter is not None and self._held:
            self._loop.call_soon(self._go_on)

    def _is_ready(self) -> bool:
        """Whether nothing is in progress, and the client takes its answers."""
        idle = self._idle
        return idle is not None and not idle.done() and not self._paused

    def _go_on(self) -> None:
        """Serves what was held back, if it can be now."""
        if self._held and self._is_ready():
            data, self._held = self._held, b""
            self._serve(data)
        if self._is_full and len(self._held) <= HELD_OCTETS_MAX:
            self._is_full = False
            self._resume_transport_reading()

    def _hold(self, data: bytes) -> None:
        """Keeps what cannot be served yet, and stops reading when that is much."""
        self._held = data
        if len(data) > HELD_OCTETS_MAX and not self._is_full:
            self._is_full = True
            self._pause_transport_reading()

    def _resume_transport_reading(self) -> None:
        """aiohttp resumes for a body that it has read, and must not undo that too much is held here."""
        if not (self._is_full or self._reading_paused or self._buffer_paused):
            super()._resume_transport_reading()

    def _serve(self, data: bytes) -> None:
        """Answers from the cache as far as that goes. data: begins with a request, and none is in progress."""
        cache, transport = self._answers, self.transport
        if self._close or self._force_close or transport is None or cache is None:
            return
        now_s = time.monotonic()
        find, known, find_answer = data.find, cache.blocks.known, cache.find
        answers: list[bytes] = []
        kinds: list[Kind] = []
        start = octets = 0
        last_line = b""
        while (end := find(END, start)) >= 0 and len(kinds) < ANSWERS_PER_TURN and octets < WRITE_OCTETS:
            line_end = find(EOL, start)
            block = data[line_end:end]
            suffix = known.get(block, UNKNOWN)
            if suffix is UNKNOWN:
                suffix = cache.blocks.learn(block)
            line = data[start:line_end]
            entry = find_answer(line + suffix, now_s) if suffix else None
            if entry is None or self._source.check(self._host, now_s) is not Verdict.ADMIT:
                break
            octets += entry.give(answers)
            kinds.append(entry.kind)
            last_line = line
            start = end + len(END)
        if kinds:
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
            transport.write(b"".join(answers))
            cache.tally.hits(kinds, self._host, time.monotonic() - now_s, last_line)
        if start == len(data):
            return
        rest = data[start:]
        if end < 0:
            self._keep_fragment(rest)
        elif len(kinds) == ANSWERS_PER_TURN or octets >= WRITE_OCTETS:
            self._hold(rest)
            self._loop.call_soon(self._go_on)
        else:
            self._pass_on(rest, end - start + len(END), cache)

    def _keep_fragment(self, data: bytes) -> None:
        if may_become_head(data):
            self._hold(data)
        else:
            self._leave(data)

    def _pass_on(self, data: bytes, octets: int, cache: HttpCache) -> None:
        """Gives the first request, whose head has so many octets, to aiohttp, and keeps what follows until after it."""
        line, _, block = data[: octets - len(END)].partition(EOL)
        suffix = cache.blocks.learn(EOL + block)
        if suffix is None or not is_request_line(line):
            self._leave(data)
            return
        if suffix.startswith(BODY):
            length = int(suffix[len(BODY) :])
            self._body_left = max(0, octets + length - len(data))
            octets += length
        elif suffix and line.startswith((b"GET", b"HEAD")):
            cache.tally.miss()
        self._hold(data[octets:])
        super().data_received(data[:octets])

    def _leave(self, data: bytes) -> None:
        """Gives everything to aiohttp from here on."""
        self._is_fast = False
        if self._is_full:
            self._is_full = False
            self._resume_transport_reading()
        super().data_received(data)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """aiohttp's own refusals, above all of what is no HTTP, in our form and without an echo."""
        super().handle_error(request, status, exc, message)  # it ends a connection whose answer has begun
        text = (
            "internal error"
            if status == HTTPStatus.INTERNAL_SERVER_ERROR
            else "this is no HTTP request that is served here"
        )
        return refusal(status, text, close=True)
