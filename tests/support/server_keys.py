"""Server keys for nodes of tests: making one takes a while, so the n-th nodes of all tests share one."""

from functools import cache
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from protocol.runtime.server_key import load_server_key, make_server_key
from registry.secret_files import write_secret_file

_turns: Final = cycle(range(1, 5))
"""Nodes of one test differ in their keys: no test starts more than four without numbers of its own."""


def give_some_server_key(path: Path) -> None:
    """Write a key where a node will look for its own, unless it has one; its neighbours' are others."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        give_server_key(path, next(_turns))


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
