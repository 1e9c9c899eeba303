"""Ports of a deployment: chosen free at the first start, kept from then on, replaced when somebody else took one.

A deployment takes a block of neighbouring ports, so that they are easy to tell apart and to remember. Blocks lie
below the range from which systems take the ports of outgoing connections.
"""

import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

ADDRESS: Final = "127.0.0.1"
FIRST_PORT: Final = 26_410
LAST_PORT: Final = 32_000  # Linux gives 32768 and above to outgoing connections
PORTS_PER_DAEMON: Final = 3
BLOCK: Final = 20


class NoFreePort(Exception):
    """Every port that the deployment may take is in use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where one daemon listens, on 127.0.0.1."""

    handle: int
    """UDP and TCP."""
    http: int
    admin: int
    """Metrics and health."""

    def numbers(self) -> tuple[int, int, int]:
        """All of them: handle, HTTP, admin."""
        return self.handle, self.http, self.admin


def is_free(port: int) -> bool:
    """Whether UDP and TCP of the port can be had right now."""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as tried:
            if kind == socket.SOCK_STREAM:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that just ended
            try:
                tried.bind((ADDRESS, port))
            except OSError:
                return False
    return True


def choose(daemons: Sequence[str], *, free: Callable[[int], bool] = is_free) -> dict[str, Ports]:
    """Ports for daemons that have none: the first block that is wholly free.

    Raises NoFreePort.
    """
    needed = len(daemons) * PORTS_PER_DAEMON
    assert needed <= BLOCK, daemons
    for first in range(FIRST_PORT, LAST_PORT - BLOCK, BLOCK):
        if all(free(port) for port in range(first, first + needed)):
            starts = range(first, first + needed, PORTS_PER_DAEMON)
            return {
                name: Ports(handle=at, http=at + 1, admin=at + 2)
                for name, at in zip(daemons, starts, strict=True)
            }
    raise NoFreePort(f"no {needed} neighbouring ports from {FIRST_PORT} to {LAST_PORT} are free")


def replace_taken(
    kept: dict[str, Ports], stopped: Iterable[str], *, free: Callable[[int], bool] = is_free
) -> dict[str, Ports]:
    """The ports of an earlier start, with another one for each that a stranger took meanwhile.

    stopped: the daemons that do not run; the ports of the others are in use by themselves. Raises NoFreePort.
    """
    used = {number for ports in kept.values() for number in ports.numbers()}
    chosen = dict(kept)
    for name in stopped:
        handle, http, admin = (
            number if free(number) else _take_next_free(used, free) for number in kept[name].numbers()
        )
        chosen[name] = Ports(handle=handle, http=http, admin=admin)
    return chosen


def _take_next_free(used: set[int], free: Callable[[int], bool]) -> int:
    for port in range(FIRST_PORT, LAST_PORT):
        if port not in used and free(port):
            used.add(port)
            return port
    raise NoFreePort(f"no port from {FIRST_PORT} to {LAST_PORT} is free")
