"""Handle protocol server of a recursive node: a resolution comes from the caches or by recursion."""

import time
from collections.abc import Callable
from typing import Final

from protocol.bodies import ErrorBody, ResolutionRequest, resolution_body
from protocol.client.answers import Question
from protocol.codes import OpCode, OpFlag, ResponseCode
from protocol.errors import ResolutionFailed
from protocol.message import Message, decode_message
from protocol.runtime import wire_server
from protocol.runtime.signing import Signer
from protocol.runtime.single_flight import TooBusy
from protocol.site import Site
from protocol.transport.base import Answer, Peer, Reply
from protocol.usual import AnswerTemplates, UsualRequest, read_usual_request
from protocol.value import ValueList
from resolver.cache.policy import Denial, Entry, select
from resolver.recursor import Recursor
from resolver.short_way import ShortWay

NOT_CACHED: Final = (
    "This recursive node does not hold the handle, and the request forbids it to ask (RECU is clear)."
)


class WireServer(wire_server.WireServer):
    """Nobody's authority: an answer may be repeated as long as what it was made from lives, and no longer."""

    not_supported = (
        "This is a recursive node: it only reads. Send {operation} to the primary site of the handle's prefix, "
        "which the HS_SITE values of its prefix record name."
    )

    def __init__(
        self,
        recursor: Recursor,
        site: Site,
        *,
        signer: Signer | None = None,
        short_way: ShortWay | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(site, signer=signer, clock=clock, wall_clock=wall_clock)
        self._recursor = recursor
        self._short_way = short_way
        self._templates = AnswerTemplates(authoritative=site.primary, site_serial=site.serial)
        self._closed = False

    def answer_soon(self, octets: bytes, peer: Peer, reply: Reply) -> bool:
        """Take a usual request the short way, where there is one for its name."""
        if self._short_way is None:
            return False
        usual = read_usual_request(octets)
        if usual is None:
            return False
        return self._short_way.ask(usual[0], usual[1], _Asked(self, octets, usual, peer, reply).told)

    async def close(self) -> None:
        """See the base class; whoever still waits on the short way is told nothing any more."""
        self._closed = True
        await super().close()

    def answer_usual(self, asked: "_Asked", outcome: Entry | Exception) -> None:
        """Answer a usual request with what became of its question."""
        if self._closed:
            return
        if isinstance(outcome, Exception):
            if isinstance(outcome, TooBusy):
                self._recursor.observer.limit_reached(outcome.limit)
            asked.reply(self.failed(decode_message(asked.octets), asked.peer, outcome))
            return
        code, body = _content(outcome, asked.usual[0], *asked.usual[2])
        octets = self._templates.answer(asked.octets, code, body, self.wall_clock())
        expires_s = outcome.expires_s
        asked.reply(Answer(octets=octets, cache_until_s=expires_s if expires_s > self.clock() else None))

    async def dispatch(self, request: Message, peer: Peer) -> Answer:
        """Resolve, and tell our own site; a recursive node has no other operation."""
        match request.header.op_code:
            case OpCode.RESOLUTION:
                return await self.resolve(request)
            case OpCode.GET_SITE_INFO:
                return self.site_info(request)
            case _:
                return self.has_not(request)

    async def resolve(self, request: Message) -> Answer:
        """Answer what is in memory without waiting, and fetch the rest; AUTH goes past every cache."""
        query = ResolutionRequest.decode(request.body)
        if request.has(OpFlag.CERT) and not request.has(OpFlag.CACR):
            return await self._pass_on(request, query)
        authoritative = request.has(OpFlag.AUTH)
        entry = None if authoritative else self._recursor.cached(query.handle)
        if entry is None:
            if not request.has(OpFlag.RECU):
                return self.refuse(request, ResponseCode.SERVER_NOT_RESPONSIBLE, NOT_CACHED)
            resolved = await self._recursor.resolve(
                query.handle, authoritative=authoritative, recursion_count=request.header.recursion_count
            )
            entry = resolved.entry
        expires_s = None if authoritative else entry.expires_s
        code, body = _content(entry, query.handle.octets, query.indexes, query.types)
        return self.answer(request, code, body, expires_s=expires_s)

    async def _pass_on(self, request: Message, query: ResolutionRequest) -> Answer:
        """The authority's own answer, untouched, since its signature alone is wanted: from no cache, and into none."""
        if not request.has(OpFlag.RECU):
            return self.refuse(request, ResponseCode.SERVER_NOT_RESPONSIBLE, NOT_CACHED)
        question = Question(
            handle=query.handle,
            indexes=query.indexes,
            types=query.types,
            authoritative=request.has(OpFlag.AUTH),
        )
        told = await self._recursor.pass_on(question, request)
        if isinstance(told, Message):
            return Answer(octets=told.encode())
        return self.refuse(request, ResponseCode(told.code), told.message)

    def failed(self, request: Message, peer: Peer, error: BaseException) -> Answer:
        """As the base class; whoever could not be asked is named."""
        if isinstance(error, ResolutionFailed):
            return self.refuse(request, error.code, error.explain())
        return super().failed(request, peer, error)


class _Asked:
    """A usual request that waits for its answer."""

    __slots__ = ("octets", "peer", "reply", "server", "usual")

    def __init__(
        self, server: WireServer, octets: bytes, usual: UsualRequest, peer: Peer, reply: Reply
    ) -> None:
        self.server = server
        self.octets = octets
        self.usual = usual
        self.peer = peer
        self.reply = reply

    def told(self, outcome: Entry | Exception) -> None:
        """See single_flight.Waiter."""
        self.server.answer_usual(self, outcome)


def _content(
    entry: Entry, name: bytes, indexes: tuple[int, ...], types: tuple[str, ...]
) -> tuple[ResponseCode, bytes]:
    """Response code and body of the answer about a name as the client spelled it."""
    match select(entry, indexes, types):
        case ValueList() as values:
            return ResponseCode.SUCCESS, resolution_body(name, values)
        case Denial(code=code, message=message):
            return code, ErrorBody(message=message).encode()
