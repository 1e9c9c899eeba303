"""A small client of every operation of the Handle protocol: bodies and proofs of protocol/, sockets of its own."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import aiohttp

from protocol.admin_bodies import (
    ChallengeAnswerRequest,
    HandleListResponse,
    HandleRequest,
    RemoveValuesRequest,
    ValuesRequest,
)
from protocol.bodies import ErrorBody, ResolutionRequest, ResolutionResponse
from protocol.challenge import Challenge, SecretCode, answer_with_key, answer_with_secret, read_challenge
from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag
from protocol.handle import Handle
from protocol.message import (
    ENVELOPE_OCTETS,
    Message,
    Version,
    decode_envelope,
    decode_message,
    matches_digest,
    split_digest,
)
from protocol.signature import PrivateKey
from protocol.transport.base import Peer, Responder
from protocol.transport.tunnel import MESSAGE_TYPE
from protocol.value import HandleValue, ValueList, ValueReference
from tests.support.asking import Address, send_udp
from tests.support.transport import answer_of

PATIENCE_S: Final = 15.0
QUICK_ITERATIONS: Final = 100  # tests are not about how long PBKDF2 takes

Transport = Literal["udp", "tcp", "http"]


class Proof:
    """What a client proves itself with."""

    def __init__(
        self, identity: str, *, secret: bytes = b"", key: PrivateKey | None = None, index: int = 300
    ) -> None:
        self.reference = ValueReference(Handle.parse(identity).octets, index)
        self.secret = secret
        self.key = key
        self.code = SecretCode.PBKDF2_HMAC_SHA1
        self.iterations = QUICK_ITERATIONS

    def answer(self, challenge: Challenge, version: Version = (2, 11)) -> ChallengeAnswerRequest:
        """The body that answers a challenge."""
        if self.key is not None:
            kind, octets = "HS_PUBKEY", answer_with_key(challenge, self.key, version)
        else:
            kind = "HS_SECKEY"
            octets = answer_with_secret(
                challenge, self.secret, self.code, salt=bytes(16), iterations=self.iterations
            )
        return ChallengeAnswerRequest(kind=kind, key=self.reference, answer=octets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """All messages of one answer."""

    messages: tuple[Message, ...]

    @property
    def last(self) -> Message:
        """The last message, for most answers the only one."""
        return self.messages[-1]

    @property
    def rc(self) -> int:
        """The response code."""
        return self.last.header.response_code

    @property
    def body(self) -> bytes:
        """The body of the last message, without a digest."""
        return split_digest(self.last)[1]

    @property
    def text(self) -> str:
        """The words of a refusal."""
        return ErrorBody.decode(self.body).message

    @property
    def values(self) -> tuple[HandleValue, ...]:
        """The values of a resolution."""
        return tuple(ResolutionResponse.decode(self.body).values)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of a list, of all its messages."""
        bodies = [HandleListResponse.decode(split_digest(message)[1]) for message in self.messages]
        return tuple(name.decode() for body in bodies for name in body.names)


