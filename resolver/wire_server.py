"""Handle protocol server of a recursive node: a resolution comes from the caches or by recursion."""

import time
from collections.abc import Callable
from typing import Final

from protocol.bodies import ResolutionRequest, ResolutionResponse
from protocol.codes import OpFlag, ResponseCode
from protocol.errors import ResolutionFailed
from protocol.message import Message
from protocol.runtime import wire_server
from protocol.site import Site
from protocol.transport.base import Answer
from protocol.value import ValueList
from resolver.cache.policy import Denial, select
from resolver.recursor import Recursor

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
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(site, clock=clock, wall_clock=wall_clock)
        self._recursor = recursor

    async def resolve(self, request: Message) -> Answer:
        """Answer what is in memory without waiting, and fetch the rest; AUTH goes past every cache."""
        query = ResolutionRequest.decode(request.body)
        authoritative = request.has(OpFlag.AUTH)
        entry = None if authoritative else self._recursor.cached(query.handle)
        if entry is None:
            if not request.has(OpFlag.RECU):
                return self.refuse(request, ResponseCode.SERVER_NOT_RESPONSIBLE, NOT_CACHED)
            try:
                resolved = await self._recursor.resolve(
                    query.handle, authoritative=authoritative, recursion_count=request.header.recursion_count
                )
            except ResolutionFailed as failure:
                return self.refuse(request, failure.code, failure.explain())
            entry = resolved.entry
        expires_s = None if authoritative else entry.expires_s
        match select(entry, query.indexes, query.types):
            case ValueList() as values:
                body = ResolutionResponse(handle=query.handle, values=values).encode()
                return self.answer(request, ResponseCode.SUCCESS, body, expires_s=expires_s)
            case Denial(code=code, message=message):
                return self.refuse(request, code, message, expires_s=expires_s)
