"""Sealing of values that the public may not read: AES-GCM over their data, from the first row on.

A sealed value keeps its structure (index, type, permissions, TTL) readable; its data become
key number (1 octet), nonce (12), ciphertext and tag (16). The associated data are the record's key and the value's
index, so that sealed data moved to another handle or index do not open. All values of a row are sealed with one key.
"""

import hmac
import secrets
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.errors import HandleError
from protocol.value import ValueList
from registry.node_keys import KeyFile, Keys, NodeKeys
from registry.record import data_extent

NONCE_OCTETS: Final = 12  # what GCM is defined for; random, so one key seals up to 2^32 values safely
TAG_OCTETS: Final = 16
_U32: Final = struct.Struct(">I")
_HEAD_OCTETS: Final = 1 + NONCE_OCTETS


class SealBroken(HandleError):
    """Stored restricted data do not open: another node key, or a row that was tampered with."""


class Sealer:
    """Seals and opens the data of restricted values with the keys of a node."""

    def __init__(self, keys: Keys) -> None:
        self._source = keys
        self._keys: NodeKeys | None = None
        self._ciphers: dict[int, AESGCM] = {}

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """A sealer that follows the rotations of a key file. Raises SettingsError."""
        return cls(KeyFile(path))

    def seal(self, key: bytes, values: Iterable[bytes]) -> ValueList:
        """Seal the data of values in wire form; key: the record's storage key."""
        number, cipher = self._sealing()
        sealed = []
        for value in values:
            start, end = data_extent(value)
            data = _seal(number, cipher, key + value[:4], value[start:end])
            sealed.append(_with_data(value, start, end, data))
        return ValueList(b"".join(sealed), len(sealed))

    def open(self, key: bytes, values: ValueList) -> list[bytes]:
        """Open what seal gave for the same key. Raises SealBroken."""
        return [self._open_value(key, value) for value in values.slices()]

    def seal_octets(self, purpose: bytes, clear: bytes) -> bytes:
        """Seal octets that are no value; purpose is authenticated with them."""
        return _seal(*self._sealing(), purpose, clear)

    def open_octets(self, purpose: bytes, sealed: bytes) -> bytes:
        """Open what seal_octets gave for the same purpose. Raises SealBroken."""
        if len(sealed) < _HEAD_OCTETS + TAG_OCTETS:
            raise SealBroken("sealed data have an unknown form; the row is damaged")
        cipher = self._ciphers.get(sealed[0]) or self._cipher_in_file(sealed[0])
        try:
            return cipher.decrypt(sealed[1:_HEAD_OCTETS], sealed[_HEAD_OCTETS:], purpose)
        except InvalidTag:
            raise SealBroken(
                "sealed data do not open with this node key; restore the key file of this node"
            ) from None

    def digest(self, purpose: bytes, clear: bytes) -> bytes:
        """A keyed digest, 32 octets, by which octets are found again that are kept sealed or not at all.

        Without the node keys nobody can try out guesses; a rotation changes no digest. purpose: digests of different
        purposes never compare.
        """
        framed = len(purpose).to_bytes(2, "big") + purpose + clear
        return hmac.digest(self._source.current().digest_key, framed, "sha256")

    def _sealing(self) -> tuple[int, AESGCM]:
        """The key that seals now: its number and cipher."""
        keys = self._source.current()
        self._take(keys)
        return keys.seals, self._ciphers[keys.seals]

    def _cipher_in_file(self, number: int) -> AESGCM:
        """The cipher of a key that was not known until now: another process has rotated. Raises SealBroken."""
        self._take(self._source.look())
        cipher = self._ciphers.get(number)
        if cipher is None:
            raise SealBroken(
                f"sealed data name key {number}, which the node's key file lacks; restore the key file of this node"
            )
        return cipher

    def _take(self, keys: NodeKeys) -> None:
        if keys is not self._keys:
            self._keys = keys
            self._ciphers = {number: AESGCM(key) for number, key in keys.keys.items()}

    def _open_value(self, key: bytes, value: bytes) -> bytes:
        start, end = data_extent(value)
        return _with_data(value, start, end, self.open_octets(key + value[:4], value[start:end]))


def _seal(number: int, cipher: AESGCM, purpose: bytes, clear: bytes) -> bytes:
    nonce = secrets.token_bytes(NONCE_OCTETS)
    return bytes((number,)) + nonce + cipher.encrypt(nonce, clear, purpose)


def _with_data(value: bytes, start: int, end: int, data: bytes) -> bytes:
    return value[: start - 4] + _U32.pack(len(data)) + data + value[end:]
