"""Directories and ports that tests take for a while."""

import random
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Final

PORTS: Final = range(12_000, 30_000)
"""Below the range from which the kernel gives ports to outgoing connections."""

_FRESH_PORTS: Final = cycle(random.sample(PORTS, len(PORTS)))
"""Drawn once, since property tests make `random` repeat itself, and two listeners of a test need two ports."""


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """Make a directory that other users may enter, and delete it afterwards."""
    path = Path(tempfile.mkdtemp(prefix="handlegrid-test-", dir="/tmp"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def free_port(*addresses: str) -> int:
    """Return a port that is free on all the addresses, for UDP and TCP, and that was given to nobody before."""
    for port in islice(_FRESH_PORTS, 100):
        try:
            _bind_all(addresses or ("127.0.0.1",), port)
        except OSError:
            continue
        return port
    raise AssertionError("no free port")


def _bind_all(addresses: tuple[str, ...], port: int) -> None:
    with ExitStack() as stack:
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                stack.enter_context(socket.socket(family, kind)).bind((address, port))
