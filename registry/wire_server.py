"""Handle protocol server of a registry node: a resolution is what operations.py says of the stored record."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from protocol.bodies import ReferralBody, ResolutionRequest, ResolutionResponse
from protocol.codes import OpFlag, ResponseCode
from protocol.errors import StoreUnavailable
from protocol.message import Message
from protocol.runtime import wire_server
from protocol.site import Site
from protocol.transport.base import Answer
from registry.operations import Operations
from registry.outcomes import CACHE_TIME_MAX_S, Denied, Found, Referred

ANSWER_TIME_MAX_S: Final = 5.0  # deployed clients retry three times in three seconds, then go elsewhere


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
        self._answer_time_max_s = answer_time_max_s

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
        except (StoreUnavailable, TimeoutError):
            return self.refuse(request, ResponseCode.ERROR, "The database of this server does not answer.")
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
