"""Requests that a server answers only to whom it knows: challenge, answer, and what comes on the last connection."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from protocol.admin_bodies import ChallengeAnswerRequest
from protocol.challenge import (
    SALT_OCTETS,
    answer_with_key,
    answer_with_secret,
    read_challenge,
    secret_code,
)
from protocol.codes import OpCode, ResponseCode
from protocol.credential import verify
from protocol.message import UNKNOWN_SERIAL, Message, response_code_of
from protocol.signature import PrivateKey
from protocol.transport.stream_link import StreamLink, open_link
from protocol.value import ValueReference
from registry.dump_import.server import (
    CLOCKS,
    CONNECT_S,
    IDLE_S,
    Clocks,
    HandleServer,
    SourceRefused,
    check_response,
)

CHALLENGES_MAX: Final = (
    2  # a server that cannot check the first form of an answer asks for the old one (§5.3)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Who asks, and what proves it: a secret key or a private key."""

    identity: ValueReference
    key: PrivateKey | bytes = field(repr=False)
    """Octets are a secret key."""
    entropy: Callable[[int], bytes] = os.urandom

    def answer(self, request: Message, challenge: Message) -> ChallengeAnswerRequest:
        """The answer to a challenge about this request. Raises BadSignature when it is about another one."""
        asked = read_challenge(challenge, request)
        if isinstance(self.key, bytes):
            code, salt = secret_code(challenge.envelope), self.entropy(SALT_OCTETS)
            answer = answer_with_secret(asked, self.key, code, salt=salt)
            return ChallengeAnswerRequest(kind="HS_SECKEY", key=self.identity, answer=answer)
        answer = answer_with_key(asked, self.key, challenge.envelope.version)
        return ChallengeAnswerRequest(kind="HS_PUBKEY", key=self.identity, answer=answer)


@asynccontextmanager
async def asked(
    server: HandleServer,
    op_code: OpCode,
    body: bytes,
    proof: Proof | None,
    *,
    clocks: Clocks = CLOCKS,
    idle_s: float = IDLE_S,
) -> AsyncIterator[tuple[Message, StreamLink]]:
    """Ask, prove who asks, and give the signed answer and its connection, on which more may follow.

    Deployed servers end a connection with each answer, so that the answer to a challenge goes over a new one.
    Raises Unreachable, WireError, SourceRefused, and BadSignature for what the server's key has not signed.
    """
    request = sent = server.request(op_code, body, clocks=clocks)
    for _ in range(1 + CHALLENGES_MAX):
        async with open_link(server.host, server.port, connect_s=CONNECT_S, idle_s=idle_s) as link:
            response = await link.exchange(sent)
            check_response(sent, response, node=link.node)
            verify(response, server.key)
            if response_code_of(response) == ResponseCode.SUCCESS:
                yield response, link
                return
        if proof is None:
            raise SourceRefused(f"{server} wants to know who asks")
        sent = _answering(server, request, response, proof, clocks)
    raise SourceRefused(f"{server} goes on to ask who we are")


def _answering(
    server: HandleServer, request: Message, challenge: Message, proof: Proof, clocks: Clocks
) -> Message:
    """The message that answers a challenge; the envelope names the challenge, the header no site."""
    made = server.request(OpCode.CHALLENGE_ANSWER, proof.answer(request, challenge).encode(), clocks=clocks)
    return replace(
        made,
        envelope=replace(made.envelope, session_id=challenge.envelope.session_id),
        header=replace(made.header, site_serial=UNKNOWN_SERIAL),
    )
