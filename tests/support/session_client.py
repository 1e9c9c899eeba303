"""A client of sessions that proves its identity when asked, over connections like those of deployed clients."""

import asyncio
from collections.abc import Callable

from protocol.admin_bodies import ChallengeAnswerRequest
from protocol.challenge import answer_with_secret, read_challenge
from protocol.client.session import ANONYMOUS, ClientSession, Send
from protocol.codes import DEFAULT_FLAGS, OpCode, ResponseCode
from protocol.message import Message
from protocol.transport.tcp_exchange import exchange_octets_tcp
from protocol.value import ValueReference
from protocol.valuetypes import PublicKey
from tests.support.asking import Address
from tests.support.transport import WAIT_S

SALT = bytes(range(16))


def over_tcp(address: Address, sent: Callable[[bytes], None] = lambda _: None) -> Send:
    """Sends each message over a connection of its own. sent: told of each."""

    async def send(octets: bytes) -> bytes:
        sent(octets)
        deadline_s = asyncio.get_running_loop().time() + WAIT_S
        return await exchange_octets_tcp(*address, octets, deadline_s=deadline_s)

    return send


class SessionClient:
    """One session with one server, for an administrator with a secret key."""

    def __init__(self, session: ClientSession, identity: ValueReference, secret: bytes) -> None:
        self.session = session
        self.identity = identity
        self._secret = secret
        self.challenges = 0
        """How many requests were challenged."""

    @classmethod
    async def set_up(
        cls, send: Send, server_key: PublicKey, identity: ValueReference = ANONYMOUS, secret: bytes = b""
    ) -> "SessionClient":
        """Set up a session for an identity, which it proves when it is asked to."""
        session = await ClientSession.set_up(send, server_key, identity=identity)
        return cls(session, identity, secret)

    async def ask(self, operation: OpCode, body: bytes, *, flags: int = DEFAULT_FLAGS) -> Message:
        """The answer to a request, after a challenge where there is one."""
        request, response = await self.session.ask(operation, body, flags=flags)
        if response.header.response_code != ResponseCode.AUTHENTICATION_NEEDED:
            return response
        self.challenges += 1
        challenge = read_challenge(response, request)
        proof = ChallengeAnswerRequest(
            kind="HS_SECKEY",
            key=self.identity,
            answer=answer_with_secret(challenge, self._secret, salt=SALT),
        )
        _, response = await self.session.ask(OpCode.CHALLENGE_ANSWER, proof.encode(), flags=flags)
        return response
