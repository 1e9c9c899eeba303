"""Handle protocol server of a registry node: a resolution is what operations.py says of the stored record.

The usual request, for a handle below a prefix that is homed here, goes the short way: no task and no message objects,
only an object that waits for the row. Everything else goes by resolve(), which alone knows all rules.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from protocol.bodies import ErrorBody, ReferralBody, ResolutionRequest, ResolutionResponse, resolution_body
from protocol.codes import OpFlag, ResponseCode
from protocol.errors import StoreUnavailable
from protocol.generations import Stamp
from protocol.message import Message, decode_message
from protocol.runtime import wire_server
from protocol.site import Site
from protocol.transport.base import Answer, Peer, Reply
from protocol.usual import OF_AUTHORITY, AnswerTemplates, UsualRequest, read_usual_request
from protocol.value import ValueList
from registry.operations import Operations
from registry.outcomes import CACHE_TIME_MAX_S, Denied, Found, Referred
from registry.reads import READ_TIME_MAX_S, PublicRow, StoreBusy
from registry.resolution import public_answer

ANSWER_TIME_MAX_S: Final = READ_TIME_MAX_S
NO_DATABASE: Final = "The database of this server does not answer."
BUSY: Final = "This server is asked more than its database answers."
_WORDLESS: Final = ErrorBody().encode()


class WireServer(wire_server.WireServer):
    """The authority: values, denials and referrals, each with the generations that it was made from."""

    not_supported = "This server does not support {operation}."

    def __init__(
        self,
        operations: Operations,
        site: Site,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        answer_time_max_s: float = ANSWER_TIME_MAX_S,
    ) -> None:
        super().__init__(site, clock=clock, wall_clock=wall_clock)
        self._operations = operations
        self._templates = AnswerTemplates(authoritative=site.primary, site_serial=site.serial)
        self._answer_time_max_s = answer_time_max_s

    def answer_soon(self, octets: bytes, peer: Peer, reply: Reply) -> bool:
        """Ask for the row of a usual request; see the module."""
        usual = read_usual_request(octets, OF_AUTHORITY)
        if usual is None:
            return False
        asked = _Asked(self, usual, octets, peer, reply)
        try:
            stamp = self._operations.ask(usual[0], asked)
        except StoreUnavailable as error:
            reply(self.no_answer(decode_message(octets), error))
            return True
        if stamp is None:
            return False
        asked.stamp = stamp
        return True

    def answer_usual(
        self, octets: bytes, usual: UsualRequest, row: PublicRow | None, stamp: Stamp
    ) -> Answer | None:
        """The answer that a row gives to a usual request; None when it takes more than the row."""
        name, _, wanted = usual
        told = public_answer(row, *wanted)
        if told is None:
            return None
        wall_s = self.wall_clock()
        code, body, life_s = ResponseCode.SUCCESS, _WORDLESS, CACHE_TIME_MAX_S
        if isinstance(told, ValueList):
            body = resolution_body(name, told)
            life_s = min(life_s, told.smallest_ttl_s(wall_s))
        else:
            code = told
        response = self._templates.answer(octets, code, body, wall_s)
        if life_s <= 0:
            return Answer(octets=response)
        return Answer(octets=response, cache_until_s=self.clock() + life_s, stamp=stamp)

    def no_answer(self, request: Message, error: Exception) -> Answer:
        """What is said when the database does not answer, or is asked too much."""
        if isinstance(error, StoreBusy):
            return self.refuse(request, error.code, BUSY)
        return self.refuse(request, ResponseCode.ERROR, NO_DATABASE)

    async def resolve(self, request: Message) -> Answer:
        """Answer from the database, or say that it does not answer."""
        question = ResolutionRequest.decode(request.body)
        try:
            async with asyncio.timeout(self._answer_time_max_s):
                outcome = await self._operations.resolve(
                    question.handle,
                    indexes=question.indexes,
                    types=question.types,
                    refer=not request.has(OpFlag.DNRF),
                )
        except (StoreUnavailable, TimeoutError) as error:
            return self.no_answer(request, error)
        expires_s = self.clock() + CACHE_TIME_MAX_S
        match outcome:
            case Found(values=values, stamp=stamp):
                body = ResolutionResponse(handle=question.handle, values=values).encode()
                expires_s = min(expires_s, self.clock() + values.smallest_ttl_s(self.wall_clock()))
                return self.answer(request, ResponseCode.SUCCESS, body, expires_s=expires_s, stamp=stamp)
            case Referred(code=code, values=values, stamp=stamp):
                body = ReferralBody(values=values).encode()
                return self.answer(request, code, body, expires_s=expires_s, stamp=stamp)
            case Denied(code=code, message=message, stamp=stamp):
                return self.refuse(request, code, message, expires_s=expires_s, stamp=stamp)


class _Asked:
    """A usual request that waits for its row."""

    __slots__ = ("_octets", "_peer", "_reply", "_server", "_usual", "stamp")

    def __init__(
        self, server: WireServer, usual: UsualRequest, octets: bytes, peer: Peer, reply: Reply
    ) -> None:
        self._server = server
        self._usual = usual
        self._octets = octets
        self._peer = peer
        self._reply = reply
        self.stamp: Stamp

    def found(self, row: PublicRow | None) -> None:
        """See Waiter."""
        try:
            answer = self._server.answer_usual(self._octets, self._usual, row, self.stamp)
        except Exception as error:
            self.failed(error)
            return
        if answer is None:
            self._server.answer_later(self._octets, self._peer, self._reply)
        else:
            self._reply(answer)

    def failed(self, error: BaseException) -> None:
        """See Waiter."""
        request = decode_message(self._octets)
        if isinstance(error, StoreUnavailable):
            self._reply(self._server.no_answer(request, error))
        else:
            self._reply(self._server.failed(request, self._peer, error))
