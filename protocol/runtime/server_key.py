"""The node's own RSA key, whose public half its site record publishes: made at the first start, loaded ever after."""

import contextlib
import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from protocol.errors import SettingsError
from protocol.valuetypes import PublicKey

RSA_BITS: Final = 2_048  # what deployed clients verify
PARSED_MAX: Final = 8  # one node has one key; whoever runs several nodes in one process has as many


def make_server_key(path: Path) -> rsa.RSAPrivateKey:
    """The node's key; the file (PEM, PKCS #8, mode 0600) is made when there is none.

    Of several processes that make it at once, all get the key of the one that was first. Raises SettingsError for a
    file that is no such key, and where it cannot be written.
    """
    if not path.exists():
        key = rsa.generate_private_key(public_exponent=65_537, key_size=RSA_BITS)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _write_once(path, pem)
    return load_server_key(path)


def load_server_key(path: Path) -> rsa.RSAPrivateKey:
    """The node's key, for signing. Raises SettingsError for a file that is no such key."""
    try:
        key = _parse(path.read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError([f"cannot load the server key {path}: {error}"]) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SettingsError([f"the server key {path} is no RSA key"])
    return key


def public_key_of(key: rsa.RSAPrivateKey) -> bytes:
    """The public half as site records hold it."""
    return PublicKey.of_rsa(key.public_key()).encode()


@lru_cache(maxsize=PARSED_MAX)
def _parse(pem: bytes) -> PrivateKeyTypes:
    """The key of these octets; its checking takes 40 ms, and a node that starts loads its key three times."""
    return serialization.load_pem_private_key(pem, password=None)


def _write_once(path: Path, octets: bytes) -> None:
    """Write a file that only we can read, durable before it appears under its name; another's stays as it is."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.") as file:  # mode 0600
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(file.name, path)
    except OSError as error:
        raise SettingsError([f"cannot write the server key {path}: {error.strerror}"]) from None
