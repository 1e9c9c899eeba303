"""Private-key files: every scheme that deployed software wrote, and files that are none."""

import json
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.dsa import DSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from protocol.errors import UnreadableKey
from protocol.private_key import (
    MAX_FILE_OCTETS,
    MAX_ITERATIONS,
    decode_private_key,
    encode_private_key,
    is_encrypted,
)
from protocol.signature import PrivateKey
from protocol.valuetypes.hs_pubkey import encode_number
from protocol.wire import Writer
from tests.support.keys import admin_key, dsa_key, toy_key
from tests.support.vectors import VECTORS, keys

FILES: Final[dict[str, Any]] = json.loads((VECTORS / "private_keys.json").read_text(encoding="utf-8"))
PASSPHRASE: Final = bytes.fromhex(FILES["passphrase"])
ENTROPY: Final = bytes(range(32))


def _numbers(key: PrivateKey) -> object:
    return key.private_numbers()


@pytest.mark.parametrize("scheme", ["0", "1", "2", "3", "4", "4 plain"])
def test_a_file_of_every_scheme_is_read(scheme: str) -> None:
    octets = bytes.fromhex(FILES[scheme])
    assert is_encrypted(octets) is (scheme != "1")
    key = decode_private_key(octets, PASSPHRASE)
    assert isinstance(key, DSAPrivateKey)
    assert _numbers(key) == _numbers(dsa_key())


@pytest.mark.parametrize("scheme", ["0", "2", "3", "4"])
@pytest.mark.parametrize("passphrase", [b"", b"passphrase"])
def test_another_passphrase_or_none_opens_nothing(scheme: str, passphrase: bytes) -> None:
    with pytest.raises(UnreadableKey):
        decode_private_key(bytes.fromhex(FILES[scheme]), passphrase)


def test_the_key_file_of_the_recorded_administrator_is_read_and_written_octet_for_octet() -> None:
    octets = bytes.fromhex(keys()["admpriv_bin_hex"])
    key = decode_private_key(octets)
    assert isinstance(key, RSAPrivateKey)
    assert _numbers(key) == _numbers(admin_key())
    assert encode_private_key(key) == octets


@pytest.mark.parametrize("key", [admin_key(), dsa_key()], ids=["RSA", "DSA"])
def test_a_key_is_written_clear_or_encrypted_and_read_again(key: PrivateKey) -> None:
    assert _numbers(decode_private_key(encode_private_key(key))) == _numbers(key)
    encrypted = encode_private_key(key, PASSPHRASE, ENTROPY)
    assert encrypted[:4] == b"\0\0\0\4"
    assert _numbers(decode_private_key(encrypted, PASSPHRASE)) == _numbers(key)
    with pytest.raises(UnreadableKey):
        decode_private_key(encrypted, b"another")


def test_an_rsa_key_of_two_numbers_is_completed() -> None:
    numbers = admin_key().private_numbers()
    octets = _file(b"RSA_PRIV_KEY", numbers.public_numbers.n, numbers.d)
    read = decode_private_key(octets)
    assert read.public_key() == admin_key().public_key()


def _file(name: bytes, *numbers: int) -> bytes:
    writer = Writer().u32(1).counted(name)
    for number in numbers:
        writer.counted(encode_number(number))
    return writer.octets()


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\0\0\0\5",
        b"\0\0\0\1",
        b"\0\0\0\2",
        b"-----BEGIN PRIVATE KEY-----",
        _file(b"EC_PRIV_KEY", 1),
        _file(b"RSA_PRIV_KEY", 0, 0),
        _file(b"RSA_PRIV_KEY", 15, 3),
        _file(b"RSA_PRIVCRT_KEY", 15, 3, 3, 3, 5, 1, 3, 2),
        _file(b"DSA_PRIV_KEY", 0, 0, 0, 0),
        _file(b"DSA_PRIV_KEY", 2, 23, 11, 4),
        encode_private_key(toy_key()),
        bytes(MAX_FILE_OCTETS + 1),
    ],
    ids=[
        "nothing", "scheme 5", "no key", "no IV", "PEM", "another kind", "zeros", "small", "small CRT", "DSA zeros",
        "small DSA", "512 bits", "too long",
    ],
)  # fmt: skip
def test_a_file_that_holds_no_key_is_refused(octets: bytes) -> None:
    with pytest.raises(UnreadableKey):
        decode_private_key(octets, PASSPHRASE)


@pytest.mark.parametrize("scheme", ["1", "4"])
def test_a_file_cut_anywhere_is_refused(scheme: str) -> None:
    octets = bytes.fromhex(FILES[scheme])
    for cut in range(0, len(octets), 1 if scheme == "1" else 37):
        with pytest.raises(UnreadableKey):
            decode_private_key(octets[:cut], PASSPHRASE)


@pytest.mark.parametrize(
    ("iterations", "key_bits"), [(0, 128), (MAX_ITERATIONS + 1, 128), (1, 0), (1, 2**32 - 1)]
)
def test_a_file_that_would_cost_too_much_is_refused(iterations: int, key_bits: int) -> None:
    octets = bytes.fromhex(FILES["4"])
    numbers = Writer().u32(iterations).u32(key_bits).octets()
    with pytest.raises(UnreadableKey):
        decode_private_key(octets[:24] + numbers + octets[32:], PASSPHRASE)
