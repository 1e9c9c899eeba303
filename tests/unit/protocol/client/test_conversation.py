"""Conversations with servers that lie, fall silent, or ask twice."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from typing import Any

import pytest

from protocol.admin_bodies import ChallengeAnswerRequest, HandleRequest
from protocol.bodies import ErrorBody
from protocol.challenge import Challenge, SecretCode, challenge_response, check_secret_answer
from protocol.client.conversation import Conversation
from protocol.client.identity import SecretIdentity
from protocol.client.selection import Target
from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag, ResponseCode
from protocol.errors import Malformed, OperationRefused, Unclear, Unreachable
from protocol.handle import Handle
from protocol.message import Message
from protocol.site import InterfaceProtocol, Site
from protocol.value import ValueReference

NONCE = bytes(range(16))
LATER_S = 4_000_000_000.0
SECRET = b"correct horse"
BODY = HandleRequest(handle=Handle.parse("88.1/pump")).encode()
IDENTITY = SecretIdentity(reference=ValueReference(b"88.1/ADMIN", 300), secret=SECRET)
Say = Callable[[Message], Message]


class Scripted:
    """A server that says one thing after the other; nothing more is no answer."""

    def __init__(self, *says: Say) -> None:
        self._says = list(says)
        self.heard: list[Message] = []

    async def exchange(self, *where: object, request: Message | None = None, **_: Any) -> Message:
        """See AdminExchanger."""
        message = where[3] if request is None else request
        assert isinstance(message, Message)
        self.heard.append(message)
        if not self._says:
            raise Unreachable("no answer in time", node="there")
        return self._says.pop(0)(message)

    async def exchange_octets(self, *_: object, **__: object) -> bytes:
        """Nobody asks for sessions."""
        raise AssertionError

    async def stream(self, *where: object, **how: Any) -> AsyncGenerator[Message, None]:
        """See AdminExchanger."""
        follows = True
        while follows:
            message = await self.exchange(*where, **how)
            follows = message.has(OpFlag.CONT)
            yield message

    async def asked(self) -> bytes:
        """What comes of deleting a handle."""
        target = Target(site=Site(), protocol=InterfaceProtocol.TCP, address="127.0.0.1", port=1)
        conversation = Conversation(self, target, IDENTITY, patience_s=1)
        return await conversation.ask(OpCode.DELETE_HANDLE, BODY, DEFAULT_FLAGS)


def challenge(request: Message, *, suggested: tuple[int, int] = (2, 11)) -> Message:
    """The challenge to a request."""
    response = challenge_response(
        request, NONCE, session_id=7, authoritative=True, site_serial=1, wall_s=LATER_S
    )
    return replace(response, envelope=replace(response.envelope, suggested=suggested))


def says(code: ResponseCode, body: bytes = b"") -> Say:
    """An answer."""
    return lambda request: request.answer(code, body, authoritative=True, site_serial=1, wall_s=LATER_S)


async def test_a_challenge_to_another_request_is_not_answered() -> None:
    def of_another(request: Message) -> Message:
        other = replace(request, body=HandleRequest(handle=Handle.parse("88.1/other")).encode())
        return challenge(other)

    server = Scripted(of_another)
    with pytest.raises(Malformed, match="digest of another request"):
        await server.asked()
    assert len(server.heard) == 1


async def test_silence_after_the_proof_leaves_unclear_what_was_done() -> None:
    with pytest.raises(Unclear) as unclear:
        await Scripted(challenge).asked()
    assert "resolve the handle" in unclear.value.remedy
    with pytest.raises(Unreachable) as unreachable:
        await Scripted().asked()
    assert not isinstance(unreachable.value, Unclear)


async def test_a_server_that_cannot_check_the_answer_gets_an_older_one() -> None:
    first: list[Message] = []

    def asks(request: Message) -> Message:
        first.append(request)
        return challenge(request)

    def asks_again(answer: Message) -> Message:
        again = challenge(first[0], suggested=(2, 3))
        return replace(again, envelope=replace(again.envelope, request_id=answer.envelope.request_id))

    server = Scripted(asks, asks_again, says(ResponseCode.SUCCESS))
    await server.asked()
    codes = []
    for message in server.heard[1:]:
        proof = ChallengeAnswerRequest.decode(message.body)
        assert message.envelope.session_id == 7
        assert check_secret_answer(Challenge.to(server.heard[0], NONCE), proof.answer, SECRET)
        codes.append(proof.answer[0])
    assert codes == [SecretCode.PBKDF2_HMAC_SHA1, SecretCode.SHA1]


async def test_a_server_that_never_has_enough_is_left() -> None:
    def again(request: Message) -> Message:
        return challenge(server.heard[0] if server.heard else request)

    def to_answer(answer: Message) -> Message:
        asked = again(answer)
        return replace(asked, envelope=replace(asked.envelope, request_id=answer.envelope.request_id))

    server = Scripted(to_answer, to_answer, to_answer, to_answer)
    with pytest.raises(OperationRefused) as refused:
        await server.asked()
    assert refused.value.refusal == ResponseCode.AUTHENTICATION_NEEDED
    assert len(server.heard) == 3


async def test_a_refusal_is_told_without_what_would_steer_a_terminal() -> None:
    body = ErrorBody(message="no\x1b[2J way").encode()
    with pytest.raises(OperationRefused) as refused:
        await Scripted(says(ResponseCode.INVALID_ADMINISTRATOR, body)).asked()
    assert refused.value.words == "no [2J way"
    assert refused.value.refusal == ResponseCode.INVALID_ADMINISTRATOR


@pytest.mark.parametrize(
    "spoil",
    [
        lambda answer: replace(answer, envelope=replace(answer.envelope, request_id=1)),
        lambda answer: replace(answer, header=replace(answer.header, op_code=OpCode.CREATE_HANDLE)),
        lambda answer: replace(answer, header=replace(answer.header, response_code=0)),
        lambda answer: replace(answer, header=replace(answer.header, expiration=1)),
    ],
    ids=["request id", "operation", "request", "expired"],
)
async def test_an_answer_to_something_else_is_not_believed(spoil: Callable[[Message], Message]) -> None:
    with pytest.raises(Malformed):
        await Scripted(lambda request: spoil(says(ResponseCode.SUCCESS)(request))).asked()


def test_an_identity_shows_no_secret() -> None:
    assert "horse" not in repr(IDENTITY)
