"""Envelope, header, message: octets, answers, versions, digests."""

from dataclasses import replace

import pytest

from protocol.bodies import ErrorBody, ResolutionRequest
from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag, ResponseCode
from protocol.errors import Malformed, TooLarge, Truncated, WireError
from protocol.handle import Handle
from protocol.message import (
    ANSWER_LIFE_S,
    Digest,
    DigestAlgorithm,
    Envelope,
    Message,
    Version,
    answer_version,
    decode_envelope,
    decode_message,
    is_encrypted,
    matches_digest,
    request_digest,
    response_code_of,
    split_digest,
    undecodable,
)
from tests.support.vectors import spec_octets

REQUEST = decode_message(spec_octets("res_req"))
WALL_S = 1_700_000_000.9


def test_an_envelope_has_twenty_octets() -> None:
    envelope = Envelope(
        version=(2, 11),
        suggested=(3, 0),
        compressed=True,
        encrypted=True,
        truncated=True,
        session_id=1,
        request_id=2,
        sequence=3,
        message_octets=4,
    )
    octets = bytes.fromhex("020be30000000001000000020000000300000004")
    assert envelope.encode() == octets
    assert decode_envelope(octets) == envelope


def test_an_envelope_that_is_cut_or_announces_too_much_is_refused() -> None:
    octets = Envelope(message_octets=262_144).encode()
    assert decode_envelope(octets).message_octets == 262_144
    with pytest.raises(TooLarge):
        decode_envelope(octets[:16] + b"\x00\x04\x00\x01")
    for cut in range(20):
        with pytest.raises(Truncated):
            decode_envelope(octets[:cut])


def test_the_answer_of_a_web_server_is_told_from_a_message() -> None:
    with pytest.raises(Malformed, match="speaks HTTP"):
        decode_envelope(b"HTTP/1.1 400 Bad Request\r\n")


def test_a_request_has_the_defaults_of_deployed_clients() -> None:
    request = Message.request(
        OpCode.RESOLUTION,
        ResolutionRequest(handle=Handle.parse("20.500.999/abc")).encode(),
        request_id=1,
        expiration=1_700_043_200,
    )
    assert request.encode() == spec_octets("res_req")
    assert request.flags == DEFAULT_FLAGS
    assert request.has(OpFlag.PUBL)
    assert not request.has(OpFlag.AUTH)


def test_a_missing_credential_length_and_octets_behind_it_are_kept() -> None:
    octets = spec_octets("res_req")
    bare = replace(REQUEST, credential=None)
    assert bare.encode() == octets[:16] + b"\x00\x00\x00\x32" + octets[20:-4]
    assert decode_message(bare.encode()) == replace(
        bare, envelope=replace(bare.envelope, message_octets=0x32)
    )
    surplus = replace(REQUEST, surplus=b"more").encode()
    assert decode_message(surplus).surplus == b"more"
    assert decode_message(surplus).encode() == surplus


def test_an_announced_length_that_is_not_the_real_one_is_tolerated() -> None:
    octets = spec_octets("res_req")
    longer = octets[:19] + b"\xff" + octets[20:]
    assert decode_message(longer).encode() == octets
    assert decode_message(octets + b"behind").encode() == octets


def test_a_header_or_body_that_is_cut_is_refused() -> None:
    octets = spec_octets("res_req")
    for cut in range(len(octets) - 4):
        with pytest.raises(WireError):
            decode_message(octets[:cut])
    with pytest.raises(Truncated):
        decode_message(octets[:-1])


def test_an_encrypted_message_is_refused_without_its_session() -> None:
    octets = spec_octets("res_req")
    with pytest.raises(Malformed):
        decode_message(octets[:2] + b"\x42" + octets[3:])


@pytest.mark.parametrize(
    ("version", "suggested", "answered"),
    [
        ((2, 11), (2, 11), (2, 11)),
        ((2, 10), (2, 10), (2, 10)),
        ((2, 3), (2, 10), (2, 10)),
        ((2, 1), (0, 0), (2, 1)),
        ((2, 1), (2, 1), (2, 1)),
        ((2, 0), (0, 0), (2, 0)),
        ((1, 0), (0, 0), (1, 0)),
        ((2, 12), (2, 12), (2, 11)),
        ((3, 0), (0, 0), (2, 11)),
        ((2, 11), (3, 0), (2, 11)),
        ((5, 0), (0, 0), (2, 0)),
        ((0, 0), (0, 0), (2, 0)),
        ((255, 255), (31, 255), (2, 0)),
    ],
)
def test_the_answer_is_written_in_the_lower_of_both_versions(
    version: Version, suggested: Version, answered: Version
) -> None:
    assert answer_version(Envelope(version=version, suggested=suggested)) == answered


def answer(request: Message, code: ResponseCode = ResponseCode.SUCCESS, body: bytes = b"") -> Message:
    return request.answer(code, body, authoritative=True, site_serial=3, wall_s=WALL_S)


def test_an_answer_echoes_what_the_client_sent() -> None:
    request = replace(REQUEST, envelope=replace(REQUEST.envelope, session_id=7))
    response = decode_message(answer(request).encode())
    assert (response.envelope.request_id, response.envelope.session_id) == (1, 7)
    assert response.header.op_code == OpCode.RESOLUTION
    assert response.header.site_serial == 3
    assert response.header.expiration == 1_700_000_000 + ANSWER_LIFE_S
    assert response.flags == DEFAULT_FLAGS | OpFlag.AUTH


