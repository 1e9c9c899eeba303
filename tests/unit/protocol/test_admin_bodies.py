"""Bodies of administration, challenges, sessions and replication: vectors, tolerance, strictness."""

from collections.abc import Callable
from typing import Protocol

import pytest

from protocol.admin_bodies import (
    ChallengeAnswerRequest,
    ChallengeResponse,
    CreateResponse,
    DumpPart,
    DumpRequest,
    HandleListResponse,
    HandleRequest,
    LoginRequest,
    Receiver,
    RemoveValuesRequest,
    RetrieveTransactionsRequest,
    RetrieveTransactionsResponse,
    SessionMode,
    SessionSetupRequest,
    SessionSetupResponse,
    ValuesRequest,
    VerifyRequest,
    VerifyResponse,
)
from protocol.errors import HandleError, SessionFailed, WireError
from protocol.handle import Handle
from protocol.message import decode_message, split_digest
from protocol.value import HandleValue, ValueList, ValueReference
from tests.support.vectors import spec_octets

ABC = Handle.parse("20.500.999/abc")
PREFIX = Handle.parse("0.NA/20.500.999")
NONCE = bytes(range(16))
SECRET_KEY = ValueReference(b"0.NA/20.500.999", 301)
ANSWER = b"\x22" + spec_octets("mac_pbkdf2")
VALUES = ValueList.of(HandleValue.decode(spec_octets(name)) for name in ("val_url", "val_admin"))


class Body(Protocol):
    def encode(self) -> bytes: ...


def _body(name: str) -> bytes:
    return split_digest(decode_message(spec_octets(name)))[1]


VECTORS: list[tuple[str, Body, Callable[[bytes], Body]]] = [
    ("create", ValuesRequest(handle=ABC, values=VALUES), ValuesRequest.decode),
    ("create_resp", CreateResponse(handle=ABC), CreateResponse.decode),
    ("delete", HandleRequest(handle=ABC), HandleRequest.decode),
    ("challenge", ChallengeResponse(nonce=NONCE), ChallengeResponse.decode),
    (
        "answer_sec",
        ChallengeAnswerRequest(kind="HS_SECKEY", key=SECRET_KEY, answer=ANSWER),
        ChallengeAnswerRequest.decode,
    ),
    ("remove", RemoveValuesRequest(handle=ABC, indexes=(1, 7)), RemoveValuesRequest.decode),
    (
        "add",
        ValuesRequest(handle=ABC, values=ValueList.of([HandleValue.decode(spec_octets("val_url"))])),
        ValuesRequest.decode,
    ),
    ("list", HandleRequest(handle=PREFIX), HandleRequest.decode),
    (
        "list_resp",
        HandleListResponse(names=(b"20.500.999/A", b"20.500.999/B")),
        HandleListResponse.decode,
    ),
    (
        "verify",
        VerifyRequest(key=SECRET_KEY, nonce=NONCE, digest=spec_octets("de_digest"), answer=ANSWER),
        VerifyRequest.decode,
    ),
    ("verify_resp", VerifyResponse(valid=True), VerifyResponse.decode),
    (
        "sess",
        SessionSetupRequest(mode=SessionMode.DIFFIE_HELLMAN, timeout_s=3600, key=b"\xaa\xbb\xcc"),
        SessionSetupRequest.decode,
    ),
    (
        "sess_resp",
        SessionSetupResponse(mode=SessionMode.DIFFIE_HELLMAN, data=b"\0\0\0\3\xaa\xbb\xcc"),
        SessionSetupResponse.decode,
    ),
    ("dump", DumpRequest(receiver=Receiver(hash_option=2, servers=1, server=0)), DumpRequest.decode),
]


@pytest.mark.parametrize(("name", "body", "decode"), VECTORS, ids=[vector[0] for vector in VECTORS])
def test_a_body_is_that_of_its_vector(name: str, body: Body, decode: Callable[[bytes], Body]) -> None:
    octets = _body(name) if name != "verify" else decode_message(spec_octets(name)).body
    if name == "sess_resp":
        octets = bytes.fromhex("00040000000700000003aabbcc0000")
    assert body.encode() == octets
    assert decode(octets) == body


