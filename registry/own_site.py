"""What a node's own site record needs beside its settings: the server key and the next serial number."""

from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from protocol.errors import SettingsError
from protocol.valuetypes import PublicKey
from registry.secret_files import write_secret_file

RSA_BITS: Final = 2_048  # what deployed clients verify
SERIAL_MAX: Final = 0x7FFF  # deployed clients compare serial numbers as signed 16-bit integers


def make_server_key(path: Path) -> PublicKey:
    """The public half of the node's RSA key; the file (PEM, PKCS #8, mode 0600) is made when there is none.

    Raises SettingsError for a file that is no such key.
    """
    if path.exists():
        return PublicKey.of_rsa(load_server_key(path).public_key())
    key = rsa.generate_private_key(public_exponent=65_537, key_size=RSA_BITS)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_secret_file(path, pem)
    return PublicKey.of_rsa(key.public_key())


def load_server_key(path: Path) -> rsa.RSAPrivateKey:
    """The node's RSA key, for signing. Raises SettingsError for a file that is no such key."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError([f"cannot load the server key {path}: {error}"]) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SettingsError([f"the server key {path} is no RSA key"])
    return key


def next_serial(serial: int) -> int:
    """The serial number after this one; 1 follows the largest."""
    return serial + 1 if serial < SERIAL_MAX else 1
