"""Signatures of octets: RSA with PKCS #1 v1.5 and DSA, their hashes called by the names that travel.

Source: PROTOCOL.md §3.3, §5.2.
"""

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.dsa import DSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from protocol.errors import BadSignature, InvalidValue
from protocol.message import Version
from protocol.valuetypes.hs_pubkey import DSA, RSA, PublicKey

PrivateKey = RSAPrivateKey | DSAPrivateKey
"""The keys that deployed peers can check."""

MAX_SIGNATURE_OCTETS: Final = 1_024  # by the largest key that is checked
MAX_NAME_OCTETS: Final = 64  # of a hash or a kind of signature; the longest has twelve
MAX_KEY_BITS: Final = 8_192  # checking with 8192 bits takes half a millisecond, and grows with the square
MAX_EXPONENT_BITS: Final = 33  # 65537 and the like; a long exponent makes a check a hundred times as long
SHA1: Final = "SHA1"
SHA256: Final = "SHA-256"

_HASHES: Final[dict[str, type[hashes.SHA1 | hashes.SHA256]]] = {
    SHA1: hashes.SHA1,
    "SHA-1": hashes.SHA1,
    SHA256: hashes.SHA256,
    "SHA256": hashes.SHA256,
}
"""MD5 stands in no list: whoever wants can make two texts of one MD5."""
HASH_NAMES: Final = frozenset(_HASHES)
_SHA256_SINCE: Final[Version] = (2, 7)
_SHA256_WITH_DSA_SINCE: Final[Version] = (2, 11)


def hash_name(key: PrivateKey, version: Version) -> str:
    """The name of the hash that peers of this version expect with such a key."""
    since = _SHA256_WITH_DSA_SINCE if isinstance(key, DSAPrivateKey) else _SHA256_SINCE
    return SHA256 if version >= since else SHA1


def sign_octets(octets: bytes, key: PrivateKey, name: str) -> bytes:
    """The signature of octets, hashed with the hash of this name."""
    if isinstance(key, DSAPrivateKey):
        return key.sign(octets, _HASHES[name]())
    return key.sign(octets, PKCS1v15(), _HASHES[name]())


def check_signature(signature: bytes, octets: bytes, key: PublicKey, name: str) -> None:
    """Raises BadSignature unless it is this key's signature of the octets, hashed with the hash of this name.

    Also for a hash that is not accepted, and for a key of another kind or with numbers too large to compute with.
    """
    algorithm = _HASHES.get(name)
    if algorithm is None:
        raise BadSignature(f"a signature with the hash {name[:16]!r}, which is not accepted")
    if (
        len(signature) > MAX_SIGNATURE_OCTETS
        or max(number.bit_length() for number in key.numbers) > MAX_KEY_BITS
    ):
        raise BadSignature(f"a signature by a key of more than {MAX_KEY_BITS} bits")
    try:
        if key.algorithm == DSA:
            key.dsa().verify(signature, octets, algorithm())
        elif key.algorithm == RSA and key.numbers[0].bit_length() <= MAX_EXPONENT_BITS:
            key.rsa().verify(signature, octets, PKCS1v15(), algorithm())
        else:
            raise BadSignature("a signature by a key of a kind that is not checked")
    except InvalidSignature:
        raise BadSignature("the signature is not this key's, or not of these octets") from None
    except InvalidValue as error:
        raise BadSignature(str(error)) from None