@pytest.mark.parametrize(("name", "body", "decode"), VECTORS, ids=[vector[0] for vector in VECTORS])
def test_a_body_cut_anywhere_is_refused(name: str, body: Body, decode: Callable[[bytes], Body]) -> None:
    octets = body.encode()
    whole = {0} if name == "create_resp" else {len(octets) - 2} if name.startswith("sess") else set()
    for cut in range(len(octets)):
        if cut not in whole:
            with pytest.raises(WireError):
                decode(octets[:cut])


@pytest.mark.parametrize(("name", "body", "decode"), VECTORS, ids=[vector[0] for vector in VECTORS])
def test_what_follows_a_body_is_refused(name: str, body: Body, decode: Callable[[bytes], Body]) -> None:
    with pytest.raises(WireError):
        decode(body.encode() + b"\x01")


RECEIVER = Receiver(hash_option=2, servers=1, server=0)


def test_a_request_for_transactions_names_a_position() -> None:
    request = RetrieveTransactionsRequest(
        receiver=RECEIVER, last_transaction=42, last_query_ms=1_700_000_000_000
    )
    octets = decode_message(spec_octets("txn")).body
    assert request.encode((2, 11)) == octets
    assert RetrieveTransactionsRequest.decode(octets, (2, 11)) == request
    assert request.encode((2, 8)) == octets[1:]
    assert RetrieveTransactionsRequest.decode(octets[1:], (2, 8)) == request


def test_a_request_for_transactions_names_the_state_of_every_source_since_version_2_9() -> None:
    request = RetrieveTransactionsRequest(receiver=RECEIVER, states='{"1:site": 7}')
    octets = request.encode((2, 9))
    assert octets == b"\x01" + b"\0\0\0\x0d" + b'{"1:site": 7}' + b"\x02\0\0\0\x01\0\0\0\0"
    assert RetrieveTransactionsRequest.decode(octets, (2, 9)) == request
    with pytest.raises(WireError):
        RetrieveTransactionsRequest.decode(b"\x02" + octets[1:], (2, 9))
    for cut in range(len(octets)):
        with pytest.raises(WireError):
            RetrieveTransactionsRequest.decode(octets[:cut], (2, 9))


def test_a_stream_of_transactions_is_announced_by_one_octet() -> None:
    for keep_alive in (False, True):
        body = RetrieveTransactionsResponse(keep_alive=keep_alive)
        assert RetrieveTransactionsResponse.decode(body.encode()) == body
    with pytest.raises(WireError):
        RetrieveTransactionsResponse.decode(b"")


def test_a_dump_can_be_resumed_behind_a_name() -> None:
    request = DumpRequest(receiver=RECEIVER, resume_after=(b"20.500.999/A", DumpPart.HANDLES))
    octets = request.encode()
    assert octets == b"\x02\0\0\0\x01\0\0\0\0" + b"\0\0\0\x0c20.500.999/A" + b"\0\0\0\x02"
    assert DumpRequest.decode(octets) == request


def test_session_bodies_without_their_stray_octets_are_read_and_come_back_as_they_came() -> None:
    octets = decode_message(spec_octets("sess")).body[:-2]
    assert SessionSetupRequest.decode(octets).encode() == octets
    with pytest.raises(WireError):
        SessionSetupRequest.decode(octets + b"\0")


@pytest.mark.parametrize(
    "request_body",
    [
        SessionSetupRequest(mode=SessionMode.CLIENT_KEY, timeout_s=1, key=b"blob"),
        SessionSetupRequest(mode=SessionMode.SERVER_KEY, timeout_s=1),
        SessionSetupRequest(mode=SessionMode.HANDLE_KEY, timeout_s=1, exchange=SECRET_KEY),
    ],
    ids=["client key", "server key", "handle key"],
)
def test_every_mode_of_key_exchange_has_its_form(request_body: SessionSetupRequest) -> None:
    assert SessionSetupRequest.decode(request_body.encode()) == request_body


