"""Challenges, answers by secret and by key, and the answers that must not pass."""

import hashlib
import hmac
from dataclasses import replace

import pytest

from protocol.admin_bodies import ChallengeResponse
from protocol.challenge import (
    ACCEPTED_CODES,
    ITERATIONS,
    MAX_ITERATIONS,
    Challenge,
    SecretCode,
    answer_with_key,
    answer_with_secret,
    challenge_response,
    check_key_answer,
    check_secret_answer,
    iterations_of,
    read_challenge,
    secret_code,
)
from protocol.codes import OpFlag
from protocol.errors import BadSignature, TooLarge, WireError
from protocol.message import Envelope, Message, Version, decode_message, request_digest, split_digest
from protocol.signature import PrivateKey
from protocol.valuetypes import PublicKey
from protocol.wire import Writer
from tests.support.keys import admin_key, dsa_key, toy_key
from tests.support.vectors import spec_octets

NONCE = bytes(range(16))
SALT = bytes(range(16, 32))
SECRET = b"secret"
WALL_S = 1_700_000_000.0
DELETE = decode_message(spec_octets("delete"))
CHALLENGE = Challenge(NONCE, spec_octets("de_digest"))
FEW = 8


def _challenged(request: Message) -> Message:
    return challenge_response(request, NONCE, session_id=9, authoritative=False, site_serial=3, wall_s=WALL_S)


def test_v17_a_challenge_carries_a_nonce_and_the_digest_that_nobody_asked_for() -> None:
    assert Challenge.to(DELETE, NONCE) == CHALLENGE
    response = _challenged(DELETE)
    assert response.encode() == spec_octets("challenge")
    assert read_challenge(decode_message(spec_octets("challenge")), DELETE) == CHALLENGE


def test_v18_and_v19_answers_by_secret() -> None:
    assert answer_with_secret(CHALLENGE, SECRET, SecretCode.SHA1) == b"\x02" + spec_octets("mac_sha1")
    assert answer_with_secret(CHALLENGE, SECRET, salt=SALT) == b"\x22" + spec_octets("mac_pbkdf2")
    assert check_secret_answer(CHALLENGE, b"\x02" + spec_octets("mac_sha1"), SECRET)
    assert check_secret_answer(CHALLENGE, b"\x22" + spec_octets("mac_pbkdf2"), SECRET)


def test_v20_an_answer_by_key() -> None:
    answer = answer_with_key(CHALLENGE, toy_key(), (2, 11))
    assert answer == b"\0\0\0\7SHA-256\0\0\0\x40" + spec_octets("sig_rsa")
    assert check_key_answer(CHALLENGE, answer, PublicKey.decode(spec_octets("rsa_pub")))


def test_v37_octets_of_a_secret_beyond_ascii_are_doubled_as_deployed_peers_do_and_taken_plain_too() -> None:
    secret = b"s\xe9"
    derived = {
        b"s\xc3\xa9": "2fb56464195054ac5c340adf4e1173aba239501a",
        secret: "351e642e7bf60f9c48d0aa7f7d25ae027065966e",
    }
    for password, key in derived.items():
        assert hashlib.pbkdf2_hmac("sha1", password, SALT, ITERATIONS, 20).hex() == key
        mac = hmac.digest(bytes.fromhex(key), CHALLENGE.octets, "sha1")
        assert check_secret_answer(CHALLENGE, _derived(ITERATIONS, 160, mac), secret)
    deployed = answer_with_secret(CHALLENGE, secret, salt=SALT)
    assert check_secret_answer(CHALLENGE, deployed, b"s\xc3\xa9")  # by the plain octets of the doubled secret
    assert not check_secret_answer(CHALLENGE, deployed, b"se")


def _derived(iterations: int, key_bits: int, mac: bytes) -> bytes:
    return Writer().u8(0x22).counted(SALT).u32(iterations).u32(key_bits).counted(mac).octets()


@pytest.mark.parametrize("code", list(SecretCode))
def test_an_answer_of_every_form_is_right_with_the_secret_alone(code: SecretCode) -> None:
    answer = answer_with_secret(CHALLENGE, SECRET, code, salt=SALT, iterations=FEW)
    every = frozenset(SecretCode)
    assert answer[0] == code
    assert check_secret_answer(CHALLENGE, answer, SECRET, accepted=every)
    assert not check_secret_answer(CHALLENGE, answer, b"Secret", accepted=every)
    assert not check_secret_answer(Challenge(NONCE[::-1], CHALLENGE.digest), answer, SECRET, accepted=every)
    assert not check_secret_answer(Challenge(NONCE, bytes(32)), answer, SECRET, accepted=every)
    assert not check_secret_answer(CHALLENGE, answer, SECRET, accepted=every - {code})
    damaged = answer[:-1] + bytes((answer[-1] ^ 1,))
    assert not check_secret_answer(CHALLENGE, damaged, SECRET, accepted=every)


def test_md5_is_accepted_only_where_a_setting_says_so_and_then_without_its_octet_too() -> None:
    answer = answer_with_secret(CHALLENGE, SECRET, SecretCode.MD5)
    assert SecretCode.MD5 not in ACCEPTED_CODES
    for form in (answer, answer[1:]):
        assert not check_secret_answer(CHALLENGE, form, SECRET)
        assert check_secret_answer(CHALLENGE, form, SECRET, accepted={SecretCode.MD5})


@pytest.mark.parametrize("answer", [b"", b"\x02", b"\x00" * 21, b"\x7f" + bytes(20), b"\x04" + bytes(32)])
def test_octets_of_no_known_code_or_without_a_mac_are_wrong(answer: bytes) -> None:
    assert not check_secret_answer(CHALLENGE, answer, SECRET)


