"""Every signature, MAC, answer to a challenge, session key and encrypted message that was recorded, made again."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Final

import pytest

from protocol.admin_bodies import (
    ChallengeAnswerRequest,
    SessionSetupRequest,
    SessionSetupResponse,
    VerifyRequest,
    VerifyResponse,
)
from protocol.bodies import SiteInfoResponse
from protocol.challenge import (
    Challenge,
    SecretCode,
    answer_with_key,
    answer_with_secret,
    check_key_answer,
    check_secret_answer,
    read_challenge,
)
from protocol.codes import OpCode, OpFlag, ResponseCode
from protocol.credential import MAC, SIGNED, credential_of, mac, verify, verify_mac
from protocol.diffie_hellman import Half, decode_public
from protocol.errors import BadSignature
from protocol.message import Message, matches_digest, split_digest
from protocol.session import CounterWindow, encrypt, finish_session, session_key
from protocol.valuetypes import PublicKey
from protocol.wire import Reader
from tests.support.keys import admin_key
from tests.support.vectors import (
    Recorded,
    clear_message_of,
    is_encrypted,
    keys,
    recorded_messages,
    recordings,
    session_key_of,
)

ENCRYPTED_BY_NOBODY: Final = "raw_udp_encrypted_no_session#0"
BROKEN: Final = frozenset({"raw_udp_env_only", "raw_udp_len23", "raw_udp_short_envelope"})
"""Recordings of octets that are no message."""
EVERY_KIND: Final = {
    ("HS_SECKEY", b"\x22"): 28,
    ("HS_SECKEY", b"\x02"): 1,
    ("HS_PUBKEY", b"SHA-"): 6,
    ("HS_PUBKEY", b"SHA1"): 1,
}
"""How many answers to challenges were recorded: with PBKDF2, with the old MAC, and by key with both hashes."""
SESSIONS: Final = sorted(name for name in recordings() if session_key_of(name))
SERVER_KEYS: Final = {
    kind: PublicKey.decode(bytes.fromhex(keys()[f"server_{kind}_public_key_hex"])) for kind in ("rsa", "dsa")
}


def _server_key(recording: str) -> PublicKey:
    return SERVER_KEYS["dsa" if recording.startswith("dsa_") else "rsa"]


@cache
def _messages() -> list[tuple[Recorded, Message]]:
    """Return every recorded message that can be read, decrypted where it was encrypted."""
    messages = []
    for entry in recorded_messages():
        if entry.recording not in BROKEN and entry.name != ENCRYPTED_BY_NOBODY:
            message = clear_message_of(entry)
            assert message is not None, entry.name
            messages.append((entry, message))
    return messages


def _with(kind: str) -> list[tuple[Recorded, Message]]:
    return [
        (entry, message)
        for entry, message in _messages()
        if message.credential and credential_of(message).kind == kind
    ]


def test_every_credential_is_a_signature_or_a_mac_and_reencodes() -> None:
    entries = [(entry, message) for entry, message in _messages() if message.credential]
    assert len(_with(SIGNED)) + len(_with(MAC)) == len(entries) > 80
    for entry, message in entries:
        assert credential_of(message).encode() == message.credential, entry.name


def test_every_signature_of_the_servers_is_theirs_and_of_nothing_else() -> None:
    signed = _with(SIGNED)
    assert len(signed) > 35
    for entry, message in signed:
        verify(message, _server_key(entry.recording))
        header = replace(message.header, expiration=message.header.expiration ^ 1)
        with pytest.raises(BadSignature):
            verify(replace(message, header=header, signed_octets=None), _server_key(entry.recording))


def test_the_keys_are_those_of_the_site_records_that_were_asked_for() -> None:
    compared = set()
    for entry, message in _messages():
        if message.header.op_code == OpCode.GET_SITE_INFO and message.header.response_code:
            (server,) = SiteInfoResponse.decode(split_digest(message)[1]).site.servers
            key = PublicKey.decode(server.public_key)
            assert key == _server_key(entry.recording)
            compared.add(key.algorithm)
    assert compared == {b"RSA_PUB_KEY", b"DSA_PUB_KEY"}


def test_every_mac_is_what_we_make_with_the_key_of_its_session_and_no_counter_comes_twice() -> None:
    windows: dict[tuple[str, bool], CounterWindow] = {}
    codes = _with(MAC)
    assert len(codes) == 50
    for entry, message in codes:
        key = session_key_of(entry.recording)
        assert key is not None
        counter = verify_mac(message, key)
        assert mac(message, key, counter).credential == message.credential, entry.name
        assert windows.setdefault((entry.recording, entry.to_server), CounterWindow()).accept(counter)


@pytest.mark.parametrize("recording", SESSIONS)
def test_the_key_of_a_session_follows_from_its_setup(recording: str) -> None:
    exchange = [
        (entry, message)
        for entry, message in _messages()
        if entry.recording == recording and message.header.op_code == OpCode.SESSION_SETUP
    ]
    (_, asked), (_, answered) = exchange
    request = SessionSetupRequest.decode(asked.body)
    response = SessionSetupResponse.decode(split_digest(answered)[1])
    group, y = decode_public(request.key)
    half = Half(group, int(recordings()[recording]["session"]["dh_client_private_x"], 16))
    assert half.public.numbers[0] == y
    assert half.public.encode() == request.key
    assert finish_session(half, response) == session_key_of(recording)
    assert answered.envelope.session_id == int(recordings()[recording]["session"]["session_id"])
    server_y = decode_public(response.data[4:])[1]
    assert session_key(half.shared(server_y)) == session_key_of(recording)


def test_every_encrypted_message_is_what_we_make_with_its_key_and_iv() -> None:
    encrypted = [(entry, message) for entry, message in _messages() if is_encrypted(entry)]
    assert len(encrypted) == 22
    for entry, message in encrypted:
        key = session_key_of(entry.recording)
        assert key is not None
        clear = bytes.fromhex(entry.decoded["encryption"]["plaintext_hex"])
        assert message.encode()[20:] == clear
        assert encrypt(message, key, entry.octets[20:36]) == entry.octets, entry.name


def _challenged() -> Iterator[tuple[Challenge, ChallengeAnswerRequest, Message, Message]]:
    """Yield what was to be signed, the answer, its message and what the server said to it."""
    requests: dict[tuple[str, int], Message] = {}
    challenges: dict[tuple[str, int], Challenge] = {}
    answers: dict[tuple[str, int], tuple[Challenge, Message]] = {}
    for entry, message in _messages():
        request = (entry.recording, message.envelope.request_id)
        session = (entry.recording, message.envelope.session_id)
        if entry.to_server and message.header.op_code == OpCode.CHALLENGE_ANSWER and session in challenges:
            answers[request] = (challenges[session], message)
        elif entry.to_server:
            requests[request] = message
        elif message.header.response_code == ResponseCode.AUTHENTICATION_NEEDED:
            challenges[session] = read_challenge(message, requests[request])
        elif request in answers:
            challenge, answer = answers[request]
            yield challenge, ChallengeAnswerRequest.decode(answer.body), answer, message


def _secret_of(answer: ChallengeAnswerRequest) -> bytes:
    known: dict[tuple[bytes, int], bytes] = {
        (key["handle"].encode(), key["index"]): key["value"].encode()
        for key in (keys()["secret_key"], keys()["stranger_secret_key"])
    }
    return known[answer.key.handle, answer.key.index]


def _again(challenge: Challenge, answer: ChallengeAnswerRequest, message: Message) -> bytes:
    """Return our answer to a challenge, with the salt of the recorded one."""
    if answer.kind == "HS_PUBKEY":
        return answer_with_key(challenge, admin_key(), message.envelope.version)
    code = SecretCode(answer.answer[0])
    salt = Reader(answer.answer[1:]).counted() if code is SecretCode.PBKDF2_HMAC_SHA1 else b""
    return answer_with_secret(challenge, _secret_of(answer), code, salt=salt)


def test_every_answer_to_a_challenge_is_what_we_answer_and_passes_unless_the_server_refused_it() -> None:
    kinds = Counter[tuple[str, bytes]]()
    admin = PublicKey.decode(bytes.fromhex(keys()["admin_rsa"]["hs_pubkey_value_hex"]))
    for challenge, answer, message, response in _challenged():
        right = response.header.response_code != ResponseCode.AUTHENTICATION_FAILED
        if answer.kind == "HS_PUBKEY":
            passes = check_key_answer(challenge, answer.answer, admin)
        else:
            passes = check_secret_answer(challenge, answer.answer, _secret_of(answer))
        assert passes is right
        assert (_again(challenge, answer, message) == answer.answer) is right
        kinds[answer.kind, answer.answer[4:8] if answer.kind == "HS_PUBKEY" else answer.answer[:1]] += 1
    assert kinds == EVERY_KIND


def test_every_digest_is_that_of_the_request_or_for_answers_to_challenges_of_the_first_one() -> None:
    first: dict[tuple[str, int], Message] = {}
    asked: dict[tuple[str, int], Message] = {}
    compared = 0
    for entry, message in _messages():
        request = (entry.recording, message.envelope.request_id)
        session = (entry.recording, message.envelope.session_id)
        if entry.to_server:
            answers = message.header.op_code == OpCode.CHALLENGE_ANSWER
            asked[request] = first.get(session, message) if answers else message
            continue
        if message.header.response_code == ResponseCode.AUTHENTICATION_NEEDED:
            first[session] = asked[request]
        digest, _ = split_digest(message)
        if digest is not None:
            assert message.has(OpFlag.RRDG)
            assert matches_digest(asked[request], digest), entry.name
            compared += 1
    assert compared == 57


def test_recorded_requests_for_verification_got_the_verdict_that_we_give() -> None:
    asked: dict[int, VerifyRequest] = {}
    verdicts = []
    for entry, message in _messages():
        if message.header.op_code != OpCode.VERIFY_CHALLENGE:
            continue
        if entry.to_server:
            asked[message.envelope.request_id] = VerifyRequest.decode(message.body)
            continue
        request = asked[message.envelope.request_id]
        challenge = Challenge(request.nonce, request.digest)
        verdict = VerifyResponse.decode(split_digest(message)[1]).valid
        assert (
            check_secret_answer(challenge, request.answer, keys()["secret_key"]["value"].encode()) is verdict
        )
        verdicts.append(verdict)
    assert sorted(verdicts) == [False, True]
