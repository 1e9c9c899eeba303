"""Signatures and MACs of messages: vectors, every version, and what is refused."""

from dataclasses import replace

import pytest

from protocol.codes import OpCode
from protocol.credential import (
    MAC,
    OLD_SIGNED,
    SIGNED,
    Credential,
    credential_of,
    mac,
    sign,
    signed_octets,
    verify,
    verify_mac,
)
from protocol.errors import BadMac, BadSignature, Unsigned, WireError
from protocol.message import Message, Version, decode_message
from protocol.signature import MAX_KEY_BITS, PrivateKey
from protocol.valuetypes import PublicKey
from tests.support.keys import admin_key, dsa_key, toy_key
from tests.support.vectors import spec_octets

SESSION_KEY = bytes(range(32))
RSA_PUBLIC = PublicKey.of_rsa(admin_key().public_key())
DSA_PUBLIC = PublicKey.of_dsa(dsa_key().public_key())
VERSIONS: list[Version] = [(2, 0), (2, 4), (2, 5), (2, 6), (2, 7), (2, 8), (2, 10), (2, 11), (3, 0), (5, 0)]


def _message(version: Version = (2, 11)) -> Message:
    message = Message.request(
        OpCode.DELETE_HANDLE, b"\0\0\0\x01x", request_id=0x0102_0304, expiration=7, session_id=0x0A0B_0C0D
    )
    return replace(message, envelope=replace(message.envelope, version=version))


def test_v27_a_mac_over_ids_counter_header_and_body() -> None:
    message = decode_message(spec_octets("hmac_del"))
    assert verify_mac(message, SESSION_KEY) == 1
    assert mac(replace(message, credential=b""), SESSION_KEY, 1).encode() == spec_octets("hmac_del")


def test_v28_a_certified_response() -> None:
    message = decode_message(spec_octets("signed_resp"))
    verify(message, PublicKey.decode(spec_octets("rsa_pub")))
    assert sign(replace(message, credential=b""), toy_key()).encode() == spec_octets("signed_resp")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("key", "public"), [(admin_key(), RSA_PUBLIC), (dsa_key(), DSA_PUBLIC)], ids=["RSA", "DSA"]
)
def test_what_is_signed_in_any_version_verifies_and_nothing_else(
    version: Version, key: PrivateKey, public: PublicKey
) -> None:
    signed = sign(_message(version), key, counter=3)
    verify(signed, public)
    verify(decode_message(signed.encode()), public)
    for other in (
        replace(signed, body=b"\0\0\0\x01y"),
        replace(signed, header=replace(signed.header, op_code=1)),
    ):
        with pytest.raises(BadSignature):
            verify(other, public)


@pytest.mark.parametrize(
    ("version", "rsa", "dsa"),
    [
        ((2, 6), "SHA1", "SHA1"),
        ((2, 7), "SHA-256", "SHA1"),
        ((2, 10), "SHA-256", "SHA1"),
        ((2, 11), "SHA-256", "SHA-256"),
    ],
)
def test_the_hash_is_what_peers_of_the_version_expect(version: Version, rsa: str, dsa: str) -> None:
    assert credential_of(sign(_message(version), admin_key())).algorithm == rsa
    assert credential_of(sign(_message(version), dsa_key())).algorithm == dsa


@pytest.mark.parametrize(
    ("version", "prefix"),
    [
        ((2, 11), "020b020b 0a0b0c0d 01020304 00000009"),
        ((2, 8), "0208020b 0a0b0c0d 01020304 00000009"),
        ((2, 7), "0207 0a0b0c0d 01020304 00000009"),
        ((2, 6), "0206 0a0b 00000009 000000000000"),
        ((2, 5), ""),
        ((2, 4), ""),
        ((5, 0), ""),
    ],
)
def test_the_version_says_what_stands_in_front_of_header_and_body(version: Version, prefix: str) -> None:
    message = _message(version)
    assert signed_octets(message, 9) == bytes.fromhex(prefix) + message.header_and_body


def test_a_message_is_checked_as_it_came_and_not_as_we_would_write_it() -> None:
    message = _message()
    odd = replace(message, signed_octets=message.header_and_body + b"odd")
    verify(sign(odd, toy_key()), PublicKey.of_rsa(toy_key().public_key()))
    with pytest.raises(BadSignature):
        verify(replace(sign(odd, toy_key()), signed_octets=None), PublicKey.of_rsa(toy_key().public_key()))


