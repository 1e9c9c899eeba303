"""Processes: who they are, who may run, and that they end with the one that started them.

A process id alone is reused by the system; together with the moment the process started it names one
process for good. Everything here that ends a process checks both.
"""

import contextlib
import fcntl
import hashlib
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAX_SOCKET_PATH_OCTETS: Final = 100  # sun_path holds 107, and a file name with a zero must still fit
MAX_LOG_OCTETS: Final = 16 * 1024 * 1024  # a larger log is put aside when its process starts again
POLL_S: Final = 0.05


class LocalError(Exception):
    """Something on this machine is not as the deployment needs it; the text names the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessIdentity:
    """One process, and never another that gets its number later."""

    pid: int
    started: str
    """The start time as the system writes it; compared, never read."""

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity | None":
        """The process that has this number now; None when there is none, or when it has ended already."""
        started = _started(pid)
        return cls(pid=pid, started=started) if started else None

    @property
    def is_alive(self) -> bool:
        return _started(self.pid) == self.started

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process is gone."""
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, timeout_s: float) -> bool:
        """Wait until the process has ended; False when it has not after `timeout_s` seconds."""
        until_s = time.monotonic() + timeout_s
        while self.is_alive:
            if time.monotonic() > until_s:
                return False
            time.sleep(POLL_S)
        return True


def end(
    process: ProcessIdentity, *, gently: signal.Signals, forcibly: signal.Signals, timeout_s: float
) -> bool:
    """End a process: ask it first, force it after `timeout_s` seconds; False when it lives on even then."""
    process.signal(gently)
    if process.wait(timeout_s):
        return True
    process.signal(forcibly)
    return process.wait(timeout_s)


def _started(pid: int) -> str:
    """When the process started; empty when there is none or only its exit status is left."""
    if sys.platform != "linux":
        asked = subprocess.run(
            ["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return asked.stdout.strip()
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]  # proc(5): field 3 is the state, field 22 the start time


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[bool]:
    """Hold the lock file `path`; yields False, at once, when another process holds it.

    The lock goes with the process that holds it, however that one ends.
    """
    lock = path.open("a")
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        lock.close()


def socket_directory(home: Path, *, owner: int) -> Path:
    """A directory for Unix sockets of `home`: `home` itself, or a short one where that is too long.

    owner: the user id that will open the sockets; another user's directory there is refused (LocalError).
    """
    if len(os.fsencode(home)) <= MAX_SOCKET_PATH_OCTETS - len("/.s.PGSQL.65535.lock"):
        return home
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    short = Path(tempfile.gettempdir()) / f"handlegrid-{digest}"
    with contextlib.suppress(FileExistsError):
        short.mkdir(mode=0o700)
        os.chown(short, owner, -1)
    found = short.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or stat.S_IMODE(found.st_mode) & 0o077:
        raise LocalError(f"{short} exists and is not ours; remove it, or choose a shorter data directory")
    return short


def open_log(path: Path) -> int:
    """Open a log for appending and return its descriptor; one too large is put aside as `<name>.1`."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > MAX_LOG_OCTETS:
            path.replace(path.with_name(path.name + ".1"))
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def tail(path: Path, *, octets_max: int = 2000) -> str:
    """The end of a log, for an error message; empty when there is none."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - octets_max))
            return log.read().decode(errors="replace").strip()
    except OSError:
        return ""
