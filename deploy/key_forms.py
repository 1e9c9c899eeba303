"""Keys in the forms in which people keep them: told apart, read and written.

Private keys: the file of deployed Handle software, PKCS #8, PKCS #1, JSON web key. Public keys: the data of HS_PUBKEY,
SubjectPublicKeyInfo, JSON web key, and a whole value for a record. Source: PROTOCOL.md §2.8, §8.4, RFC 7517.
"""

import base64
import hashlib
import json
import os
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.dsa import DSAPrivateKey, DSAPublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPrivateNumbers,
    RSAPublicKey,
    RSAPublicNumbers,
)
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from protocol.errors import InvalidValue, UnreadableKey, WireError
from protocol.jsonform import data_from_json, value_to_json
from protocol.private_key import (
    ENTROPY_OCTETS,
    MAX_FILE_OCTETS,
    MIN_KEY_BITS,
    Scheme,
    decode_private_key,
    encode_private_key,
    is_encrypted,
)
from protocol.signature import MAX_KEY_BITS, PrivateKey
from protocol.value import HandleValue
from protocol.valuetypes import PublicKey
from protocol.valuetypes.hs_pubkey import DSA, RSA

Passphrase = Callable[[], bytes]
"""Asked once, for a key that is encrypted."""
AnyKey = PrivateKey | RSAPublicKey | DSAPublicKey

_JWK_PRIVATE: Final = ("d", "p", "q", "dp", "dq", "qi")
_JWK_NUMBER_MAX: Final = 4_096  # base64url characters: 24576 bits
_NO_KEY: Final = (
    "neither a private nor a public key in a form that is known: Handle file or blob, PEM, JSON web key"
)


class PrivateForm(StrEnum):
    """How a private key is kept."""

    HANDLE = "handle"
    PKCS8 = "pkcs8"
    PKCS1 = "pkcs1"
    JWK = "jwk"


class PublicForm(StrEnum):
    """How a public key is kept."""

    BLOB = "blob"
    SPKI = "spki"
    JWK = "jwk-public"
    VALUE = "value"


ENCRYPTED_FORMS: Final = frozenset({PrivateForm.HANDLE, PrivateForm.PKCS8})
"""Those that a passphrase protects well: PKCS #1 derives keys of it by MD5."""


def read_key(octets: bytes, passphrase: Passphrase) -> AnyKey:
    """The key in any form. Raises UnreadableKey, whose text tells no octet of it."""
    if len(octets) > MAX_FILE_OCTETS:
        raise UnreadableKey(f"a key file of more than {MAX_FILE_OCTETS} octets")
    start = octets.lstrip()[:11]
    if start.startswith(b"-----BEGIN "):
        return _checked(_read_pem(octets, passphrase))
    if start.startswith(b"{"):
        return _checked(_read_json(octets))
    if octets[:4] in {scheme.to_bytes(4, "big") for scheme in Scheme}:
        return decode_private_key(octets, passphrase() if is_encrypted(octets) else b"")
    try:
        return _checked(_of_blob(octets))
    except WireError:
        raise UnreadableKey(_NO_KEY) from None


def read_private_key(octets: bytes, passphrase: Passphrase) -> PrivateKey:
    """The private key in any form. Raises UnreadableKey, for a public key too."""
    key = read_key(octets, passphrase)
    if not isinstance(key, RSAPrivateKey | DSAPrivateKey):
        raise UnreadableKey("a public key, where the private one is needed")
    return key


def public_half(key: AnyKey) -> RSAPublicKey | DSAPublicKey:
    """The public key of a private one; a public one itself."""
    return key.public_key() if isinstance(key, RSAPrivateKey | DSAPrivateKey) else key


def write_private(key: PrivateKey, form: PrivateForm, passphrase: bytes = b"") -> bytes:
    """A private key in this form, encrypted when there is a passphrase. Raises InvalidValue for a form without that."""
    if passphrase and form not in ENCRYPTED_FORMS:
        raise InvalidValue(f"the form {form} has no good encryption: choose handle or pkcs8")
    if form is PrivateForm.HANDLE:
        return encode_private_key(key, passphrase, os.urandom(ENTROPY_OCTETS))
    if form is PrivateForm.JWK:
        return _json(_private_jwk(key))
    encryption: KeySerializationEncryption = (
        BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    )
    inner = PrivateFormat.PKCS8 if form is PrivateForm.PKCS8 else PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(Encoding.PEM, inner, encryption)