def test_every_octet_of_a_mac_counts() -> None:
    good = mac(_message(), SESSION_KEY, 1)
    credential = credential_of(good)
    for at in range(len(credential.signature)):
        forged = bytearray(credential.signature)
        forged[at] ^= 1
        with pytest.raises(BadMac):
            verify_mac(
                replace(good, credential=replace(credential, signature=bytes(forged)).encode()), SESSION_KEY
            )
    with pytest.raises(BadMac):
        verify_mac(replace(good, credential=replace(credential, signature=b"").encode()), SESSION_KEY)
    with pytest.raises(BadMac):
        verify_mac(good, bytes(32))
    with pytest.raises(BadMac):
        verify_mac(replace(good, credential=replace(credential, counter=2).encode()), SESSION_KEY)


@pytest.mark.parametrize("version", [(2, 4), (2, 7), (2, 11), (5, 0)])
def test_a_mac_of_any_version_that_has_one_verifies(version: Version) -> None:
    message = mac(_message(version), SESSION_KEY, 17)
    assert verify_mac(decode_message(message.encode()), SESSION_KEY) == 17


@pytest.mark.parametrize("version", [(2, 5), (2, 6)])
def test_versions_2_5_and_2_6_have_no_mac(version: Version) -> None:
    with pytest.raises(BadMac):
        mac(_message(version), SESSION_KEY, 1)


@pytest.mark.parametrize("algorithm", ["SHA1", "\x02", "MD5", "", "HMAC-MD5"])
def test_a_newer_message_is_not_taken_with_an_older_or_unknown_mac(algorithm: str) -> None:
    credential = Credential(kind=MAC, algorithm=algorithm, signature=bytes(20), counter=1)
    with pytest.raises(BadMac):
        verify_mac(replace(_message(), credential=credential.encode()), SESSION_KEY)


@pytest.mark.parametrize("credential", [None, b""])
def test_a_message_without_a_credential_is_neither_signed_nor_of_a_session(credential: bytes | None) -> None:
    message = replace(_message(), credential=credential)
    with pytest.raises(Unsigned):
        verify(message, RSA_PUBLIC)
    with pytest.raises(Unsigned):
        verify_mac(message, SESSION_KEY)


def test_a_mac_is_no_signature_and_a_signature_no_mac() -> None:
    with pytest.raises(BadSignature):
        verify(mac(_message(), SESSION_KEY, 1), RSA_PUBLIC)
    with pytest.raises(Unsigned):
        verify_mac(sign(_message(), admin_key()), SESSION_KEY)


def test_an_old_name_of_signatures_is_read() -> None:
    signed = sign(_message(), dsa_key())
    old = replace(credential_of(signed), kind=OLD_SIGNED)
    verify(replace(signed, credential=old.encode()), DSA_PUBLIC)


def test_a_signature_by_another_key_or_of_an_unaccepted_hash_is_refused() -> None:
    signed = sign(_message(), admin_key())
    with pytest.raises(BadSignature):
        verify(signed, PublicKey.of_rsa(toy_key().public_key()))
    with pytest.raises(BadSignature):
        verify(signed, DSA_PUBLIC)
    with pytest.raises(BadSignature):
        verify(signed, PublicKey(b"DH_PUB_KEY", (2, 23, 5)))
    md5 = replace(credential_of(signed), algorithm="MD5")
    with pytest.raises(BadSignature):
        verify(replace(signed, credential=md5.encode()), RSA_PUBLIC)


@pytest.mark.parametrize(
    "numbers",
    [
        (65537, (1 << MAX_KEY_BITS) + 1),
        ((1 << 2047) + 1, RSA_PUBLIC.numbers[1]),
        (0, 0),
        (2, 15),
        (65537, 4),
    ],
    ids=["too many bits", "a long exponent", "zeros", "an even exponent", "no modulus"],
)
def test_a_key_that_costs_too_much_or_is_none_verifies_nothing(numbers: tuple[int, int]) -> None:
    with pytest.raises(BadSignature):
        verify(sign(_message(), admin_key()), PublicKey(b"RSA_PUB_KEY", numbers))


def test_dsa_numbers_that_make_no_key_verify_nothing() -> None:
    q, p, g, y = DSA_PUBLIC.numbers
    for numbers in ((0, 0, 0, 0), (q, p, 1, y), (q, p, g, 0), (q, p, p, y), (q + 1, p, g, y)):
        with pytest.raises(BadSignature):
            verify(sign(_message(), dsa_key()), PublicKey(b"DSA_PUB_KEY", numbers))


def test_a_credential_cut_anywhere_or_with_octets_behind_it_is_refused() -> None:
    octets = Credential(kind=SIGNED, algorithm="SHA-256", signature=b"signature").encode()
    assert Credential.decode(octets).encode() == octets
    for cut in range(len(octets)):
        with pytest.raises(WireError):
            Credential.decode(octets[:cut])
    with pytest.raises(WireError):
        Credential.decode(octets + b"\0")
