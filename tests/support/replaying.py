"""Recordings played to a node of ours: the recorded octets, and anew what hangs on a challenge or a session.

An answer to a challenge is made with the recorded key, in the recorded form; a session is set up with the recorded half
of its client, and its messages get their MACs, and are encrypted, with the key that comes of it.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from protocol.admin_bodies import ChallengeAnswerRequest, SessionSetupRequest, SessionSetupResponse
from protocol.challenge import (
    SecretCode,
    answer_with_key,
    answer_with_secret,
    check_secret_answer,
    read_challenge,
)
from protocol.codes import OpCode, OpFlag, ResponseCode
from protocol.credential import credential_of, mac
from protocol.diffie_hellman import Half, decode_public
from protocol.errors import HandleError
from protocol.message import (
    ENVELOPE_OCTETS,
    Envelope,
    Message,
    decode_envelope,
    decode_message,
    split_digest,
)
from protocol.packets import Reassembler
from protocol.session import decrypt, encrypt, finish_session
from protocol.value import ValueReference
from protocol.wire import Reader
from tests.support.asking import resolution, send_datagrams
from tests.support.keys import admin_key
from tests.support.likeness import Heard
from tests.support.vectors import (
    Recorded,
    clear_message_of,
    is_encrypted,
    keys,
    recorded,
    recordings,
    session_key_of,
)
from tests.support.world import TestNode

SECRETS: Final[dict[bytes, bytes]] = {
    key["handle"].encode(): key["value"].encode()
    for key in (keys()["secret_key"], keys()["stranger_secret_key"])
}
PATIENCE_S: Final = 15.0  # two busy cores; a test that waits so long fails anyway
_WRONG: Final = b"not the secret"
_IV: Final = slice(ENVELOPE_OCTETS, ENVELOPE_OCTETS + 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One recorded request, what the recorded server said to it, and what ours did."""

    recorded: Heard
    ours: Heard
    extra_challenge: bool = False
    """Ours asked who asks, and the recorded server did not; its answers here are those to the proof."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A request of a recording."""

    entry: Recorded
    message: Message | None
    packets: tuple[bytes, ...] = ()
    """The datagrams that it came in, when they were several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Challenged:
    """A request and its challenge, as recorded and as with ours."""

    recorded_request: Message
    recorded_challenge: Message
    request: Message
    challenge: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """A request as it is sent to ours."""

    octets: bytes
    message: Message | None
    answers: _Challenged | None = None
    """What was challenged, when this is the answer."""


def in_order() -> list[str]:
    """The names of all recordings, in the order in which they were made."""
    first: dict[str, int] = {}
    for entry in recorded():
        first.setdefault(entry.recording, entry.connection)
    return sorted(first, key=first.__getitem__)


class Replay:
    """One recording and one node."""

    def __init__(self, node: TestNode, recording: str, *, may_be_silent: bool = False) -> None:
        """may_be_silent: the node need not answer datagrams, as what is sent behind them shows."""
        self._node = node
        self._recording = recording
        self._may_be_silent = may_be_silent
        self._entries = [entry for entry in recorded() if entry.recording == recording]
        session = recordings()[recording].get("session", {})
        self._recorded_session = int(session["session_id"]) if session.get("session_key") else 0
        self._x = int(session.get("dh_client_private_x") or "0", 16)
        self._challenges = {
            entry.decoded["envelope"]["session_id"]
            for entry in self._entries
            if _is_recorded_challenge(entry)
        }
        """Session ids of the recorded challenges."""
        self._challenged: dict[int, _Challenged] = {}
        self._half: Half | None = None
        self._session_id = 0
        self._session_key: bytes | None = None

    async def run(self) -> list[Replayed]:
        """Play it; ends early where ours refuses what the recorded server went on with."""
        replayed: list[Replayed] = []
        for _, connection in groupby(self._entries, key=lambda entry: entry.connection):
            asked, answers = _read(tuple(connection))
            if not all(self._can_ask(each) for each in asked):
                break
            replayed += await self._converse(asked, answers)
        return replayed

    def _can_ask(self, asked: _Asked) -> bool:
        """Whether what the recording built upon has happened with ours too."""
        if asked.message is None:
            return True
        session_id = asked.message.envelope.session_id
        if asked.message.header.op_code == OpCode.CHALLENGE_ANSWER and session_id in self._challenges:
            return session_id in self._challenged
        return not session_id or session_id != self._recorded_session or self._session_key is not None

    async def _converse(self, asked: Sequence[_Asked], answers: Sequence[Message]) -> list[Replayed]:
        """What comes of the requests of one connection."""
        ours = [self._made(each) for each in asked]
        transport = asked[0].entry.transport
        if transport == "udp":
            heard = [
                await self._over_udp(each.packets or (made.octets,), len(expected))
                for each, made, expected in zip(asked, ours, _shared(asked, answers), strict=True)
            ]
        else:
            octets = b"".join(made.octets for made in ours)
            said = await (self._over_tcp(octets, len(ours)) if transport == "tcp" else self._tunnel(octets))
            heard = _shared(ours, said)
        return [
            await self._compared(each, made, tuple(got), tuple(expected))
            for each, made, got, expected in zip(asked, ours, heard, _shared(asked, answers), strict=True)
        ]

    async def _compared(
        self, asked: _Asked, made: _Made, got: tuple[Message, ...], expected: tuple[Message, ...]
    ) -> Replayed:
        known = made.answers
        request_id = int.from_bytes(asked.entry.octets[8:12], "big")
        ours = Heard(
            request=made.message,
            request_id=request_id,
            answers=got,
            challenged=None if known is None else known.request,
        )
        theirs = Heard(
            request=asked.message,
            request_id=request_id,
            answers=expected,
            challenged=None if known is None else known.recorded_request,
            session_key=session_key_of(self._recording),
        )
        extra_challenge = _is_challenge(got) and not _is_challenge(expected)
        if extra_challenge:
            ours = await self._prove(ours)
        self._note(theirs, ours)
        ours = replace(ours, session_key=self._session_key)
        return Replayed(recorded=theirs, ours=ours, extra_challenge=extra_challenge)

    async def _prove(self, heard: Heard) -> Heard:
        """Answer a challenge that was not recorded, as the recorded administrator."""
        assert heard.request is not None
        secret = keys()["secret_key"]
        proof = answer_with_secret(
            read_challenge(heard.answers[0], heard.request), secret["value"].encode(), salt=bytes(16)
        )
        body = ChallengeAnswerRequest(
            kind="HS_SECKEY",
            key=ValueReference(secret["handle"].encode(), secret["index"]),
            answer=proof,
        )
        answer = Message.request(
            OpCode.CHALLENGE_ANSWER,
            body.encode(),
            request_id=heard.request_id + 1,
            expiration=0,
            session_id=heard.answers[0].envelope.session_id,
        )
        said = await self._over_tcp(answer.encode(), 1)
        return Heard(
            request=answer,
            request_id=heard.request_id + 1,
            answers=tuple(said),
            challenged=heard.request,
        )

    def _note(self, theirs: Heard, ours: Heard) -> None:
        """Remember what later requests build upon."""
        if theirs.request is None or ours.request is None:
            return
        if _is_challenge(theirs.answers) and _is_challenge(ours.answers):
            self._challenged[theirs.answers[0].envelope.session_id] = _Challenged(
                recorded_request=theirs.request,
                recorded_challenge=theirs.answers[0],
                request=ours.request,
                challenge=ours.answers[0],
            )
        if self._half is not None and self._session_key is None:
            (set_up,) = ours.answers
            self._session_key = finish_session(
                self._half, SessionSetupResponse.decode(split_digest(set_up)[1])
            )
            self._session_id = set_up.envelope.session_id

    # What is sent

    def _made(self, asked: _Asked) -> _Made:
        """The recorded octets, or what stands for them in a conversation with ours."""
        message, entry = asked.message, asked.entry
        if message is None:
            return _Made(octets=entry.octets, message=None)
        if message.header.op_code == OpCode.SESSION_SETUP and self._recorded_session:
            self._half = Half(decode_public(SessionSetupRequest.decode(message.body).key)[0], self._x)
        session_id = message.envelope.session_id
        known = self._challenged.get(session_id)
        if message.header.op_code == OpCode.CHALLENGE_ANSWER and known is not None:
            answer = _with_session(_answered(message, known), known.challenge.envelope.session_id)
            return _Made(octets=self._encoded(answer, entry), message=answer, answers=known)
        if self._session_key is None or session_id != self._recorded_session:
            return _Made(octets=entry.octets, message=message)
        counter = credential_of(message).counter
        message = mac(_with_session(message, self._session_id), self._session_key, counter)
        return _Made(octets=self._encoded(message, entry), message=message)

    def _encoded(self, message: Message, entry: Recorded) -> bytes:
        """Encrypted as the recorded message was, with its IV."""
        if not is_encrypted(entry):
            return message.encode()
        assert self._session_key is not None
        return encrypt(message, self._session_key, entry.octets[_IV])

    def _clear(self, octets: bytes) -> Message:
        """An answer of ours."""
        envelope = decode_envelope(octets)
        if not envelope.encrypted:
            return decode_message(octets)
        assert self._session_key is not None
        message = decrypt(octets, self._session_key)
        return replace(message, envelope=replace(message.envelope, encrypted=True))

    # How it travels

    async def _over_tcp(self, octets: bytes, requests: int) -> list[Message]:
        """Send octets over one connection, which the node closes unless it says that it keeps it (KPAL)."""
        reader, writer = await asyncio.open_connection(*self._node.address)
        try:
            writer.write(octets)
            messages: list[Message] = []
            async with asyncio.timeout(PATIENCE_S):
                while head := await reader.read(ENVELOPE_OCTETS):
                    head += await reader.readexactly(ENVELOPE_OCTETS - len(head))
                    rest = await reader.readexactly(decode_envelope(head).message_octets)
                    messages.append(self._clear(head + rest))
                    if messages[-1].has(OpFlag.KPAL) and len(messages) == requests:
                        writer.write_eof()
            return messages
        finally:
            writer.close()

    async def _tunnel(self, octets: bytes) -> list[Message]:
        return [self._clear(await self._node.tunnel(octets))]

    async def _over_udp(self, packets: Sequence[bytes], expected: int) -> list[Message]:
        """Send datagrams, and return the messages that come: as many as expected, or those before a later request's."""
        behind = None
        if self._may_be_silent or not expected:  # a name that is in no cache, which would answer first
            behind = resolution(f"{self._node.prefix}/{self._recording}")
        sent = [*packets] if behind is None else [*packets, behind.encode()]
        messages: list[Message] = []
        reassembler: Reassembler[int] = Reassembler()

        def is_enough(packet: bytes) -> bool:
            whole = reassembler.add(0, packet, 0.0)
            if whole is None:
                return False
            message = decode_message(whole)
            if behind is not None and message.envelope.request_id == behind.envelope.request_id:
                return True
            messages.append(message)
            return behind is None and len(messages) == expected

        with suppress(TimeoutError):
            await send_datagrams(self._node.address, sent, is_enough, patience_s=PATIENCE_S)
        return messages