@dataclass(slots=True)
class HandleClient:
    """Asks one node over one transport; each message over a connection of its own, as deployed clients do."""

    address: Address | Responder
    """Where the node is, or what answers in its place without sockets."""
    transport: Transport = "tcp"
    proof: Proof | None = None
    version: Version = (2, 11)
    suggested: Version = (2, 11)
    sent: list[Message] = field(default_factory=list)
    """Every message, the last one last."""

    def request(self, op_code: OpCode, body: bytes, flags: int = DEFAULT_FLAGS) -> Message:
        """A request with an id of its own."""
        request = Message.request(
            op_code, body, request_id=random.getrandbits(31), expiration=0, flags=flags, version=self.version
        )
        return replace(request, envelope=replace(request.envelope, suggested=self.suggested))

    async def ask(self, op_code: OpCode, body: bytes, *, flags: int = DEFAULT_FLAGS) -> Reply:
        """Ask, and answer a challenge if there is something to answer it with."""
        request = self.request(op_code, body, flags)
        reply = await self.exchange(request)
        if reply.rc != 402 or self.proof is None:
            return reply
        return await self.exchange(self.answer(request, reply.last))

    def answer(self, request: Message, challenge: Message) -> Message:
        """The message that answers a challenge to a request."""
        assert self.proof is not None
        body = self.proof.answer(read_challenge(challenge, request), challenge.envelope.version)
        flags = request.header.op_flags & ~(OpFlag.OVRW | OpFlag.MINT)
        answer = self.request(OpCode.CHALLENGE_ANSWER, body.encode(), flags)
        session_id = challenge.envelope.session_id
        return replace(answer, envelope=replace(answer.envelope, session_id=session_id))

    async def exchange(self, message: Message) -> Reply:
        """Send one message, and read what comes until no more follows; checks ids and digest as real clients do."""
        self.sent.append(message)
        messages = await self.carry(message.encode())
        for answer in messages:
            assert answer.envelope.request_id == message.envelope.request_id
            digest, _ = split_digest(answer)
            assert digest is None or matches_digest(message, digest)
        return Reply(messages=tuple(messages))

    async def carry(self, octets: bytes) -> list[Message]:
        """Send octets, and read what comes."""
        if not isinstance(self.address, tuple):
            answer = await answer_of(self.address, octets, Peer("192.0.2.1", 4711, self.transport))
            assert answer is not None
            more = [] if answer.more is None else [following async for following in answer.more]
            return [decode_message(each) for each in (answer.octets, *more)]
        match self.transport:
            case "udp":
                return [decode_message(await send_udp(self.address, octets))]
            case "tcp":
                return await _over_tcp(self.address, octets)
            case "http":
                return await _over_http(self.address, octets)

    # Operations

    async def create(self, handle: str, *values: HandleValue, flags: int = DEFAULT_FLAGS) -> Reply:
        """OC 100."""
        return await self.ask(OpCode.CREATE_HANDLE, _values(handle, values), flags=flags)

    async def delete(self, handle: str) -> Reply:
        """OC 101."""
        return await self.ask(OpCode.DELETE_HANDLE, _name(handle))

    async def add(self, handle: str, *values: HandleValue, flags: int = DEFAULT_FLAGS) -> Reply:
        """OC 102."""
        return await self.ask(OpCode.ADD_VALUE, _values(handle, values), flags=flags)

    async def remove(self, handle: str, *indexes: int) -> Reply:
        """OC 103."""
        body = RemoveValuesRequest(handle=Handle.parse(handle), indexes=indexes)
        return await self.ask(OpCode.REMOVE_VALUE, body.encode())

    async def modify(self, handle: str, *values: HandleValue, flags: int = DEFAULT_FLAGS) -> Reply:
        """OC 104."""
        return await self.ask(OpCode.MODIFY_VALUE, _values(handle, values), flags=flags)

    async def resolve(
        self,
        handle: str,
        *,
        indexes: Sequence[int] = (),
        types: Sequence[str] = (),
        flags: int = DEFAULT_FLAGS,
    ) -> Reply:
        """OC 1."""
        body = ResolutionRequest(handle=Handle.parse(handle), indexes=tuple(indexes), types=tuple(types))
        return await self.ask(OpCode.RESOLUTION, body.encode(), flags=flags)

    async def about(self, op_code: OpCode, name: str, *, flags: int = DEFAULT_FLAGS) -> Reply:
        """Any operation whose body is a name."""
        return await self.ask(op_code, _name(name), flags=flags)


async def read_messages(reader: asyncio.StreamReader) -> list[Message]:
    """Messages up to the first without CONT."""
    messages: list[Message] = []
    while not messages or messages[-1].has(OpFlag.CONT):
        envelope = await reader.readexactly(ENVELOPE_OCTETS)
        rest = await reader.readexactly(decode_envelope(envelope).message_octets)
        messages.append(decode_message(envelope + rest))
    return messages


def _name(handle: str) -> bytes:
    return HandleRequest(handle=Handle.parse(handle)).encode()


def _values(handle: str, values: Sequence[HandleValue]) -> bytes:
    return ValuesRequest(handle=Handle.parse(handle), values=ValueList.of(values)).encode()


async def _over_tcp(address: Address, octets: bytes) -> list[Message]:
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(octets)
        async with asyncio.timeout(PATIENCE_S):
            messages = await read_messages(reader)
            assert await reader.read() == b""
        return messages
    finally:
        writer.close()


async def _over_http(address: Address, octets: bytes) -> list[Message]:
    url = "http://{}:{}/".format(*address)
    headers: dict[str, Any] = {"Content-Type": MESSAGE_TYPE, "Accept": MESSAGE_TYPE}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=octets, headers=headers) as response,
    ):
        reader = asyncio.StreamReader()
        reader.feed_data(await response.read())
        reader.feed_eof()
        return await read_messages(reader)