@pytest.mark.parametrize("key_bits", [0, 8, 120, 161, 328, 2**32 - 1])
def test_a_sender_cannot_choose_a_key_so_short_that_the_mac_is_guessed(key_bits: int) -> None:
    with pytest.raises(WireError):
        check_secret_answer(CHALLENGE, _derived(FEW, key_bits, bytes(20)), SECRET)


def test_a_sender_cannot_choose_how_long_the_server_computes() -> None:
    for iterations in (MAX_ITERATIONS + 1, 3_000_000, 2**32 - 1):
        with pytest.raises(TooLarge):
            check_secret_answer(CHALLENGE, _derived(iterations, 160, bytes(20)), SECRET)
    with pytest.raises(TooLarge):
        check_secret_answer(CHALLENGE, _derived(FEW + 1, 160, bytes(20)), SECRET, iterations_max=FEW)
    with pytest.raises(TooLarge):  # a longer key costs the iterations twice
        check_secret_answer(CHALLENGE, _derived(FEW, 168, bytes(20)), SECRET, iterations_max=2 * FEW - 1)
    assert iterations_of(_derived(FEW, 320, bytes(20))) == 2 * FEW
    with pytest.raises(WireError):
        check_secret_answer(CHALLENGE, _derived(0, 160, bytes(20)), SECRET)


def test_an_answer_cut_anywhere_does_not_pass() -> None:
    for whole in (_derived(FEW, 160, bytes(20)), answer_with_secret(CHALLENGE, SECRET, SecretCode.SHA1)):
        for cut in range(1, len(whole)):
            try:
                assert not check_secret_answer(CHALLENGE, whole[:cut], SECRET)
            except WireError:
                continue


@pytest.mark.parametrize(
    ("version", "suggested", "code"),
    [
        ((2, 11), (2, 11), SecretCode.PBKDF2_HMAC_SHA1),
        ((2, 7), (2, 11), SecretCode.PBKDF2_HMAC_SHA1),
        ((2, 7), (0, 0), SecretCode.PBKDF2_HMAC_SHA1),
        ((2, 6), (2, 11), SecretCode.SHA1),
        ((2, 11), (2, 3), SecretCode.SHA1),
        ((2, 1), (0, 0), SecretCode.SHA1),
    ],
)
def test_the_versions_of_a_challenge_say_how_a_secret_answers(
    version: Version, suggested: Version, code: SecretCode
) -> None:
    assert secret_code(Envelope(version=version, suggested=suggested)) is code


@pytest.mark.parametrize("version", [(2, 1), (2, 6), (2, 7), (2, 10), (2, 11)])
@pytest.mark.parametrize("key", [admin_key(), dsa_key()], ids=["RSA", "DSA"])
def test_an_answer_by_key_is_right_with_its_public_half_alone(version: Version, key: PrivateKey) -> None:
    answer = answer_with_key(CHALLENGE, key, version)
    rsa, dsa = PublicKey.of_rsa(admin_key().public_key()), PublicKey.of_dsa(dsa_key().public_key())
    mine, other = (rsa, dsa) if key is admin_key() else (dsa, rsa)
    assert check_key_answer(CHALLENGE, answer, mine)
    assert not check_key_answer(CHALLENGE, answer, other)
    assert not check_key_answer(Challenge(NONCE, bytes(32)), answer, mine)
    assert not check_key_answer(CHALLENGE, answer, mine, accepted=frozenset({"SM3"}))


@pytest.mark.parametrize("name", [b"MD5", b"", b"SHA-512", b"\xff"])
def test_an_answer_by_key_with_another_hash_does_not_pass(name: bytes) -> None:
    answer = Writer().counted(name).counted(spec_octets("sig_rsa")).octets()
    assert not check_key_answer(CHALLENGE, answer, PublicKey.decode(spec_octets("rsa_pub")))


def test_an_answer_by_key_cut_anywhere_or_going_on_is_refused() -> None:
    answer = answer_with_key(CHALLENGE, toy_key(), (2, 11))
    key = PublicKey.decode(spec_octets("rsa_pub"))
    for broken in [answer[:cut] for cut in range(len(answer))] + [answer + b"\0"]:
        with pytest.raises(WireError):
            check_key_answer(CHALLENGE, broken, key)


@pytest.mark.parametrize("version", [(2, 0), (2, 1), (2, 6), (2, 7), (2, 11), (5, 0)])
def test_client_and_server_of_any_version_agree_on_what_is_signed(version: Version) -> None:
    request = replace(DELETE, envelope=Envelope(version=version, suggested=version, request_id=4))
    received = decode_message(request.encode())
    response = decode_message(_challenged(received).encode())
    assert (response.envelope.session_id, response.envelope.request_id) == (9, 4)
    assert read_challenge(response, request) == Challenge.to(received, NONCE)
    old = response.envelope.version < (2, 1)
    assert response.has(OpFlag.RRDG) is not old


def test_a_request_that_asked_for_its_digest_gets_it_once() -> None:
    asking = replace(
        DELETE,
        header=replace(DELETE.header, op_flags=DELETE.header.op_flags | OpFlag.RRDG),
        signed_octets=None,
    )
    digest, rest = split_digest(_challenged(asking))
    assert digest == request_digest(asking, (2, 11))
    assert ChallengeResponse.decode(rest).nonce == NONCE


def test_a_client_signs_no_challenge_about_another_request() -> None:
    other = replace(DELETE, body=b"\0\0\0\x01y", signed_octets=None)
    with pytest.raises(BadSignature):
        read_challenge(_challenged(DELETE), other)
    bare = replace(_challenged(DELETE), header=replace(DELETE.header, op_flags=0), body=b"\0\0\0\x10" + NONCE)
    with pytest.raises(BadSignature):
        read_challenge(bare, DELETE)
