"""Directories and ports that tests take for a while."""

import os
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

MEMORY: Final = Path("/dev/shm")
MEMORY_OCTETS_MIN: Final = 4 * 1024**3
"""What must be free there; a Postgres takes 60 million octets."""


def _own_ports() -> range:
    """The ports of this process, where several run tests side by side."""
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return PORTS[number % count :: count]


_FRESH_PORTS: Final = cycle(random.sample(_own_ports(), len(_own_ports())))
"""Drawn once, since property tests make `random` repeat itself, and two listeners of a test need two ports."""


def new_directory(what: str = "test") -> Path:
    """Make a directory that other users may enter, since as root Postgres runs as another one; who asks deletes it.

    It lies in memory where there is room: a database of a thousand files is made and deleted for many tests. What a
    killed process has written survives there as on a disk.
    """
    path = Path(tempfile.mkdtemp(prefix=f"handlegrid-{what}-", dir=_file_system()))
    path.chmod(0o755)
    return path


def _file_system() -> Path:
    try:
        free = shutil.disk_usage(MEMORY).free
    except OSError:
        return Path("/tmp")
    is_open = os.access(MEMORY, os.W_OK)
    return MEMORY if is_open and free >= MEMORY_OCTETS_MIN else Path("/tmp")


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """Make a directory that other users may enter, and delete it afterwards."""
    path = new_directory()
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
