"""Handle protocol server: request message -> operation -> response message.

Answers resolution (1) and get-site-info (2); every other operation gets RC 5. What is asked of the database
is decided in operations.py alone.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from protocol.bodies import ErrorBody, ReferralBody, ResolutionRequest, ResolutionResponse, SiteInfoResponse
from protocol.codes import OpCode, OpFlag, ResponseCode
from protocol.errors import HandleError, StoreUnavailable, WireError
from protocol.generations import Stamp
from protocol.message import Message, decode_message, undecodable
from protocol.runtime.logs import request_scope
from protocol.site import Site
from protocol.transport.base import Answer, Peer
from registry.operations import Operations
from registry.outcomes import Denied, Found, Referred

ANSWER_TIME_MAX_S: Final = 5.0  # deployed clients retry three times in three seconds, then go elsewhere
CACHE_TIME_MAX_S: Final = 30.0
"""Generations end a cached answer at once when this host writes; this bound counts when another host does."""

log = structlog.get_logger(__name__)


class WireServer:
    """The responder of the UDP, TCP and tunnel listeners: octets of a request in, those of the response out."""

    def __init__(
        self,
        *,
        operations: Operations,
        site: Site,
        monotonic: Callable[[], float],
        wall_clock: Callable[[], float],
        answer_time_max_s: float = ANSWER_TIME_MAX_S,
    ) -> None:
        """Take what answers are made of.

        site: our own site record, which also tells the serial and whether we are primary.
        """
        self._operations = operations
        self._site = site
        self._monotonic = monotonic
        self._wall_clock = wall_clock
        self._answer_time_max_s = answer_time_max_s

    async def respond(self, octets: bytes, peer: Peer) -> Answer | None:
        """Answer one whole message, envelope included; None means silence. Never raises.

        Octets that are no message get RC 4. A message that is itself a response gets silence: two servers
        would otherwise answer each other for ever. How many requests wait at once is bounded by the transports.
        """
        try:
            request = decode_message(octets)
        except WireError as error:
            return Answer(octets=undecodable(octets, str(error), self._wall_clock()).encode())
        if request.header.response_code:
            return None
        try:
            with request_scope(str(request.envelope.request_id)):
                async with asyncio.timeout(self._answer_time_max_s):
                    return await self._dispatch(request)
        except (StoreUnavailable, TimeoutError):
            return self._error(request, ResponseCode.ERROR, "The database of this server does not answer.")
        except HandleError as error:
            if error.code is ResponseCode.ERROR:  # a fault of ours, whose text is for operators
                return self._internal_error(request, peer, error)
            return self._error(request, error.code, str(error))
        except Exception as error:
            return self._internal_error(request, peer, error)

    async def _dispatch(self, request: Message) -> Answer:
        operation = request.header.op_code
        if operation not in (OpCode.RESOLUTION, OpCode.GET_SITE_INFO):
            return self._error(
                request,
                ResponseCode.OPERATION_NOT_SUPPORTED,
                f"This server does not support operation {operation}.",
            )
        if request.has(OpFlag.CERT):
            return self._error(
                request, ResponseCode.OPERATION_NOT_SUPPORTED, "This server does not sign its answers."
            )
        if operation == OpCode.GET_SITE_INFO:
            return self._answer(request, ResponseCode.SUCCESS, SiteInfoResponse(site=self._site).encode())
        return await self._resolve(request)

    async def _resolve(self, request: Message) -> Answer:
        question = ResolutionRequest.decode(request.body)
        outcome = await self._operations.resolve(
            question.handle,
            indexes=question.indexes,
            types=question.types,
            refer=not request.has(OpFlag.DNRF),
        )
        match outcome:
            case Found(values=values):
                body = ResolutionResponse(handle=question.handle, values=values).encode()
                lifetime_s = min(CACHE_TIME_MAX_S, values.smallest_ttl_s(self._wall_clock()))
                return self._answer(request, ResponseCode.SUCCESS, body, outcome.stamp, lifetime_s)
            case Referred(code=code, values=values):
                body = ReferralBody(values=values).encode()
                return self._answer(request, code, body, outcome.stamp, CACHE_TIME_MAX_S)
            case Denied(code=code, message=message):
                return self._answer(
                    request, code, ErrorBody(message=message).encode(), outcome.stamp, CACHE_TIME_MAX_S
                )

    def _internal_error(self, request: Message, peer: Peer, error: Exception) -> Answer:
        request_id = request.envelope.request_id
        log.error("request_failed", peer=peer.host, request_id=request_id, exc_info=error)
        return self._error(request, ResponseCode.ERROR, "Internal error.")

    def _error(self, request: Message, code: ResponseCode, message: str) -> Answer:
        return self._answer(request, code, ErrorBody(message=message).encode())

    def _answer(
        self,
        request: Message,
        code: ResponseCode,
        body: bytes,
        stamp: Stamp | None = None,
        lifetime_s: float = 0.0,
    ) -> Answer:
        """Encode a response; with a stamp and a lifetime the answer cache may keep it that long."""
        response = request.answer(
            code,
            body,
            authoritative=self._site.primary,
            site_serial=self._site.serial,
            wall_s=self._wall_clock(),
        )
        cacheable = stamp is not None and lifetime_s > 0
        return Answer(
            octets=response.encode(),
            cache_until_s=self._monotonic() + lifetime_s if cacheable else None,
            stamp=stamp if cacheable else None,
        )
