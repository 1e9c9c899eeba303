"""The node's own RSA key, which is the key of its site record: signing, and opening what was sealed for it.

A node is known by the SHA-256 of its public key as the site record holds it (key id, in hexadecimal).
"""

import hashlib
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.errors import InvalidValue, WireError
from protocol.runtime.server_key import load_server_key
from protocol.site import Site
from protocol.valuetypes import PublicKey

KEY_ID_CHARACTERS: Final = 64
CONTENT_KEY_OCTETS: Final = 32  # AES-256
NONCE_OCTETS: Final = 12
RSA_BITS_MIN: Final = 2_048
"""Keys of peers below this are refused: 1024 bits can be factored."""
RSA_BITS_MAX: Final = 8_192
"""A verification with a larger key takes milliseconds of everybody's time."""
_OAEP: Final = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)


class KeyUnusable(WireError):
    """A public key that cannot prove anything; the text says why."""


class SealUnreadable(WireError):
    """Sealed octets that do not open with our key."""


def key_id_of(public_key: bytes) -> str:
    """The id of a node: SHA-256 of its public key blob, in hexadecimal."""
    return hashlib.sha256(public_key).hexdigest()


def key_of_site(site: Site) -> bytes:
    """The public key blob of a node's site. Raises KeyUnusable unless all its servers name one and the same key."""
    keys = {server.public_key for server in site.servers}
    if len(keys) != 1 or keys == {b""}:
        raise KeyUnusable("the site record must name one public key, the same at each of its servers")
    (key,) = keys
    load_public_key(key)
    return key


def load_public_key(blob: bytes) -> rsa.RSAPublicKey:
    """The RSA key in a public key blob. Raises KeyUnusable for anything that cannot verify our signatures."""
    try:
        key = PublicKey.decode(blob).rsa()
    except (WireError, InvalidValue) as error:
        raise KeyUnusable(f"the public key of the site record cannot be used: {error}") from None
    if not RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
        raise KeyUnusable(
            f"the RSA key has {key.key_size} bits; {RSA_BITS_MIN} to {RSA_BITS_MAX} are accepted"
        )
    return key


def is_signed(public_key: bytes, signature: bytes, octets: bytes) -> bool:
    """Whether this key made this signature (RSASSA-PKCS1-v1_5 over SHA-256). Raises KeyUnusable."""
    try:
        load_public_key(public_key).verify(signature, octets, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """Octets that one node alone can read."""

    key: bytes
    """The content key, encrypted for the node (RSAES-OAEP with SHA-256)."""
    nonce: bytes
    octets: bytes
    """AES-256-GCM with its tag."""


def seal_for(public_key: bytes, purpose: bytes, clear: bytes) -> Sealed:
    """Seal octets for the node with this key; purpose is authenticated with them. Raises KeyUnusable."""
    content_key, nonce = secrets.token_bytes(CONTENT_KEY_OCTETS), secrets.token_bytes(NONCE_OCTETS)
    return Sealed(
        key=load_public_key(public_key).encrypt(content_key, _OAEP),
        nonce=nonce,
        octets=AESGCM(content_key).encrypt(nonce, clear, purpose),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeKey:
    """Our own key."""

    private: rsa.RSAPrivateKey = field(repr=False)
    public: bytes
    """The blob of our site record."""
    id: str

    @classmethod
    def load(cls, path: Path) -> Self:
        """Load the server key. Raises SettingsError for a file that is none."""
        return cls.of(load_server_key(path))

    @classmethod
    def of(cls, private: rsa.RSAPrivateKey) -> Self:
        """The node key that this RSA key makes."""
        public = PublicKey.of_rsa(private.public_key()).encode()
        return cls(private=private, public=public, id=key_id_of(public))

    def sign(self, octets: bytes) -> bytes:
        """A signature (RSASSA-PKCS1-v1_5 over SHA-256)."""
        return self.private.sign(octets, padding.PKCS1v15(), hashes.SHA256())

    def open(self, purpose: bytes, sealed: Sealed) -> bytes:
        """Open what seal_for made for us with the same purpose. Raises SealUnreadable."""
        try:
            content_key = self.private.decrypt(sealed.key, _OAEP)
            return AESGCM(content_key).decrypt(sealed.nonce, sealed.octets, purpose)
        except (ValueError, InvalidTag):
            raise SealUnreadable("what the peer sealed does not open with this node's key") from None