def _read(entries: Sequence[Recorded]) -> tuple[list[_Asked], list[Message]]:
    """The requests of one connection, and the answers."""
    asked: list[_Asked] = []
    answers: list[Message] = []
    fragments: list[bytes] = []
    for entry in entries:
        if entry.part == "fragment":
            fragments += [entry.octets] if entry.to_server else []
        elif entry.to_server and (entry.is_message or not asked):
            asked.append(_Asked(entry=entry, message=_decoded(entry), packets=tuple(fragments)))
            fragments = []
        elif entry.is_message:
            answer = clear_message_of(entry)
            assert answer is not None
            marked = replace(answer.envelope, encrypted=is_encrypted(entry))
            answers.append(replace(answer, envelope=marked))
    if fragments:  # of a message that never was whole
        asked.append(_Asked(entry=entries[0], message=None, packets=tuple(fragments)))
    return asked, answers


def _decoded(entry: Recorded) -> Message | None:
    try:
        return clear_message_of(entry)
    except HandleError:
        return None


def _shared(requests: Sequence[_Asked] | Sequence[_Made], answers: Sequence[Message]) -> list[list[Message]]:
    """The answers to each request of a connection: one each in their order, or all to the only one."""
    if len(requests) == 1:
        return [list(answers)]
    return [[*answers[number : number + 1]] for number in range(len(requests))]


