"""A session with one server, as its client: set-up, requests with a MAC, answers checked and decrypted.

The set-up is asked for with CERT and RRDG, and its answer counts only when the server's own key has signed it: else
whoever stands in between could agree on a key with both sides. Source: PROTOCOL.md §4.13, §5.7.
"""

import os
import time
from collections.abc import Awaitable, Callable
from typing import Final, Self

from protocol.admin_bodies import SessionMode, SessionSetupRequest, SessionSetupResponse
from protocol.bodies import ErrorBody
from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag, ResponseCode, rc_name
from protocol.credential import MAC, Credential, mac, verify, verify_mac
from protocol.diffie_hellman import ENTROPY_OCTETS, Half, usual_group
from protocol.encryption import must_be_encrypted
from protocol.errors import BadMac, BadSignature, SessionFailed, SessionLost, WireError
from protocol.message import (
    ANSWER_LIFE_S,
    OUR_VERSION,
    Message,
    Version,
    decode_envelope,
    decode_message,
    matches_digest,
    response_code_of,
    split_digest,
)
from protocol.session import BLOCK_OCTETS, CounterWindow, decrypt, encrypt, finish_session
from protocol.transport.exchanger import new_request_id
from protocol.value import ValueReference
from protocol.valuetypes import PublicKey

ANONYMOUS: Final = ValueReference(b"", 0xFFFF_FFFF)
TIMEOUT_S: Final = 3_600  # what we ask for; the server may end a session earlier

_LOST: Final = range(ResponseCode.SESSION_TIMEOUT, ResponseCode.SESSION_MESSAGE_REJECTED + 1)

Send = Callable[[bytes], Awaitable[bytes]]
"""Sends one whole message, envelope included, and gives the whole message that answers it. Raises Unreachable."""


class ClientSession:
    """One session; requests may overlap."""

    def __init__(
        self, send: Send, server_key: PublicKey, session_id: int, key: bytes, version: Version
    ) -> None:
        """For set_up(). version: of the answer to the set-up, which is that of every message from then on."""
        self.id = session_id
        self.version = version
        self._send = send
        self._server_key = server_key
        self._key = key
        self._sent = 0
        self._window = CounterWindow()

    @classmethod
    async def set_up(
        cls,
        send: Send,
        server_key: PublicKey,
        *,
        identity: ValueReference = ANONYMOUS,
        timeout_s: int = TIMEOUT_S,
    ) -> Self:
        """Agree on a key with a server. server_key: as its site record names it, from a source that is trusted.

        Raises SessionFailed when the server refuses, BadSignature when the answer is not its own, Unreachable,
        WireError.
        """
        half = Half.of(usual_group(), os.urandom(ENTROPY_OCTETS))
        body = SessionSetupRequest(
            mode=SessionMode.DIFFIE_HELLMAN, timeout_s=timeout_s, identity=identity, key=half.public.encode()
        )
        flags = DEFAULT_FLAGS | OpFlag.CERT | OpFlag.RRDG
        request = _request(OpCode.SESSION_SETUP, body.encode(), flags=flags, version=OUR_VERSION)
        response = decode_message(await send(request.encode()))
        verify(response, server_key)
        digest, rest = split_digest(response)
        if response.envelope.request_id != request.envelope.request_id or (
            digest is None or not matches_digest(request, digest)
        ):
            raise BadSignature("a signed answer, but to another request")
        if response_code_of(response) != ResponseCode.SUCCESS:
            raise SessionFailed(f"the server sets up no session: {_told(response)}")
        key = finish_session(half, SessionSetupResponse.decode(rest))
        return cls(send, server_key, response.envelope.session_id, key, response.envelope.version)

    async def ask(
        self, operation: OpCode, body: bytes, *, flags: int = DEFAULT_FLAGS
    ) -> tuple[Message, Message]:
        """One request in the session, and its answer, which bears a MAC. ENCR in flags encrypts both.

        An answer to a challenge (CHALLENGE_ANSWER) is sent without a MAC, as servers expect it. Not for operations
        whose answer has several messages. Raises BadSignature for an answer that is not the server's, SessionLost when
        it does not know the session any more, SessionFailed when an answer cannot be decrypted, Unreachable, WireError.
        """
        request = _request(
            operation, body, flags=flags | OpFlag.CERT, version=self.version, session_id=self.id
        )
        response = self._open(await self._send(self._seal(request)))
        self._check(request, response)
        return request, response

    async def end(self) -> None:
        """Have the server forget the session. Raises as ask()."""
        await self.ask(OpCode.SESSION_TERMINATE, b"\0\0\0\1/")

    def _seal(self, request: Message) -> bytes:
        encrypted = request.has(OpFlag.ENCR) or must_be_encrypted(request)
        if request.header.op_code != OpCode.CHALLENGE_ANSWER:
            self._sent += 1
            request = mac(request, self._key, self._sent)
        if encrypted:
            return encrypt(request, self._key, os.urandom(BLOCK_OCTETS))
        return request.encode()

    def _open(self, octets: bytes) -> Message:
        return decrypt(octets, self._key) if decode_envelope(octets).encrypted else decode_message(octets)

    def _check(self, request: Message, response: Message) -> None:
        """Raises unless this is the server's answer to this request, and has not come before."""
        if response.envelope.request_id != request.envelope.request_id:
            raise BadMac("an answer to another request")
        if response_code_of(response) in _LOST:
            self._refused(response)
        counter = verify_mac(response, self._key)
        if not self._window.accept(counter):
            raise BadMac("an answer that has come before")

    def _refused(self, response: Message) -> None:
        """Raises SessionLost for what bears no MAC since the server has no key any more; at best it is signed."""
        credential = Credential.decode(response.credential) if response.credential else None
        if credential is not None and credential.kind == MAC:
            return
        if credential is not None:
            verify(response, self._server_key)
        raise SessionLost(f"the server refuses the session: {_told(response)}")


def _request(operation: OpCode, body: bytes, *, flags: int, version: Version, session_id: int = 0) -> Message:
    return Message.request(
        operation,
        body,
        request_id=new_request_id(),
        expiration=int(time.time()) + ANSWER_LIFE_S,
        flags=flags,
        version=version,
        session_id=session_id,
    )


def _told(response: Message) -> str:
    """What a server said in words, after the name of the response code."""
    name = rc_name(response_code_of(response))
    try:
        message = ErrorBody.decode(split_digest(response)[1]).message
    except WireError:
        return name
    return f"{name}: {message}" if message else name