def test_an_unknown_mode_of_key_exchange_is_refused() -> None:
    with pytest.raises(SessionFailed):
        SessionSetupRequest.decode(b"\0\5" + decode_message(spec_octets("sess")).body[2:])


@pytest.mark.parametrize(("algorithm", "octets"), [(1, 16), (2, 20), (3, 32)])
def test_a_digest_to_verify_may_be_raw_behind_its_algorithm(algorithm: int, octets: int) -> None:
    request = VerifyRequest(
        key=SECRET_KEY, nonce=NONCE, digest=bytes(octets), answer=ANSWER, digest_algorithm=algorithm
    )
    assert VerifyRequest.decode(request.encode()) == request


def test_a_digest_to_verify_of_an_unknown_algorithm_is_refused() -> None:
    request = VerifyRequest(key=SECRET_KEY, nonce=NONCE, digest=bytes(16), answer=ANSWER, digest_algorithm=9)
    with pytest.raises(WireError):
        VerifyRequest.decode(request.encode())


def test_a_challenge_of_version_2_0_has_the_digest_behind_the_nonce() -> None:
    challenge = ChallengeResponse(nonce=NONCE, old_digest=bytes(16))
    assert challenge.encode() == b"\0\0\0\x10" + NONCE + b"\0\0\0\x10" + bytes(16)
    assert ChallengeResponse.decode(challenge.encode()) == challenge


def test_old_servers_do_not_say_what_they_created() -> None:
    assert CreateResponse.decode(b"") == CreateResponse(handle=None)
    assert CreateResponse(handle=None).encode() == b""


def test_the_login_of_the_idis_sdk_names_an_identity() -> None:
    octets = bytes.fromhex("0000000e38382e3131312e312f61646d696e0000012c")
    assert LoginRequest.decode(octets) == LoginRequest(identity=ValueReference(b"88.111.1/admin", 300))
    assert LoginRequest.decode(octets).encode() == octets


def test_operations_that_need_no_name_send_a_slash() -> None:
    assert HandleRequest().encode() == b"\0\0\0\x01/"


@pytest.mark.parametrize("decode", [HandleRequest.decode, ValuesRequest.decode, RemoveValuesRequest.decode])
def test_an_empty_name_is_no_handle(decode: Callable[[bytes], Body]) -> None:
    with pytest.raises(HandleError):
        decode(bytes(8))


@pytest.mark.parametrize(
    ("decode", "octets"),
    [
        (HandleRequest.decode, b"\0\0\x08\x01" + b"x" * 2049),
        (ValuesRequest.decode, b"\0\0\0\x01x\x7f\xff\xff\xff"),
        (RemoveValuesRequest.decode, b"\0\0\0\x01x\0\0\x08\x01" + bytes(4 * 2049)),
        (HandleListResponse.decode, b"\x7f\xff\xff\xff"),
        (ChallengeResponse.decode, b"\0\0\x04\x01" + bytes(1025)),
        (ChallengeAnswerRequest.decode, b"\0\0\0\x41" + bytes(65)),
        (SessionSetupResponse.decode, b"\0\4\0\0\x20\x01" + bytes(8193)),
        (VerifyResponse.decode, b"\2"),
    ],
)
def test_a_body_that_lies_is_refused(decode: Callable[[bytes], Body], octets: bytes) -> None:
    with pytest.raises(WireError):
        decode(octets)


def test_an_answer_shows_in_no_representation() -> None:
    assert "57" not in repr(ChallengeAnswerRequest(kind="HS_SECKEY", key=SECRET_KEY, answer=b"5757"))
    shown = repr(VerifyRequest(key=SECRET_KEY, nonce=b"", digest=b"", answer=b"5757"))
    assert "57" not in shown
