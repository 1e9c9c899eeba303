"""Sessions of a deployed client and server, as they were recorded: our server takes and answers them alike."""

from dataclasses import replace
from typing import Any, Final

import pytest

from protocol.admin_bodies import SessionSetupRequest, SessionSetupResponse
from protocol.codes import OpCode
from protocol.credential import verify_mac
from protocol.diffie_hellman import ENTROPY_OCTETS, Half, decode_public
from protocol.errors import SessionFailed, SessionReplay, Unsigned
from protocol.message import Message, decode_envelope, decode_message, split_digest
from protocol.session import accept_session, decrypt, finish_session, session_key
from registry.wire.session import Session
from tests.support.vectors import Recorded, recorded, recordings

SETUP_DATA_CIPHER_OCTETS: Final = 4
NAMES: Final = sorted(
    name for name, data in recordings().items() if (data.get("session") or {}).get("dh_client_private_x")
)


def session_of(name: str) -> dict[str, Any]:
    told: dict[str, Any] = recordings()[name]["session"]
    return told


def messages_of(name: str) -> list[Recorded]:
    return [message for message in recorded() if message.recording == name and message.is_message]


def ours(name: str) -> Session:
    told = session_of(name)
    return Session(
        int(told["session_id"]),
        bytes.fromhex(told["session_key"]),
        (2, 11),
        claimed=None,
        case_sensitive=False,
        host="192.0.2.1",
        idle_s=60.0,
        now_s=0.0,
    )


def exchanges(name: str) -> list[tuple[Message, bytes]]:
    """The requests of a recording in the clear, as our server reads them, and the octets of their answers."""
    session, whole = ours(name), messages_of(name)
    found = []
    for request, answer in zip(whole[::2], whole[1::2], strict=True):
        assert (request.to_server, answer.to_server) == (True, False)
        if decode_envelope(request.octets).encrypted:
            found.append((session.decrypt(request.octets), answer.octets))
        else:
            found.append((decode_message(request.octets), answer.octets))
    return found


def test_there_are_recorded_sessions() -> None:
    assert {"tcp_session_dh_mac", "tcp_session_dh_encrypted", "tcp_session_dh_rsa_auth"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_recorded_half_of_the_client_gives_both_sides_the_recorded_key(name: str) -> None:
    told = session_of(name)
    (setup, answer), *_ = exchanges(name)
    group, y = decode_public(SessionSetupRequest.decode(setup.body).key)
    client = Half(group, int(told["dh_client_private_x"], 16))
    assert client.public.numbers[0] == y

    response = SessionSetupResponse.decode(split_digest(decode_message(answer))[1])
    assert finish_session(client, response).hex().upper() == told["session_key"]


@pytest.mark.parametrize("name", NAMES)
def test_our_server_agrees_on_a_key_with_the_recorded_client(name: str) -> None:
    (setup, _), *_ = exchanges(name)
    request = SessionSetupRequest.decode(setup.body)
    key, response = accept_session(request, (2, 11), bytes(range(ENTROPY_OCTETS)))
    group, _ = decode_public(request.key)
    client = Half(group, int(session_of(name)["dh_client_private_x"], 16))

    assert finish_session(client, response) == key
    _, ours = decode_public(response.data[SETUP_DATA_CIPHER_OCTETS:])
    assert session_key(client.shared(ours)) == key


@pytest.mark.parametrize("name", NAMES)
def test_every_recorded_request_of_a_session_is_taken_once(name: str) -> None:
    session, taken = ours(name), 0
    for request, _ in exchanges(name)[1:]:
        if request.header.op_code == OpCode.CHALLENGE_ANSWER:
            with pytest.raises(SessionFailed if request.envelope.encrypted else Unsigned):
                session.check(request)
            continue
        session.check(request)
        with pytest.raises(SessionReplay):
            session.check(request)
        taken += 1
    assert taken >= 2


@pytest.mark.parametrize("name", NAMES)
def test_our_answers_in_a_session_are_the_recorded_ones_octet_for_octet(name: str) -> None:
    session, compared = ours(name), 0
    key = bytes.fromhex(session_of(name)["session_key"])
    for request, octets in exchanges(name)[1:]:
        encrypted = decode_envelope(octets).encrypted
        answer = decrypt(octets, key) if encrypted else decode_message(octets)
        if (
            request.header.op_code == OpCode.SESSION_TERMINATE
        ):  # which deployed servers sign; we know the key still
            continue
        verify_mac(answer, key)
        sealed = session.protect(request, replace(answer, credential=b""))
        assert decode_envelope(sealed).encrypted is encrypted
        ours_in_the_clear = decrypt(sealed, key) if encrypted else decode_message(sealed)
        assert ours_in_the_clear.encode() == answer.encode()
        if not encrypted:
            assert sealed == octets
        compared += 1
    assert compared >= 3
