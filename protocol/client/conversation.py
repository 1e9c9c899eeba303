"""One request to one server, with a challenge in between where the server wants to know who asks.

Outside sessions; what is answered in several messages is given message by message. An answer to a challenge is made
only when the challenge carries the digest of our own request. Source: PROTOCOL.md §4.9, §5.2.
"""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, Protocol

from protocol.admin_bodies import ChallengeAnswerRequest
from protocol.challenge import read_challenge
from protocol.client.answers import CLOCK_SKEW_S, error_text
from protocol.client.identity import Identity
from protocol.client.selection import Target
from protocol.codes import OpCode, OpFlag, ResponseCode
from protocol.credential import verify
from protocol.errors import Malformed, OperationRefused, Unclear, Unreachable
from protocol.message import ANSWER_LIFE_S, Message, matches_digest, response_code_of, split_digest
from protocol.transport.exchanger import new_request_id
from protocol.valuetypes import PublicKey

CHALLENGES_MAX: Final = 2
"""Of one request: a server that cannot check a modern answer asks once more, for an older one (PROTOCOL.md §5.3)."""
_OF_REQUEST_ALONE: Final = OpFlag.OVRW | OpFlag.MINT


class AdminExchanger(Protocol):
    """What administration takes from transports; see Exchanger."""

    async def exchange(
        self,
        interface_protocol: int,
        address: str,
        port: int,
        request: Message,
        *,
        deadline_s: float,
        path: str = "",
    ) -> Message:
        """One message and its answer."""

    async def exchange_octets(
        self,
        interface_protocol: int,
        address: str,
        port: int,
        request: bytes,
        *,
        deadline_s: float,
        path: str = "",
    ) -> bytes:
        """The same for what may be encrypted."""

    def stream(
        self,
        interface_protocol: int,
        address: str,
        port: int,
        request: Message,
        *,
        patience_s: float,
        path: str = "",
    ) -> AsyncGenerator[Message, None]:
        """One message and all of its answers."""


class Conversation:
    """What is said with one interface of one server, as somebody or nobody."""

    def __init__(
        self,
        exchanger: AdminExchanger,
        target: Target,
        identity: Identity | None,
        *,
        server_key: PublicKey | None = None,
        patience_s: float,
    ) -> None:
        """server_key: with which every answer must be signed; None where that is not asked for."""
        self._exchanger = exchanger
        self._target = target
        self._identity = identity
        self._server_key = server_key
        self._patience_s = patience_s

    async def ask(self, operation: OpCode, body: bytes, flags: int) -> bytes:
        """The body of the answer.

        Raises OperationRefused, BadSignature, WireError; Unreachable when nothing can have been done, Unclear when it
        can.
        """
        request = self._request(operation, body, flags)
        response = await self._exchange(request)
        content = self._check(request, request, response)
        for _ in range(CHALLENGES_MAX):
            if not self._is_challenge(response):
                break
            answer = self._answer(request, response)
            try:
                response = await self._exchange(answer)
            except Unreachable as error:
                raise unclear(error) from error
            content = self._check(request, answer, response)
        return self._content(response, content)

    async def stream(self, operation: OpCode, body: bytes, flags: int) -> AsyncGenerator[bytes, None]:
        """The bodies of all messages of the answer, in order. Raises as ask()."""
        request = self._request(operation, body, flags)
        sent, challenges = request, 0
        while True:
            challenge: Message | None = None
            async with aclosing(self._messages(sent)) as messages:
                async for message in messages:
                    content = self._check(request, sent, message)
                    if challenges < CHALLENGES_MAX and self._is_challenge(message):
                        challenge = message
                        break
                    yield self._content(message, content)
            if challenge is None:
                return
            sent, challenges = self._answer(request, challenge), challenges + 1

    def _messages(self, request: Message) -> AsyncGenerator[Message, None]:
        target = self._target
        return self._exchanger.stream(
            target.protocol,
            target.address,
            target.port,
            request,
            patience_s=self._patience_s,
            path=target.path,
        )

    async def _exchange(self, request: Message) -> Message:
        target = self._target
        return await self._exchanger.exchange(
            target.protocol,
            target.address,
            target.port,
            request,
            deadline_s=time.monotonic() + self._patience_s,
            path=target.path,
        )

    def _request(self, operation: OpCode, body: bytes, flags: int, *, session_id: int = 0) -> Message:
        return Message.request(
            operation,
            body,
            request_id=new_request_id(),
            expiration=int(time.time()) + ANSWER_LIFE_S,
            flags=flags if self._server_key is None else flags | OpFlag.CERT,
            version=self._target.version,
            session_id=session_id,
        )

    def _is_challenge(self, response: Message) -> bool:
        return self._identity is not None and response_code_of(response) == ResponseCode.AUTHENTICATION_NEEDED

    def _answer(self, request: Message, challenge: Message) -> Message:
        """The message that proves who sent a request. Raises BadSignature for a challenge to another request."""
        assert self._identity is not None
        body = prove(self._identity, request, challenge).encode()
        flags = request.header.op_flags & ~_OF_REQUEST_ALONE
        return self._request(OpCode.CHALLENGE_ANSWER, body, flags, session_id=challenge.envelope.session_id)

    def _check(self, request: Message, sent: Message, response: Message) -> bytes:
        """The body of a message, without digest, after what ties it to what was sent has been compared.

        An answer after a proof bears the operation of the request, and the digest of either (PROTOCOL.md §12).
        """
        if response.envelope.request_id != sent.envelope.request_id:
            raise Malformed("the answer carries another request id")
        if response.header.op_code not in (request.header.op_code, sent.header.op_code):
            raise Malformed(f"the answer is to operation {response.header.op_code}")
        if response.header.response_code == 0:
            raise Malformed("the answer is a request")
        if response.header.expiration < time.time() - CLOCK_SKEW_S:
            raise Malformed("the answer has expired; compare the clocks")
        if self._server_key is not None:
            verify(response, self._server_key)
        digest, content = split_digest(response)
        if digest is not None and not (matches_digest(request, digest) or matches_digest(sent, digest)):
            raise Malformed("the answer carries the digest of another request")
        return content

    def _content(self, response: Message, content: bytes) -> bytes:
        return content_of(response, content, node=str(self._target))


def prove(identity: Identity, request: Message, challenge: Message) -> ChallengeAnswerRequest:
    """The answer to a challenge to our request. Raises BadSignature for a challenge to another one, WireError."""
    return identity.prove(read_challenge(challenge, request), challenge.envelope)


def content_of(response: Message, content: bytes, *, node: str) -> bytes:
    """The body of a success. Raises OperationRefused for anything else."""
    code = response_code_of(response)
    if code != ResponseCode.SUCCESS:
        words = "" if code == ResponseCode.AUTHENTICATION_NEEDED else error_text(content)
        raise OperationRefused(code, words, node=node)
    return content


def unclear(error: Unreachable) -> Unclear:
    """What becomes of a failure after a write was sent."""
    return Unclear(
        error.cause,
        node=error.node,
        remedy="it may have been done: resolve the handle before you send it again",
    )
