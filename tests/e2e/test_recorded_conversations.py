"""What a deployed client did with a deployed server, done with ours: the same requests in the same order.

The answers to our own challenges are by the recorded keys, and the replies are alike but for the listed differences.

Sessions and replication streams have tests of their own.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from protocol.admin_bodies import ChallengeAnswerRequest, CreateResponse, HandleListResponse
from protocol.bodies import ResolutionResponse
from protocol.challenge import SecretCode, answer_with_key, answer_with_secret, read_challenge
from protocol.codes import OpCode
from protocol.handle import Handle
from protocol.message import Message, decode_message, split_digest
from protocol.value import SECRET_PERMISSIONS, HandleValue, ValueList
from registry.outcomes import OPERATOR, Creation
from tests.e2e.test_recorded_answers import PREFIX, recorded_values
from tests.support.asking import send_udp
from tests.support.handle_client import QUICK_ITERATIONS, read_messages
from tests.support.vectors import Recorded, keys, message_of, recorded_messages
from tests.support.world import TestNode, World

DIFFERENCES: Final = {
    "tcp_backup_server": ("rc", "ours is saved by the means of its database"),
    "tcp_dump_handles_challenge": ("rc", "ours sends no dumps of deployed servers"),
    "tcp_retrieve_txn_challenge": ("rc", "ours sends no transactions of deployed servers"),
    "udp_create_refused": ("ids", "deployed servers answer with request id -1, which no client can match"),
    "raw_udp_create_no_auth": ("ids", "the same"),
    "raw_udp_list_no_auth": ("ids", "the same"),
    "raw_tcp_opcode99": ("rc", "5 with the ids of the request; there it is 2 with request id -1"),
    "raw_udp_opcode99": ("rc", "the same"),
    "raw_udp_opcode0": ("rc", "the same; there it is 4"),
}
"""What differs by decision: which aspect first, and why."""
LISTED: Final = "20.500.77"
FINAL: Final = "reply to the answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A request, the answer to it, and where that was a challenge, what followed."""

    recording: str
    transport: str
    request: Message
    reply: Message
    answer: Message | None = None
    finals: tuple[Message, ...] = ()


def conversations() -> list[Conversation]:
    """Return the conversations outside sessions, in the order in which they were held."""
    by_recording: dict[str, list[Recorded]] = {}
    for entry in recorded_messages():
        if not entry.recording.startswith(("dsa_", "repl_")) and "session" not in entry.recording:
            by_recording.setdefault(entry.recording, []).append(entry)
    found = []
    for recording, entries in sorted(by_recording.items(), key=lambda item: item[1][0].connection):
        try:
            messages = [message_of(entry) for entry in entries]
        except Exception:  # noqa: S112 - rubbish, which test_recorded_answers.py has
            continue
        operation = messages[0].header.op_code
        has_answer = len(messages) > 2 and messages[2].header.op_code == OpCode.CHALLENGE_ANSWER
        is_plain = operation in (OpCode.RESOLUTION, OpCode.GET_SITE_INFO) and not has_answer
        if is_plain or len(messages) < 2 or operation == OpCode.CHALLENGE_ANSWER:
            continue
        found.append(
            Conversation(
                recording=recording,
                transport=entries[0].transport,
                request=messages[0],
                reply=messages[1],
                answer=messages[2] if has_answer else None,
                finals=tuple(messages[3:]) if has_answer else (),
            )
        )
    return found


@pytest.fixture
async def node(world: World) -> TestNode:
    """Give a node as the recorded server was when its administration began."""
    administrators = [f"{index}:{PREFIX}/ADMIN" for index in (300, 301)]
    made = await world.lone(PREFIX, server_admins=administrators, existence_before_challenge=True)
    records = recorded_values()
    records.pop("0.NA/20.500.12345")
    key, stranger = keys()["admin_rsa"], keys()["stranger_secret_key"]
    records[f"{PREFIX}/ADMIN"].append(
        HandleValue(index=301, type="HS_PUBKEY", data=bytes.fromhex(key["hs_pubkey_value_hex"]))
    )
    records[stranger["handle"]] = [
        HandleValue(
            index=300, type="HS_SECKEY", data=stranger["value"].encode(), permissions=SECRET_PERMISSIONS
        )
    ]
    await made.store(records)
    return made


async def test_every_recorded_conversation_ends_alike_but_for_the_listed_differences(node: TestNode) -> None:
    differences = {}
    for conversation in conversations():
        if conversation.recording == "tcp_list_handles":
            await _fill_listed_prefix(node)
        aspects = await hold(node, conversation)
        if aspects:
            differences[conversation.recording] = aspects[0]
    assert differences == {name: aspect for name, (aspect, _) in DIFFERENCES.items()}


def test_the_conversations_are_those_that_are_meant() -> None:
    held = conversations()
    answered = [conversation for conversation in held if conversation.finals]
    assert len(held) > 35
    assert len(answered) > 22
    assert set(DIFFERENCES) <= {conversation.recording for conversation in held}


