"""Session keys, encryption and counters; damage is refused alike wherever it is."""

from dataclasses import replace

import pytest

from protocol.admin_bodies import SessionMode, SessionSetupRequest, SessionSetupResponse
from protocol.codes import OpCode
from protocol.credential import mac, verify_mac
from protocol.diffie_hellman import Half, usual_group
from protocol.errors import SessionFailed
from protocol.message import ENVELOPE_OCTETS, Message, Version
from protocol.session import (
    WINDOW_COUNTERS,
    CounterWindow,
    _cipher,
    accept_session,
    decrypt,
    decrypt_checked,
    encrypt,
    finish_session,
    session_key,
)
from tests.support.vectors import spec_octets

KEY = bytes(range(32))
IV = bytes(range(16))
OURS = Half.of(usual_group(), bytes(range(64)))
ENTROPY = bytes(range(64, 128))


SETUP = SessionSetupRequest(mode=SessionMode.DIFFIE_HELLMAN, timeout_s=3_600, key=OURS.public.encode())


def _message(body: bytes = b"\0\0\0\x01x") -> Message:
    message = Message.request(OpCode.DELETE_HANDLE, body, request_id=5, expiration=7, session_id=77)
    return mac(message, KEY, 1)


def test_v32_the_first_half_of_the_key_encrypts_and_the_iv_stands_in_front() -> None:
    octets = spec_octets("aes")
    decryptor = _cipher(KEY, octets[:16]).decryptor()
    assert decryptor.update(octets[16:]) + decryptor.finalize() == b"\0\0\0\1" + b"\x0c" * 12


@pytest.mark.parametrize("size", range(17))
def test_an_encrypted_message_of_any_size_comes_back(size: int) -> None:
    message = _message(b"\0\0\0\x01x" + bytes(size))
    octets = encrypt(message, KEY, IV)
    assert octets[2] & 0x40
    assert len(octets) % 16 == 20 % 16
    clear = decrypt(octets, KEY)
    assert clear.encode() == message.encode()
    assert verify_mac(clear, KEY) == 1


def test_what_another_session_encrypted_is_refused() -> None:
    with pytest.raises(SessionFailed):
        decrypt_checked(encrypt(_message(), KEY, IV), bytes(32))


def test_an_encrypted_answer_to_a_challenge_has_no_mac_and_everything_else_has_one() -> None:
    bare = replace(_message(), credential=b"")
    with pytest.raises(SessionFailed):
        decrypt_checked(encrypt(bare, KEY, IV), KEY)
    answer = replace(bare, header=replace(bare.header, op_code=OpCode.CHALLENGE_ANSWER))
    assert decrypt_checked(encrypt(answer, KEY, IV), KEY)[1] is None


def test_damage_anywhere_but_in_the_padding_is_found_and_padding_is_not_looked_at() -> None:
    message = next(
        message
        for message in (_message(b"\0\0\0\x01x" + bytes(size)) for size in range(16))
        if len(message.encode()) % 16 == ENVELOPE_OCTETS % 16  # so that the last block is padding alone
    )
    octets = encrypt(message, KEY, IV)
    for at in range(ENVELOPE_OCTETS, len(octets) - 16):
        with pytest.raises(SessionFailed):
            decrypt_checked(_damaged(octets, at), KEY)
    for at in range(len(octets) - 16, len(octets)):
        clear, counter = decrypt_checked(_damaged(octets, at), KEY)
        assert (clear.encode(), counter) == (message.encode(), 1)


def _damaged(octets: bytes, at: int) -> bytes:
    return octets[:at] + bytes((octets[at] ^ 1,)) + octets[at + 1 :]


@pytest.mark.parametrize("size", [0, 15, 16, 32, 39, 41, 47])
def test_octets_that_are_no_whole_blocks_or_hold_no_header_are_refused(size: int) -> None:
    envelope = encrypt(_message(), KEY, IV)[:16] + size.to_bytes(4, "big")
    with pytest.raises(SessionFailed):
        decrypt(envelope + bytes(size), KEY)


def test_client_and_server_agree_on_a_key() -> None:
    key, response = accept_session(SETUP, (2, 11), ENTROPY)
    assert len(key) == 32
    assert response.data[:4] == b"\0\0\0\3"
    assert finish_session(OURS, SessionSetupResponse.decode(response.encode())) == key


@pytest.mark.parametrize(
    ("shared", "key"),
    [
        (bytes(96) + KEY, KEY),
        (bytes(100) + KEY[4:], bytes(4) + KEY[4:]),
        (b"\x01" + bytes(127), b"\x01" + bytes(31)),
        (bytes(3) + KEY[1:] + bytes(94), KEY[1:] + b"\0"),
        (bytes(128), bytes(32)),
    ],
)
def test_leading_zeros_are_dropped_while_more_than_32_octets_remain(shared: bytes, key: bytes) -> None:
    assert session_key(shared) == key


@pytest.mark.parametrize("version", [(2, 0), (2, 3), (2, 6), (5, 0)])
def test_versions_without_sound_macs_get_no_session(version: Version) -> None:
    with pytest.raises(SessionFailed):
        accept_session(SETUP, version, ENTROPY)


@pytest.mark.parametrize("mode", [SessionMode.CLIENT_KEY, SessionMode.SERVER_KEY, SessionMode.HANDLE_KEY])
def test_modes_that_work_nowhere_get_no_session(mode: SessionMode) -> None:
    with pytest.raises(SessionFailed):
        accept_session(replace(SETUP, mode=mode), (2, 11), ENTROPY)


def test_a_key_that_is_none_gets_no_session() -> None:
    with pytest.raises(SessionFailed):
        accept_session(replace(SETUP, key=b"\xaa\xbb\xcc"), (2, 11), ENTROPY)


@pytest.mark.parametrize("data", [b"", b"\0\0\0\1", b"\0\0\0\3", b"\0\0\0\2" + OURS.public.encode()])
def test_a_client_takes_no_other_cipher_and_no_answer_without_a_key(data: bytes) -> None:
    with pytest.raises(SessionFailed):
        finish_session(OURS, SessionSetupResponse(mode=SessionMode.DIFFIE_HELLMAN, data=data))


def test_counters_count_once_in_any_order_within_the_window() -> None:
    window = CounterWindow()
    assert [window.accept(counter) for counter in (1, 1, 3, 2, 2, 3, 0, -1)] == [
        True, False, True, True, False, False, False, False,
    ]  # fmt: skip


def test_a_counter_further_behind_than_the_window_is_refused() -> None:
    window = CounterWindow()
    assert window.accept(1_000)
    assert window.accept(1_000 - WINDOW_COUNTERS + 1)
    assert not window.accept(1_000 - WINDOW_COUNTERS)
    assert window.accept(0xFFFF_FFFF)
    assert not window.accept(1_001)
    assert not window.accept(1)
    assert window.seen.bit_length() <= WINDOW_COUNTERS


def test_a_window_is_handed_on_by_its_two_fields() -> None:
    window = CounterWindow()
    for counter in (1, 2, 5):
        window.accept(counter)
    again = CounterWindow(highest=window.highest, seen=window.seen)
    assert [again.accept(counter) for counter in (1, 2, 3, 4, 5, 6)] == [
        False,
        False,
        True,
        True,
        False,
        True,
    ]
