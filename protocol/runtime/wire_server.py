"""The server side of the Handle protocol: request message -> what a node does for it -> response message.

Answers resolution (1), as the node at hand does, and get-site-info (2); every other operation gets RC 5.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Final

import structlog

from protocol.bodies import ErrorBody, SiteInfoResponse
from protocol.codes import OpCode, OpFlag, ResponseCode, op_name
from protocol.errors import HandleError, WireError
from protocol.generations import Stamp
from protocol.message import Message, decode_message, undecodable
from protocol.runtime.logs import request_scope
from protocol.site import Site
from protocol.transport.base import Answer, Peer, Reply

SITE_ANSWER_LIFE_S: Final = 60.0  # our own record changes only with a new start
NO_CERTIFICATE: Final = "This node does not sign its answers; ask without CERT."

log = structlog.get_logger(__name__)

HandOver = Callable[[bytes, Peer, Reply], bool]


def _nobody(_octets: bytes, _peer: Peer, _reply: Reply) -> bool:
    return False


class WireServer(ABC):
    """The responder of the UDP, TCP and tunnel listeners: octets of a request in, those of the response out."""

    not_supported: ClassVar[str]
    """What is said of an operation that the node does not have, with `{operation}` where it stands."""

    def __init__(
        self,
        site: Site,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """site: our own site record, which also tells the serial and whether we are primary."""
        self.site = site
        self.clock = clock
        self.wall_clock = wall_clock
        self.hand_over: HandOver = _nobody
        """Takes a request that another worker must answer; False for any other, of which nothing is done then."""
        self._tasks: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def resolve(self, request: Message) -> Answer:
        """Answer a resolution. Raises HandleError; one whose code is ERROR is a fault of ours and told to nobody."""

    def answer_soon(self, octets: bytes, peer: Peer, reply: Reply) -> bool:
        """Take a usual request the short way, without a task; False for any other, of which nothing is done then.

        A node that can, overrides it. It checks what it relies on, and leaves everything unusual to resolve().
        """
        return False

    def respond(self, octets: bytes, peer: Peer, reply: Reply) -> None:
        """Answer one whole message, envelope included; see Responder. Never raises.

        Octets that are no message get RC 4. A message that is itself a response gets silence: two servers
        would otherwise answer each other for ever. How many requests wait at once is bounded by the transports.
        """
        if not self.answer_soon(octets, peer, reply) and not self.hand_over(octets, peer, reply):
            self.answer_later(octets, peer, reply)

    def answer_later(self, octets: bytes, peer: Peer, reply: Reply) -> None:
        """The general way of respond(), with a task, and without another worker."""
        try:
            request = decode_message(octets)
        except WireError as error:
            reply(Answer(octets=undecodable(octets, str(error), self.wall_clock()).encode()))
            return
        if request.header.response_code:
            reply(None)
            return
        task = asyncio.get_running_loop().create_task(self._respond(request, peer, reply))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give up what is still worked on; after the listeners are closed."""
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def _respond(self, request: Message, peer: Peer, reply: Reply) -> None:
        with request_scope(str(request.envelope.request_id)):
            try:
                answer = await self.dispatch(request, peer)
            except Exception as error:
                answer = self.failed(request, peer, error)
        reply(answer)

    def failed(self, request: Message, peer: Peer, error: BaseException) -> Answer:
        """The answer to a request that met an error; what is a fault of ours is logged, and told to nobody."""
        if isinstance(error, HandleError) and error.code is not ResponseCode.ERROR:
            return self.refuse(request, error.code, str(error))
        log.error("request_failed", peer=peer.host, exc_info=error)
        return self.refuse(request, ResponseCode.ERROR, "Internal error.")

    def answer(
        self,
        request: Message,
        code: ResponseCode,
        body: bytes,
        *,
        expires_s: float | None = None,
        stamp: Stamp | None = None,
    ) -> Answer:
        """Encode a response.

        expires_s: monotonic time until which the answer cache may repeat it, as long as the stamp is current.
        """
        response = request.answer(
            code,
            body,
            authoritative=self.site.primary,
            site_serial=self.site.serial,
            wall_s=self.wall_clock(),
        )
        if expires_s is None or expires_s <= self.clock():
            return Answer(octets=response.encode())
        return Answer(octets=response.encode(), cache_until_s=expires_s, stamp=stamp)

    def refuse(
        self,
        request: Message,
        code: ResponseCode,
        message: str,
        *,
        expires_s: float | None = None,
        stamp: Stamp | None = None,
    ) -> Answer:
        """Encode a response that is no, in words; the other arguments as in answer()."""
        return self.answer(
            request, code, ErrorBody(message=message).encode(), expires_s=expires_s, stamp=stamp
        )

    async def dispatch(self, request: Message, peer: Peer) -> Answer:
        """Do what a request asks for. A node that can do more overrides it, and leaves the rest to this one."""
        operation = request.header.op_code
        if operation not in (OpCode.RESOLUTION, OpCode.GET_SITE_INFO):
            text = self.not_supported.format(operation=f"operation {operation} ({op_name(operation)})")
            return self.refuse(request, ResponseCode.OPERATION_NOT_SUPPORTED, text)
        if request.has(OpFlag.CERT):
            return self.refuse(request, ResponseCode.OPERATION_NOT_SUPPORTED, NO_CERTIFICATE)
        if operation == OpCode.RESOLUTION:
            return await self.resolve(request)
        body = SiteInfoResponse(site=self.site).encode()
        return self.answer(request, ResponseCode.SUCCESS, body, expires_s=self.clock() + SITE_ANSWER_LIFE_S)