def write_public(key: AnyKey, form: PublicForm, *, index: int) -> bytes:
    """The public half in this form. index: of the value, in the form of one."""
    match form:
        case PublicForm.BLOB:
            return blob(key)
        case PublicForm.SPKI:
            return public_half(key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        case PublicForm.JWK:
            return _json(_public_jwk(key))
        case PublicForm.VALUE:
            return _json(value_to_json(HandleValue(index=index, type="HS_PUBKEY", data=blob(key))))


def blob(key: AnyKey) -> bytes:
    """The data of HS_PUBKEY."""
    public = public_half(key)
    content = PublicKey.of_rsa(public) if isinstance(public, RSAPublicKey) else PublicKey.of_dsa(public)
    return content.encode()


def algorithm(key: AnyKey) -> str:
    """RSA or DSA."""
    return "RSA" if isinstance(key, RSAPrivateKey | RSAPublicKey) else "DSA"


def fingerprint(key: AnyKey) -> str:
    """SHA-256 of the SubjectPublicKeyInfo, in hexadecimal, as other tools show it."""
    octets = public_half(key).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(octets).hexdigest()


def blob_fingerprint(key: AnyKey) -> str:
    """SHA-256 of the data of HS_PUBKEY, in hexadecimal: what `sha256sum pubkey.bin` says of the file of a server."""
    return hashlib.sha256(blob(key)).hexdigest()


def _checked(key: AnyKey) -> AnyKey:
    """Raises UnreadableKey for a key that is too short to protect anything, or too long to compute with."""
    if not MIN_KEY_BITS <= key.key_size <= MAX_KEY_BITS:
        raise UnreadableKey(f"a key of {key.key_size} bits; {MIN_KEY_BITS} to {MAX_KEY_BITS} are of use")
    return key


def _read_pem(octets: bytes, passphrase: Passphrase) -> AnyKey:
    key: object
    try:
        if b"PRIVATE KEY-----" not in octets:
            key = serialization.load_pem_public_key(octets)
        elif b"ENCRYPTED" in octets:
            key = serialization.load_pem_private_key(octets, passphrase())
        else:
            key = serialization.load_pem_private_key(octets, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UnreadableKey("the PEM file is damaged, or encrypted with another passphrase") from None
    if not isinstance(key, RSAPrivateKey | DSAPrivateKey | RSAPublicKey | DSAPublicKey):
        raise UnreadableKey("the Handle System knows RSA and DSA keys alone")
    return key


def _read_json(octets: bytes) -> AnyKey:
    try:
        form: Any = json.loads(octets)
        if "kty" not in form:
            return _of_blob(data_from_json(form.get("data", form)))
        if form["kty"] == "RSA" and "d" in form:
            return _private_of_jwk(form)
        if "d" in form or "x" in form:
            raise UnreadableKey("a private JSON web key of another kind than RSA")
        return _of_blob(data_from_json({"format": "key", "value": form}))
    except (ValueError, KeyError, RecursionError, WireError, InvalidValue):
        raise UnreadableKey("no JSON web key, and no value of a record that holds a key") from None


def _of_blob(octets: bytes) -> RSAPublicKey | DSAPublicKey:
    key = PublicKey.decode(octets)
    try:
        if key.algorithm == RSA:
            return key.rsa()
        if key.algorithm == DSA:
            return key.dsa()
    except InvalidValue as error:
        raise UnreadableKey(str(error)) from None
    raise UnreadableKey("a key for key exchange, which signs nothing")


def _private_of_jwk(form: dict[str, Any]) -> RSAPrivateKey:
    public = PublicKey.decode(data_from_json({"format": "key", "value": form}))
    e, n = public.numbers
    d, p, q, dp, dq, qi = (_number(form[name]) for name in _JWK_PRIVATE)
    return RSAPrivateNumbers(p, q, d, dp, dq, qi, RSAPublicNumbers(e, n)).private_key()


def _number(form: object) -> int:
    """A number of a JSON web key. Raises ValueError."""
    if not isinstance(form, str) or len(form) > _JWK_NUMBER_MAX:
        raise ValueError("no number of a key")
    return int.from_bytes(base64.urlsafe_b64decode(form + "=="), "big")


def _public_jwk(key: AnyKey) -> dict[str, Any]:
    form = value_to_json(HandleValue(index=1, type="HS_PUBKEY", data=blob(key)))
    jwk: dict[str, Any] = form["data"]["value"]
    return jwk


def _private_jwk(key: PrivateKey) -> dict[str, Any]:
    if not isinstance(key, RSAPrivateKey):
        raise InvalidValue("JSON web keys know no private DSA key: choose handle, pkcs8 or pkcs1")
    numbers = key.private_numbers()
    values = (numbers.d, numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp)
    private = {name: _text(number) for name, number in zip(_JWK_PRIVATE, values, strict=True)}
    return _public_jwk(key) | private


def _text(number: int) -> str:
    """A number as JSON web keys have it."""
    octets = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _json(form: dict[str, Any]) -> bytes:
    return json.dumps(form, indent=2).encode() + b"\n"
