"""Sealing of values that the public may not read: AES-GCM over their data, from the first row on.

A sealed value keeps its structure (index, type, permissions, TTL) readable; its data become
key number (1 octet), nonce (12), ciphertext and tag (16). The associated data are the record's key and the value's
index, so that sealed data moved to another handle or index do not open.
"""

import hmac
import os
import secrets
import stat
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocol.errors import HandleError, SettingsError
from protocol.value import ValueList
from registry.record import data_extent

KEY_OCTETS: Final = 32  # AES-256
NONCE_OCTETS: Final = 12  # what GCM is defined for; random, so one key seals up to 2^32 values safely
TAG_OCTETS: Final = 16
KEY_NUMBER: Final = 1  # the first key; a rotation would count up
_U32: Final = struct.Struct(">I")
_HEAD_OCTETS: Final = 1 + NONCE_OCTETS
_DIGEST_KEY: Final = b"handlegrid digest key"  # what HKDF derives from the node key under this name


class SealBroken(HandleError):
    """Stored restricted data do not open: another node key, or a row that was tampered with."""


class Sealer:
    """Seals and opens the data of restricted values with the node key."""

    def __init__(self, node_key: bytes) -> None:
        assert len(node_key) == KEY_OCTETS
        self._cipher = AESGCM(node_key)
        derivation = HKDF(algorithm=SHA256(), length=KEY_OCTETS, salt=None, info=_DIGEST_KEY)
        self._digest_key = derivation.derive(node_key)

    def seal(self, key: bytes, values: Iterable[bytes]) -> ValueList:
        """Seal the data of values in wire form; key: the record's storage key."""
        sealed = [self._seal_value(key, value) for value in values]
        return ValueList(b"".join(sealed), len(sealed))

    def open(self, key: bytes, values: ValueList) -> list[bytes]:
        """Open what seal gave for the same key. Raises SealBroken."""
        return [self._open_value(key, value) for value in values.slices()]

    def seal_octets(self, purpose: bytes, clear: bytes) -> bytes:
        """Seal octets that are no value; purpose is authenticated with them."""
        nonce = secrets.token_bytes(NONCE_OCTETS)
        return bytes((KEY_NUMBER,)) + nonce + self._cipher.encrypt(nonce, clear, purpose)

    def open_octets(self, purpose: bytes, sealed: bytes) -> bytes:
        """Open what seal_octets gave for the same purpose. Raises SealBroken."""
        if len(sealed) < _HEAD_OCTETS + TAG_OCTETS or sealed[0] != KEY_NUMBER:
            raise SealBroken("sealed data have an unknown form; the row is damaged or of a newer version")
        try:
            return self._cipher.decrypt(sealed[1:_HEAD_OCTETS], sealed[_HEAD_OCTETS:], purpose)
        except InvalidTag:
            raise SealBroken(
                "sealed data do not open with this node key; restore the key file of this node"
            ) from None

    def digest(self, purpose: bytes, clear: bytes) -> bytes:
        """A keyed digest, 32 octets, by which octets are found again that are kept sealed or not at all.

        Without the node key nobody can try out guesses. purpose: digests of different purposes never compare.
        """
        framed = len(purpose).to_bytes(2, "big") + purpose + clear
        return hmac.digest(self._digest_key, framed, "sha256")

    def _seal_value(self, key: bytes, value: bytes) -> bytes:
        start, end = data_extent(value)
        return _with_data(value, start, end, self.seal_octets(key + value[:4], value[start:end]))

    def _open_value(self, key: bytes, value: bytes) -> bytes:
        start, end = data_extent(value)
        return _with_data(value, start, end, self.open_octets(key + value[:4], value[start:end]))


def _with_data(value: bytes, start: int, end: int, data: bytes) -> bytes:
    return value[: start - 4] + _U32.pack(len(data)) + data + value[end:]


def make_node_key(path: Path) -> bytes:
    """Load the node key, or make it (mode 0600) when the file does not exist. Raises SettingsError."""
    if path.exists():
        return load_node_key(path)
    node_key = secrets.token_bytes(KEY_OCTETS)
    write_secret_file(path, node_key)
    return node_key


def load_node_key(path: Path) -> bytes:
    """Load the node key. Raises SettingsError when the file is missing, of another size, or open to other users."""
    try:
        mode = path.stat().st_mode
        node_key = path.read_bytes()
    except OSError as error:
        raise SettingsError([f"node_key_file: cannot read {path}: {error.strerror}"]) from None
    if len(node_key) != KEY_OCTETS:
        raise SettingsError(
            [f"node_key_file: {path} holds {len(node_key)} octets; a node key has {KEY_OCTETS}"]
        )
    if stat.S_IMODE(mode) & 0o077:
        raise SettingsError([f"node_key_file: {path} is open to other users; run chmod 600 {path}"])
    return node_key


def make_secret(path: Path) -> bytes:
    """Load a secret of printable text, or make one of 256 random bits (mode 0600). Raises SettingsError."""
    if not path.exists():
        write_secret_file(path, secrets.token_urlsafe(KEY_OCTETS).encode() + b"\n")
    try:
        return path.read_bytes().strip()
    except OSError as error:
        raise SettingsError([f"cannot read {path}: {error.strerror}"]) from None


def write_secret_file(path: Path, octets: bytes) -> None:
    """Write a new file that only we can read, durable before it appears under its name. Raises SettingsError."""
    fresh = path.with_name(f"{path.name}.new-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise SettingsError([f"cannot write {path}: {error.strerror}"]) from None