async def hold(node: TestNode, conversation: Conversation) -> list[str]:
    """The aspects in which our side of a conversation differs from the recorded one."""
    replies = await _exchange(node, conversation.transport, conversation.request)
    aspects = differing(conversation.request, conversation.reply, replies[0])
    if conversation.answer is None or aspects:
        return aspects
    recorded_answer = ChallengeAnswerRequest.decode(conversation.answer.body)
    challenge = replies[0]
    is_wrong = conversation.recording == "tcp_auth_failed"
    proof = prove(recorded_answer, conversation.request, challenge, is_wrong=is_wrong)
    envelope = replace(conversation.answer.envelope, session_id=challenge.envelope.session_id)
    answer = replace(conversation.answer, envelope=envelope, body=proof.encode(), signed_octets=None)
    finals = await _exchange(node, conversation.transport, answer)
    if len(finals) != len(conversation.finals):
        return ["messages"]
    pairs = zip(conversation.finals, finals, strict=True)
    return [f"{aspect} of the {FINAL}" for pair in pairs for aspect in differing(answer, *pair)]


def prove(
    recorded: ChallengeAnswerRequest, request: Message, reply: Message, *, is_wrong: bool
) -> ChallengeAnswerRequest:
    """An answer to our challenge, of the recorded form and by the recorded key."""
    challenge, version = read_challenge(reply, request), reply.envelope.version
    if recorded.kind == "HS_PUBKEY":
        return replace(recorded, answer=answer_with_key(challenge, _admin_rsa(), version))
    is_stranger = recorded.key.handle.endswith(b"STRANGER")
    secret = (
        keys()["stranger_secret_key" if is_stranger else "secret_key"]["value"].encode() + b"x" * is_wrong
    )
    code = SecretCode(recorded.answer[0])
    answer = answer_with_secret(challenge, secret, code, salt=bytes(16), iterations=QUICK_ITERATIONS)
    return replace(recorded, answer=answer)


def differing(asked: Message, expected: Message, answer: Message) -> list[str]:
    """Return the aspects in which an answer differs from the recorded one; ids of challenges and texts are its own."""
    if answer.header.response_code != expected.header.response_code:
        return ["rc"]
    found = [] if answer.envelope.request_id == asked.envelope.request_id else ["ids"]
    found += [] if answer.envelope.request_id == expected.envelope.request_id else ["ids"]
    found += [] if bool(answer.envelope.session_id) == bool(expected.envelope.session_id) else ["session"]
    found += [] if answer.envelope.version == expected.envelope.version else ["version"]
    found += [] if answer.header.op_flags == expected.header.op_flags else ["flags"]
    found += [] if answer.header.op_code == expected.header.op_code else ["operation"]
    found += [] if bool(answer.credential) == bool(expected.credential) else ["credential"]
    return found if _meaning(answer) == _meaning(expected) else [*found, "body"]


def _meaning(message: Message) -> object:
    """What a body says, without times, texts, and the spelling of names in lists, which is upper case there."""
    _, body = split_digest(message)
    if message.header.response_code != 1:
        return None
    match message.header.op_code:
        case OpCode.RESOLUTION:
            response = ResolutionResponse.decode(body)
            if response.handle.key.startswith(b"0.SITE/"):
                return [value.type for value in response.values]
            return response.handle.octets, [replace(value, timestamp=0) for value in response.values]
        case OpCode.CREATE_HANDLE:
            handle = CreateResponse.decode(body).handle
            assert handle is not None
            is_minted = handle.octets.startswith(b"20.500.12345/mint-")
            return len(handle.octets) if is_minted else handle.octets
        case OpCode.LIST_HANDLES | OpCode.LIST_HOMED_PREFIXES:
            return [name.upper() for name in HandleListResponse.decode(body).names]
        case _:
            return body


async def _exchange(node: TestNode, transport: str, request: Message) -> Sequence[Message]:
    if transport == "udp":
        return [decode_message(await send_udp(node.address, request.encode()))]
    reader, writer = await asyncio.open_connection(*node.address)
    try:
        writer.write(request.encode())
        async with asyncio.timeout(15):
            return await read_messages(reader)
    finally:
        writer.close()


async def _fill_listed_prefix(node: TestNode) -> None:
    value = ValueList.of([HandleValue(index=1, type="URL", data=b"https://example.org/")])
    batch = [Creation(Handle.parse(f"{LISTED}/h{number:02}"), value) for number in range(55)]
    await node.node.operations.create(batch, by=OPERATOR)


def _admin_rsa() -> rsa.RSAPrivateKey:
    numbers = {name: int(keys()["admin_rsa"][name], 16) for name in ("n", "e", "d", "p", "q")}
    p, q, d = numbers["p"], numbers["q"], numbers["d"]
    public = rsa.RSAPublicNumbers(numbers["e"], numbers["n"])
    private = rsa.RSAPrivateNumbers(
        p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q), public
    )
    return private.private_key()