def _is_recorded_challenge(entry: Recorded) -> bool:
    header = entry.decoded.get("header") or {}
    return bool(header.get("response_code") == ResponseCode.AUTHENTICATION_NEEDED)


def _is_challenge(answers: Sequence[Message]) -> bool:
    return len(answers) == 1 and answers[0].header.response_code == ResponseCode.AUTHENTICATION_NEEDED


def _with_session(message: Message, session_id: int) -> Message:
    envelope: Envelope = replace(message.envelope, session_id=session_id, encrypted=False)
    return replace(message, envelope=envelope, signed_octets=None)


def _answered(recorded_answer: Message, known: _Challenged) -> Message:
    """The recorded answer, to the challenge that ours made; wrong where the recorded one was."""
    body = ChallengeAnswerRequest.decode(recorded_answer.body)
    challenge = read_challenge(known.challenge, known.request)
    if body.kind == "HS_PUBKEY":
        answer = answer_with_key(challenge, admin_key(), known.challenge.envelope.version)
    else:
        secret = SECRETS[body.key.handle]
        before = read_challenge(known.recorded_challenge, known.recorded_request)
        if not check_secret_answer(before, body.answer, secret):
            secret = _WRONG
        code = SecretCode(body.answer[0])
        salt = Reader(body.answer[1:]).counted() if code is SecretCode.PBKDF2_HMAC_SHA1 else b""
        answer = answer_with_secret(challenge, secret, code, salt=salt)
    return replace(recorded_answer, body=replace(body, answer=answer).encode(), signed_octets=None)
