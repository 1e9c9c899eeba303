"""The server side of the Handle protocol: request message -> what a node does for it -> response message.

Which operations there are is the node's to say; get-site-info (2) is the same for all. The answer to a request with
CERT is signed with the node's server key, whatever it says (PROTOCOL.md §3.3, §3.5).
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, ClassVar, Final

import structlog

from protocol.bodies import ErrorBody, SiteInfoResponse
from protocol.codes import OpFlag, ResponseCode, op_name
from protocol.errors import HandleError
from protocol.generations import Stamp
from protocol.message import Message, decode_message, undecodable
from protocol.runtime.logs import request_scope
from protocol.runtime.signing import Signer
from protocol.site import Site
from protocol.transport.base import Answer, Peer, Reply

SITE_ANSWER_LIFE_S: Final = 60.0  # our own record changes only with a new start
NO_SERVER_KEY: Final = "This node has no server key to sign with; ask without CERT."

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
        signer: Signer | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """site: our own site record, which also tells the serial and whether we are primary.

        signer: signs with the key that the site record names; None for a node without one.
        """
        self.site = site
        self.signer = signer
        self.clock = clock
        self.wall_clock = wall_clock
        self.hand_over: HandOver = _nobody
        """Takes a request that another worker must answer; False for any other, of which nothing is done then."""
        self._tasks: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def dispatch(self, request: Message, peer: Peer) -> Answer:
        """Do what a request asks for.

        Raises HandleError; one whose code is ERROR is a fault of ours and told to nobody.
        """

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
            request = self.decode(octets, peer)
        except HandleError as error:
            response = undecodable(octets, str(error), self.wall_clock(), code=error.code)
            reply(Answer(octets=response.encode()))
            return
        if request.header.response_code:
            reply(None)
            return
        is_signed = request.has(OpFlag.CERT) and self.signs_for(request, peer)
        answering = self._respond_signed(octets, request, peer) if is_signed else self._respond(request, peer)
        task = asyncio.get_running_loop().create_task(_tell(answering, reply))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def decode(self, octets: bytes, peer: Peer) -> Message:
        """The message in octets. Raises HandleError: WireError for octets that are none."""
        return decode_message(octets)

    def signs_for(self, request: Message, peer: Peer) -> bool:
        """Whether the answer to a request with CERT is signed; within a session it has a MAC instead."""
        return True

    async def close(self) -> None:
        """Give up what is still worked on; after the listeners are closed."""
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def _respond(self, request: Message, peer: Peer) -> Answer:
        with request_scope(str(request.envelope.request_id)):
            try:
                return await self.dispatch(request, peer)
            except Exception as error:
                return self.failed(request, peer, error)

    async def _respond_signed(self, octets: bytes, request: Message, peer: Peer) -> Answer:
        """Answer with a signature: kept for a repetition of the very same request, and in no cache.

        What a limit refuses is refused before anything is done for it, and without a signature.
        """
        signer = self.signer
        if signer is None:
            return self.refuse(request, ResponseCode.OPERATION_NOT_SUPPORTED, NO_SERVER_KEY)
        # Datagrams come twice; over a connection the same octets may be somebody else's, who has not logged in.
        may_repeat = peer.transport == "udp" and not request.envelope.session_id
        repeated = signer.repeat(octets, peer) if may_repeat else None
        if repeated is not None:
            return Answer(octets=repeated)
        try:
            signer.admit(peer)
            answer = await self._respond(request, peer)
            response = await signer.certify(decode_message(answer.octets))
        except Exception as error:
            return self.failed(request, peer, error)
        signed = response.encode()
        if answer.more is None:
            if may_repeat:
                signer.keep(octets, peer, signed)
            return Answer(octets=signed, keep_open=answer.keep_open)
        return Answer(octets=signed, more=_signed(answer.more, signer), keep_open=answer.keep_open)

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

    def site_info(self, request: Message) -> Answer:
        """The answer to get-site-info: our own record, bare; what the request names does not matter."""
        body = SiteInfoResponse(site=self.site).encode()
        return self.answer(request, ResponseCode.SUCCESS, body, expires_s=self.clock() + SITE_ANSWER_LIFE_S)

    def has_not(self, request: Message) -> Answer:
        """The answer to an operation that the node does not have."""
        operation = request.header.op_code
        text = self.not_supported.format(operation=f"operation {operation} ({op_name(operation)})")
        return self.refuse(request, ResponseCode.OPERATION_NOT_SUPPORTED, text)


async def _signed(more: AsyncGenerator[bytes, None], signer: Signer) -> AsyncGenerator[bytes, None]:
    async with aclosing(more):
        async for octets in more:
            yield (await signer.certify(decode_message(octets))).encode()


async def _tell(answering: Coroutine[Any, Any, Answer], reply: Reply) -> None:
    reply(await answering)
