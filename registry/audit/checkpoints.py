"""Checkpoints: heads of the audit chain in a file beside the database.

Whoever can write the database can make the chain anew from any entry on, or cut its end off. What stands in this file
tells. Each line: the number, the chain in hexadecimal, the time.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from registry.audit.head import CHAIN_OCTETS, Head, format_time

CHECKPOINTS_MAX: Final = 100_000
"""Lines of the file, some ten megaoctets; beyond, every second one of the older half goes."""
_MODE: Final = 0o600

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A head that somebody noted."""

    number: int
    chain: bytes
    time: str
    """When it was noted, as it stands in the file."""


class Checkpoints:
    """The checkpoints of one node; one process writes them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = 0
        self._lines = 0

    def open(self) -> Checkpoint | None:
        """Read the file and give its last checkpoint, None without one. Raises OSError."""
        _end_line(self._path)
        checkpoints = read_checkpoints(self._path)
        self._lines = len(checkpoints)
        last = checkpoints[-1] if checkpoints else None
        self._last = last.number if last else 0
        return last

    def note(self, head: Head) -> None:
        """Append a head, durably, unless it is the last one noted. Raises OSError."""
        if head.number == self._last:
            return
        if self._lines >= CHECKPOINTS_MAX:
            self._thin()
        checkpoint = Checkpoint(number=head.number, chain=head.chain, time=format_time(head.numbered_ms))
        _write(self._path, os.O_APPEND, [checkpoint])
        self._last = head.number
        self._lines += 1

    def _thin(self) -> None:
        kept = thinned(read_checkpoints(self._path))
        fresh = self._path.with_name(f"{self._path.name}.new-{os.getpid()}")
        _write(fresh, os.O_TRUNC, kept)
        fresh.replace(self._path)
        self._lines = len(kept)


def read_checkpoints(path: Path) -> list[Checkpoint]:
    """The checkpoints in a file, in their order; none when there is no file. A line of another form is passed over.

    The last line of a machine that lost its power may be half a line. Raises OSError.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    found = [_parse(line) for line in lines]
    strays = found.count(None)
    if strays:
        log.warning("audit_checkpoints_unreadable", path=str(path), lines=strays)
    return [checkpoint for checkpoint in found if checkpoint is not None]


def thinned(checkpoints: list[Checkpoint]) -> list[Checkpoint]:
    """What is kept of too many: the newer half, and every second one before it, the first among them."""
    middle = len(checkpoints) // 2
    return checkpoints[:middle:2] + checkpoints[middle:]


def _parse(line: str) -> Checkpoint | None:
    try:
        number, chain, time = line.split()
        checkpoint = Checkpoint(number=int(number), chain=bytes.fromhex(chain), time=time)
    except ValueError:
        return None
    return checkpoint if len(checkpoint.chain) == CHAIN_OCTETS and checkpoint.number > 0 else None


def _write(path: Path, how: int, checkpoints: Iterable[Checkpoint]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | how, _MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(b"".join(_line(checkpoint) for checkpoint in checkpoints))
        file.flush()
        os.fsync(file.fileno())


def _end_line(path: Path) -> None:
    """End a line that was being written when the machine lost its power, so that the next one stands by itself."""
    try:
        with path.open("rb+") as file:
            octets = file.seek(0, os.SEEK_END)
            file.seek(max(0, octets - 1))
            if octets and file.read() != b"\n":
                file.write(b"\n")
    except FileNotFoundError:
        pass


def _line(checkpoint: Checkpoint) -> bytes:
    return f"{checkpoint.number} {checkpoint.chain.hex()} {checkpoint.time}\n".encode()
