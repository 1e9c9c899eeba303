"""Handle protocol server: request message -> caches or recursion -> response message.

Answers resolution (1) and get-site-info (2); every other operation gets RC 5, which names whom to ask instead.
"""

import time
from collections.abc import Callable
from typing import Final

import structlog

from protocol.bodies import ErrorBody, ResolutionRequest, ResolutionResponse, SiteInfoResponse
from protocol.codes import OpCode, OpFlag, ResponseCode, op_name
from protocol.errors import HandleError, ResolutionFailed, WireError
from protocol.message import Message, decode_message, undecodable
from protocol.runtime.logs import request_scope
from protocol.site import Site
from protocol.transport.base import Answer, Peer
from protocol.value import ValueList
from resolver.cache.policy import Denial, Entry, Record
from resolver.recursor import Recursor

SITE_ANSWER_LIFE_S: Final = 60.0  # our own record changes only with the settings
NOT_CACHED: Final = (
    "This recursive node does not hold the handle, and the request forbids it to ask (RECU is clear)."
)
NO_CERTIFICATE: Final = "This recursive node does not sign its answers; ask without CERT."
NO_ADMINISTRATION: Final = (
    "This is a recursive node: it only reads. Send {operation} to the primary site of the handle's prefix, "
    "which the HS_SITE values of its prefix record name."
)

log = structlog.get_logger(__name__)


class WireServer:
    """The responder of the UDP, TCP and tunnel listeners: octets of a request in, those of the response out."""

    def __init__(
        self,
        recursor: Recursor,
        site: Site,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """site is our own site record."""
        self._recursor = recursor
        self._site = site
        self._clock = clock
        self._wall_clock = wall_clock

    async def respond(self, octets: bytes, peer: Peer) -> Answer | None:
        """Answer one whole message, envelope included; None means silence. Never raises.

        Octets that are no message get RC 4. A message that is itself a response gets silence: two servers
        would otherwise answer each other for ever. What is in memory is answered without waiting.
        """
        try:
            request = decode_message(octets)
        except WireError as error:
            return Answer(octets=undecodable(octets, str(error), self._wall_clock()).encode())
        if request.header.response_code:
            return None
        try:
            with request_scope(str(request.envelope.request_id)):
                return await self._dispatch(request)
        except ResolutionFailed as failure:
            return self._error(request, failure.code, explain(failure))
        except HandleError as error:
            return self._error(request, error.code, str(error))
        except Exception:
            log.exception("request_failed", peer=peer.host, request_id=request.envelope.request_id)
            return self._error(request, ResponseCode.ERROR, "Internal error.")

    async def _dispatch(self, request: Message) -> Answer:
        operation = request.header.op_code
        if operation not in (OpCode.RESOLUTION, OpCode.GET_SITE_INFO):
            text = NO_ADMINISTRATION.format(operation=f"operation {operation} ({op_name(operation)})")
            return self._error(request, ResponseCode.OPERATION_NOT_SUPPORTED, text)
        if request.has(OpFlag.CERT):
            return self._error(request, ResponseCode.OPERATION_NOT_SUPPORTED, NO_CERTIFICATE)
        if operation == OpCode.GET_SITE_INFO:
            body = SiteInfoResponse(site=self._site).encode()
            return self._answer(request, ResponseCode.SUCCESS, body, self._clock() + SITE_ANSWER_LIFE_S)
        return await self._resolve(request)

    async def _resolve(self, request: Message) -> Answer:
        query = ResolutionRequest.decode(request.body)
        authoritative = request.has(OpFlag.AUTH)
        entry = None if authoritative else self._recursor.cached(query.handle)
        if entry is None:
            if not request.has(OpFlag.RECU):
                return self._error(request, ResponseCode.SERVER_NOT_RESPONSIBLE, NOT_CACHED)
            resolved = await self._recursor.resolve(
                query.handle, authoritative=authoritative, recursion_count=request.header.recursion_count
            )
            entry = resolved.entry
        cache_until_s = None if authoritative else entry.expires_s
        match select(entry, query.indexes, query.types):
            case ValueList() as values:
                body = ResolutionResponse(handle=query.handle, values=values).encode()
                return self._answer(request, ResponseCode.SUCCESS, body, cache_until_s)
            case Denial(code=code, message=message):
                return self._answer(request, code, ErrorBody(message=message).encode(), cache_until_s)

    def _error(self, request: Message, code: ResponseCode, message: str) -> Answer:
        return self._answer(request, code, ErrorBody(message=message).encode(), None)

    def _answer(
        self, request: Message, code: ResponseCode, body: bytes, cache_until_s: float | None
    ) -> Answer:
        """Encode a response; it may be repeated as long as what it was made from lives, and not a moment longer.

        AUTH is never set: we are nobody's authority.
        """
        response = request.answer(
            code,
            body,
            authoritative=False,
            site_serial=self._site.serial,
            wall_s=self._wall_clock(),
        )
        lives = cache_until_s is not None and cache_until_s > self._clock()
        return Answer(octets=response.encode(), cache_until_s=cache_until_s if lives else None)


def select(entry: Entry, indexes: tuple[int, ...], types: tuple[str, ...]) -> ValueList | Denial:
    """What a question about part of a record gets: its public values that fit, or the denial.

    A record of which nothing fits becomes "values not found", which lives as long as the record.
    """
    match entry:
        case Denial():
            return entry
        case Record(values=values):
            selected = values.select(indexes, types)
            if selected.count:
                return selected
            return Denial(
                code=ResponseCode.VALUES_NOT_FOUND,
                message="",
                stored_s=entry.stored_s,
                expires_s=entry.expires_s,
            )


def explain(failure: ResolutionFailed) -> str:
    """A failure in one line for whoever asked: which node, what happened there, since when, what to do."""
    since = f" (since {failure.since})" if failure.since else ""
    remedy = f" Remedy: {failure.remedy}" if failure.remedy else ""
    cause = str(failure).rstrip(".")  # it may be another node's whole sentence
    return f"{cause}{since}.{remedy}"
