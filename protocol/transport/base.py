"""What every front end shares: who asked, what is answered, who answers, and who watches."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol

import structlog

from protocol.bodies import ErrorBody
from protocol.codes import ResponseCode
from protocol.errors import HandleError
from protocol.generations import Stamp
from protocol.message import ENVELOPE_OCTETS, HEADER_OCTETS, decode_message, is_encrypted, undecodable
from protocol.transport.answer_cache import AnswerCache

TransportName = Literal["udp", "tcp", "http"]
Limit = Literal[
    "source_rate",
    "source_refused",
    "concurrent_misses",
    "connections",
    "connections_per_source",
    "message_octets",
    "request_wait",
    "send_buffer",
]
MISSES_MAX: Final = 4_096  # requests of one listener worked on at once; more would wait for the database
DRAIN_S: Final = 10.0  # what a stopping listener grants requests in flight; supervisors kill after 30 s
HANDOVER_S: Final = 1.0  # for the next request of an open connection, while another process accepts new ones

log = structlog.get_logger(__name__)


class Link:
    """One stream connection, for whoever remembers something of it: by a weak reference, which ends with it."""

    __slots__ = ("__weakref__",)


class Peer(NamedTuple):
    """Who sent a request: the address as text, without zone, and the port."""

    host: str
    port: int
    transport: TransportName
    link: Link | None = None
    """The TCP connection that the request came by, the same for all its requests; None for datagrams and HTTP."""


@dataclass(
    slots=True, kw_only=True
)  # not frozen: one is made for each miss, and that takes a third of the time
class Answer:
    """One whole response message, envelope included, and whether it may be given again."""

    octets: bytes
    cache_until_s: float | None = None
    """Monotonic time until which the answer cache may repeat it; None: never."""
    stamp: Stamp | None = None
    """The generations of what it was made from, as they were before that was read."""
    keep_open: bool = False
    """Keep a stream open though the request did not ask for it."""
    more: AsyncGenerator[bytes, None] | None = None
    """Further whole messages behind this one, asked for one at a time as the client takes them, and closed when it
    goes away. Never over UDP, and never cached."""


Reply = Callable[[Answer | None], None]
"""Takes the answer to one request, once; None: stay silent."""

Responder = Callable[[bytes, Peer, Reply], None]
"""Takes one whole message, envelope included, and calls the Reply once: at once, or later from the same event loop.

Most misses so need no task of their own. A Reply must not be called after its front end was closed for good.
"""


class TransportObserver(Protocol):
    """Counts what the front ends do. Called for every request: implementations must be quick and never raise."""

    def answered(
        self,
        transport: TransportName,
        request_octets: bytes,
        response_octets: bytes,
        outcome: str,
        elapsed_s: float,
        /,
        *,
        host: str,
    ) -> None:
        """A response was handed to the socket.

        outcome: "hit" from the answer cache, "miss" from the responder, "shed" over a limit. elapsed_s: from the
        first octet read. host: the client's address; source_network() of it is what may be counted.
        """

    def hits(self, transport: TransportName, counts: Mapping[bytes, int], elapsed_s: float, /) -> None:
        """Answers from the cache were handed to the socket together; answered() is not told of them.

        counts: how many, by the eight octets of operation and response code. elapsed_s: from the first octet read
        of the first of them to the last one written. Their clients are told to sources(), later.
        """

    def sources(self, counts: Mapping[str, int], /) -> None:
        """How many resolutions hits() told of came from which addresses; "" for those beyond what was told apart."""

    def is_sample_due(self, count: int, /) -> bool:
        """hits() told of so many resolutions; whether one of them is wanted by sampled()."""

    def sampled(self, transport: TransportName, request: bytes, response: bytes, host: str, /) -> None:
        """One of the hits, as whole messages, and its client's address."""

    def limit_reached(self, name: Limit, count: int = 1, /) -> None:
        """So many requests, connections or datagrams met a named limit."""

    def undecodable(self, transport: TransportName, /) -> None:
        """Octets that are no request were dropped or refused."""


class SilentObserver:
    """Counts nothing."""

    def answered(
        self,
        transport: TransportName,
        request_octets: bytes,
        response_octets: bytes,
        outcome: str,
        elapsed_s: float,
        *,
        host: str,
    ) -> None:
        """See TransportObserver."""

    def hits(self, transport: TransportName, counts: Mapping[bytes, int], elapsed_s: float) -> None:
        """See TransportObserver."""

    def sources(self, counts: Mapping[str, int]) -> None:
        """See TransportObserver."""

    def is_sample_due(self, count: int) -> bool:
        """See TransportObserver."""
        return False

    def sampled(self, transport: TransportName, request: bytes, response: bytes, host: str) -> None:
        """See TransportObserver."""

    def limit_reached(self, name: Limit, count: int = 1) -> None:
        """See TransportObserver."""

    def undecodable(self, transport: TransportName) -> None:
        """See TransportObserver."""


SILENT: Final = SilentObserver()


class Listener(Protocol):
    """An open socket that answers."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it is bound to."""

    async def close(self, drain_s: float = DRAIN_S) -> None:
        """Takes nothing new, finishes what is in flight within drain_s, then ends the rest."""


def looks_like_request(octets: bytes) -> bool:
    """Whether octets have room for envelope and header, and a response code of 0 where that can be read.

    Nothing else is ever answered over UDP: two servers that answer each other's refusals would never stop. Of an
    encrypted message only a session knows the code; who has no such session refuses in the clear, and that ends it.
    """
    if len(octets) < ENVELOPE_OCTETS + HEADER_OCTETS:
        return False
    return octets[24:28] == b"\0\0\0\0" or is_encrypted(octets)


def refusal(request_octets: bytes, code: ResponseCode, text: str) -> bytes:
    """A response of this code to a request, whole and with envelope; to what is no request, the undecodable answer.

    The transport does not know the site's serial, hence the serial "unknown".
    """
    wall_s = time.time()
    try:
        request = decode_message(request_octets)
        response = request.answer(
            code,
            ErrorBody(message=text).encode(),
            authoritative=False,
            site_serial=request.header.site_serial,
            wall_s=wall_s,
        )
    except HandleError as error:
        response = undecodable(request_octets, str(error), wall_s)
    return response.encode()


def respond(responder: Responder, octets: bytes, peer: Peer, reply: Reply) -> None:
    """Calls the responder; a bug in it is logged and answered with RC 2, without detail."""
    try:
        responder(octets, peer, reply)
    except Exception:
        log.exception("responder_failed", peer=peer.host, transport=peer.transport)
        reply(Answer(octets=refusal(octets, ResponseCode.ERROR, "internal error")))


def remember(cache: AnswerCache | None, request: bytes, answer: Answer) -> None:
    """Puts an answer into the cache when there is one and the responder allows it."""
    if cache is not None and answer.cache_until_s is not None:
        cache.put(request, answer.octets, answer.cache_until_s, answer.stamp)


class InFlight:
    """How many requests a front end still owes an answer, and a way to wait until there are none."""

    __slots__ = ("_count", "_ended")

    def __init__(self) -> None:
        self._count = 0
        self._ended: asyncio.Event | None = None

    def __len__(self) -> int:
        return self._count

    def enter(self) -> None:
        """One more request is worked on."""
        self._count += 1

    def leave(self) -> None:
        """One request is answered, or given up."""
        self._count -= 1
        if not self._count and self._ended is not None:
            self._ended.set()

    async def wait(self, seconds: float) -> None:
        """Returns when nothing is in flight any more, or after so many seconds."""
        if not self._count:
            return
        self._ended = asyncio.Event()
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            return
