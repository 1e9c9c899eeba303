"""Server keys for nodes of tests: making one takes a while, so the n-th nodes of all tests share one."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from protocol.runtime.server_key import load_server_key, make_server_key
from registry.secret_files import write_secret_file


def give_server_key(path: Path, number: int) -> None:
    """Write the key of the n-th nodes where a node will look for its own."""
    write_secret_file(path, _made(number)[1])


def server_key(number: int) -> RSAPrivateKey:
    """Return the key of the n-th nodes."""
    return _made(number)[0]


@cache
def _made(number: int) -> tuple[RSAPrivateKey, bytes]:
    with TemporaryDirectory(prefix="handlegrid-key-") as directory:
        path = Path(directory, f"{number}.key")
        make_server_key(path)
        return load_server_key(path), path.read_bytes()
