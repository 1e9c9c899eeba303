"""Arbitrary octets are refused by what they fail in, and what one side makes the other side takes."""

from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.admin_bodies import RetrieveTransactionsRequest
from protocol.challenge import (
    Challenge,
    SecretCode,
    answer_with_secret,
    check_key_answer,
    check_secret_answer,
)
from protocol.codes import OpCode
from protocol.credential import mac, verify, verify_mac
from protocol.diffie_hellman import decode_public
from protocol.errors import BadSignature, SessionFailed, UnreadableKey, WireError
from protocol.message import Message
from protocol.private_key import decode_private_key
from protocol.session import WINDOW_COUNTERS, CounterWindow, decrypt, decrypt_checked, encrypt
from protocol.valuetypes import PublicKey
from tests.support import strategies as some
from tests.support.keys import toy_key
from tests.support.vectors import spec_octets

EVERY_CODE: Final = frozenset(SecretCode)
PUBLIC: Final = PublicKey.of_rsa(toy_key().public_key())
KEY: Final = bytes(range(32))
CHALLENGE: Final = Challenge(bytes(16), bytes(32))
MESSAGE: Final = Message.request(OpCode.DELETE_HANDLE, b"\0\0\0\1x", request_id=1, expiration=1)
ENCRYPTED: Final = encrypt(mac(MESSAGE, KEY, 1), KEY, bytes(16))
versions = st.tuples(st.just(2), st.integers(0, 11))


@given(
    st.binary(max_size=128)
    | st.builds(bytes.__add__, st.sampled_from([b"\x22\0\0\0\0", b"\x02"]), some.octets)
)
def test_arbitrary_answers_by_secret_are_wrong_or_refused(answer: bytes) -> None:
    try:
        passes = check_secret_answer(CHALLENGE, answer, b"secret", accepted=EVERY_CODE, iterations_max=4)
    except WireError:
        return
    assert not passes


@given(st.binary(max_size=128))
def test_arbitrary_answers_by_key_are_wrong_or_refused(answer: bytes) -> None:
    try:
        passes = check_key_answer(CHALLENGE, answer, PUBLIC)
    except WireError:
        return
    assert not passes


@given(st.sampled_from(SecretCode), st.binary(min_size=1, max_size=40), some.octets, some.octets)
def test_an_answer_passes_with_its_secret(
    code: SecretCode, secret: bytes, nonce: bytes, digest: bytes
) -> None:
    challenge = Challenge(nonce, digest)
    answer = answer_with_secret(challenge, secret, code, salt=b"salt", iterations=1)
    assert check_secret_answer(challenge, answer, secret, accepted=EVERY_CODE)
    assert not check_secret_answer(challenge, answer, secret + b"\1", accepted=EVERY_CODE)


@given(st.binary(max_size=128), st.integers(0, 255))
def test_arbitrary_credentials_are_refused(credential: bytes, at: int) -> None:
    good = spec_octets("hmac_del")[-77:]
    at %= len(good)
    for octets in (credential, good[:at] + credential + good[at + 1 :]):
        message = replace(MESSAGE, credential=octets)
        for check in (lambda: verify(message, PUBLIC), lambda: verify_mac(message, KEY)):  # noqa: B023 - called here
            with pytest.raises((BadSignature, WireError)):
                check()


@given(st.binary(max_size=96), st.integers(20, len(ENCRYPTED) - 1), some.u8)
def test_arbitrary_and_damaged_octets_do_not_decrypt_to_what_was_not_sent(
    rest: bytes, at: int, octet: int
) -> None:
    envelope = ENCRYPTED[:16] + len(rest).to_bytes(4, "big")
    damaged = ENCRYPTED[:at] + bytes((octet,)) + ENCRYPTED[at + 1 :]
    for octets in (envelope + rest, damaged):
        try:
            message, counter = decrypt_checked(octets, KEY)
        except SessionFailed:
            continue
        assert (message.header_and_body, counter) == (MESSAGE.header_and_body, 1)


@given(some.messages, st.binary(min_size=16, max_size=16))
def test_decrypting_inverts_encrypting(message: Message, iv: bytes) -> None:
    sound = replace(message, credential=message.credential or b"", surplus=b"")
    assert decrypt(encrypt(sound, KEY, iv), KEY).encode()[20:] == sound.encode()[20:]


@given(st.binary(max_size=256))
def test_arbitrary_octets_are_no_key(octets: bytes) -> None:
    for scheme in range(5):
        with pytest.raises(UnreadableKey):
            decode_private_key(bytes((0, 0, 0, scheme)) + octets, b"passphrase")
    with pytest.raises(SessionFailed):
        decode_public(b"\0\0\0\x0aDH_PUB_KEY\0\0" + octets)


@given(st.binary(max_size=64), versions)
def test_arbitrary_requests_for_transactions_decode_or_are_refused(
    octets: bytes, version: tuple[int, int]
) -> None:
    try:
        request = RetrieveTransactionsRequest.decode(octets, version)
    except WireError:
        return
    assert request.encode(version) == octets


@given(st.lists(st.integers(-1, 2 * WINDOW_COUNTERS) | some.u32, max_size=60))
def test_a_window_agrees_with_a_set(counters: list[int]) -> None:
    window, seen, highest = CounterWindow(), set[int](), 0
    for counter in counters:
        fresh = counter >= 1 and counter not in seen and counter > highest - WINDOW_COUNTERS
        assert window.accept(counter) is fresh
        if fresh:
            seen.add(counter)
            highest = max(highest, counter)