def test_an_answer_that_is_not_authoritative_says_so() -> None:
    request = replace(REQUEST, header=replace(REQUEST.header, op_flags=DEFAULT_FLAGS | OpFlag.AUTH))
    response = request.answer(
        ResponseCode.SUCCESS, b"", authoritative=False, site_serial=1, wall_s=WALL_S, clear=OpFlag.KPAL
    )
    assert not response.has(OpFlag.AUTH)


def test_an_answer_never_promises_a_signature_encryption_or_continuation() -> None:
    flags = DEFAULT_FLAGS | OpFlag.CERT | OpFlag.ENCR | OpFlag.CONT
    response = answer(replace(REQUEST, header=replace(REQUEST.header, op_flags=flags)))
    assert response.flags == DEFAULT_FLAGS | OpFlag.AUTH


def test_an_answer_after_2106_does_not_overflow() -> None:
    response = REQUEST.answer(
        ResponseCode.SUCCESS, b"", authoritative=True, site_serial=1, wall_s=2.0**32 - 5
    )
    assert decode_message(response.encode()).header.expiration == 2**32 - 1


@pytest.mark.parametrize(
    ("version", "code", "sent", "read"),
    [
        ((2, 4), ResponseCode.SERVER_BACKUP, 303, 7),
        ((2, 4), ResponseCode.INVALID_VALUE, 201, 201),
        ((2, 4), ResponseCode.HANDLE_NOT_FOUND, 100, 100),
        ((2, 5), ResponseCode.SERVER_BACKUP, 7, 7),
        ((2, 11), ResponseCode.PREFIX_REFERRAL, 303, 303),
        ((2, 11), ResponseCode.INVALID_VALUE, 202, 202),
    ],
)
def test_old_peers_are_told_old_numbers(version: Version, code: ResponseCode, sent: int, read: int) -> None:
    request = replace(REQUEST, envelope=replace(REQUEST.envelope, version=version, suggested=version))
    response = answer(request, code)
    assert response.header.response_code == sent
    assert response_code_of(response) == read


def test_v13_the_digest_covers_header_and_body_as_they_came() -> None:
    request = decode_message(spec_octets("res_req2"))
    response = decode_message(spec_octets("res_resp_digest"))
    digest, rest = split_digest(response)
    assert digest is not None
    assert digest.algorithm is DigestAlgorithm.SHA256
    assert matches_digest(request, digest)
    assert digest == request_digest(request, (2, 11))
    assert rest == decode_message(spec_octets("res_resp")).body
    assert not matches_digest(REQUEST, digest)


@pytest.mark.parametrize(
    ("version", "algorithm", "octets"),
    [((2, 0), 1, 16), ((2, 1), 2, 20), ((2, 6), 2, 20), ((2, 7), 3, 32), ((2, 11), 3, 32)],
)
def test_the_digest_follows_the_version(version: Version, algorithm: int, octets: int) -> None:
    request = replace(
        REQUEST,
        envelope=replace(REQUEST.envelope, version=version, suggested=version),
        header=replace(REQUEST.header, op_flags=DEFAULT_FLAGS | OpFlag.RRDG),
        signed_octets=None,
    )
    response = decode_message(answer(request, body=b"rest").encode())
    digest, rest = split_digest(response)
    assert digest is not None
    assert (digest.algorithm, len(digest.octets), rest) == (algorithm, octets, b"rest")
    assert digest.encode() + rest == response.body
    assert matches_digest(request, digest)


def test_a_response_without_the_flag_has_no_digest() -> None:
    assert split_digest(decode_message(spec_octets("res_resp"))) == (
        None,
        decode_message(spec_octets("res_resp")).body,
    )


@pytest.mark.parametrize(
    "body", [b"", b"\x04" + bytes(64), b"\x03" + bytes(31), b"\x02" + bytes(19), bytes(20), b"\xff"]
)
def test_a_broken_digest_is_refused(body: bytes) -> None:
    header = replace(REQUEST.header, op_flags=OpFlag.RRDG, response_code=1)
    with pytest.raises(WireError):
        split_digest(replace(REQUEST, header=header, body=body))


def test_an_old_digest_has_a_length_in_front() -> None:
    digest = Digest(algorithm=DigestAlgorithm.MD5, octets=bytes(16), old=True)
    assert digest.encode() == b"\x00\x00\x00\x10" + bytes(16)


@pytest.mark.parametrize("cut", [0, 10, 19, 20, 23, 24, 43, 60])
def test_the_answer_to_octets_that_are_no_message_echoes_what_can_be_read(cut: int) -> None:
    octets = spec_octets("answer_sec")[:cut]
    response = decode_message(undecodable(octets, "cut", WALL_S).encode())
    assert response.header.response_code == ResponseCode.PROTOCOL_ERROR
    assert ErrorBody.decode(response.body).message == "cut"
    assert response.envelope.request_id == (5 if cut >= 20 else 0xFFFF_FFFF)
    assert response.envelope.session_id == (9 if cut >= 20 else 0)
    assert response.header.op_code == (200 if cut >= 24 else 0)
    assert response.header.expiration == 1_700_000_000 + ANSWER_LIFE_S


def test_the_answer_to_encrypted_octets_names_no_operation() -> None:
    octets = replace(REQUEST, envelope=replace(REQUEST.envelope, encrypted=True)).encode()
    assert is_encrypted(octets)
    assert not is_encrypted(REQUEST.encode())
    assert not is_encrypted(octets[:19])
    response = decode_message(undecodable(octets, "no session", WALL_S).encode())
    assert response.header.op_code == 0
    assert response.envelope.request_id == REQUEST.envelope.request_id


def test_a_message_shows_neither_body_twice_nor_its_received_octets() -> None:
    assert "signed_octets" not in repr(REQUEST)
