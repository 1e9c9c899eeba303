"""The node's own site record: addresses, interfaces and public key, told to parents and to whoever asks.

Pure but for the key file.
"""

from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from protocol.errors import SettingsError
from protocol.site import Interface, InterfaceProtocol, Server, Site
from protocol.valuetypes import PublicKey
from registry.seal import write_secret_file

RSA_BITS: Final = 2_048  # what deployed clients verify
SERIAL_MAX: Final = 0x7FFF  # deployed clients compare serial numbers as signed 16-bit integers
SERVER_ID: Final = 1


def make_server_key(path: Path) -> PublicKey:
    """The public half of the node's RSA key; the file (PEM, PKCS #8, mode 0600) is made when there is none.

    Raises SettingsError for a file that is no such key.
    """
    if path.exists():
        return _load_server_key(path)
    key = rsa.generate_private_key(public_exponent=65_537, key_size=RSA_BITS)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_secret_file(path, pem)
    return PublicKey.of_rsa(key.public_key())


def _load_server_key(path: Path) -> PublicKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError([f"cannot load the server key {path}: {error}"]) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SettingsError([f"the server key {path} is no RSA key"])
    return PublicKey.of_rsa(key.public_key())


def describe_site(
    *,
    addresses: tuple[str, ...],
    handle_port: int,
    http_port: int,
    tls: bool,
    public_key: PublicKey,
    description: str = "",
    serial: int = 1,
) -> Site:
    """The record of a primary site with one server.

    addresses: literal; the first is the server's, a second one becomes the attribute alt_addr. A port of 0 means no
    such interface. TCP stands first. Only HTTP takes administration.
    """
    attributes = [(b"desc", description.encode())] if description else []
    if len(addresses) > 1:
        attributes.append((b"alt_addr", addresses[1].encode()))
    server = Server(
        server_id=SERVER_ID,
        address=Server.pack_address(ip_address(addresses[0])),
        public_key=public_key.encode(),
        interfaces=_interfaces(handle_port, http_port, tls=tls),
    )
    return Site(serial=serial, attributes=tuple(attributes), servers=(server,))


def next_serial(serial: int) -> int:
    """The serial number after this one; 1 follows the largest."""
    return serial + 1 if serial < SERIAL_MAX else 1


def _interfaces(handle_port: int, http_port: int, *, tls: bool) -> tuple[Interface, ...]:
    kinds = [
        (InterfaceProtocol.TCP, handle_port, False),
        (InterfaceProtocol.UDP, handle_port, False),
        (InterfaceProtocol.HTTP, http_port, True),
        (InterfaceProtocol.HTTPS, http_port if tls else 0, True),
    ]
    return tuple(
        Interface(admin=admin, query=True, protocol=protocol, port=port)
        for protocol, port, admin in kinds
        if port
    )
