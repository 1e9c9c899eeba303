"""Servers as child processes with directories of their own: started, awaited, ended, also on Ctrl-C."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.cpu import cpu_seconds, family
from benchmarks.load.run import Address
from deploy.local.processes import tail
from protocol.runtime.processes import ends_with_parent

READY_WITHIN_S: Final = 60.0
ENDS_WITHIN_S: Final = 30.0
POLL_S: Final = 0.05
LOOPBACK: Final = "127.0.0.1"


class NotReady(Exception):
    """A server that did not start; the text holds the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server under load."""

    name: str
    address: Address
    parts: Mapping[str, int] = field(default_factory=dict)
    """Process ids by name; each stands for its descendants as well. Empty for a server of somebody else's."""
    http_port: int = 0
    admin_port: int = 0

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds so far, by part."""
        return {part: cpu_seconds(*family(pid)) for part, pid in self.parts.items()}


@contextmanager
def workspace() -> Iterator[Path]:
    """A directory for settings, logs and databases, gone afterwards; SIGTERM ends the command as Ctrl-C does."""
    previous = signal.signal(signal.SIGTERM, _interrupt)
    directory = Path(tempfile.mkdtemp(prefix="handlegrid-bench-", dir="/tmp"))
    directory.chmod(0o755)  # as root, Postgres runs as another user, who must be able to enter
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        signal.signal(signal.SIGTERM, previous)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def child(command: Sequence[str], **how: Any) -> "subprocess.Popen[Any]":
    """A process that ends when we do, however that comes, and that a terminal's Ctrl-C does not reach."""
    return subprocess.Popen(
        command,
        start_new_session=True,
        preexec_fn=ends_with_parent(signal.SIGTERM),  # noqa: PLW1509 - calls nothing that takes a lock
        **how,
    )


@contextmanager
def started(
    command: Sequence[str | Path],
    log: Path,
    *,
    is_ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
) -> Iterator[int]:
    """Run a server for the duration of the block, from when it is ready. Yields its process id.

    Raises NotReady with the end of its log.
    """
    with log.open("ab") as output:
        process = child(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environment or {})},
        )
    try:
        until_s = time.monotonic() + READY_WITHIN_S
        while not is_ready():
            if process.poll() is not None or time.monotonic() > until_s:
                raise NotReady(f"{command[0]} did not start:\n{tail(log)}")
            time.sleep(POLL_S)
        yield process.pid
    finally:
        _end(process)


def _end(process: "subprocess.Popen[Any]") -> None:
    process.terminate()
    try:
        process.wait(ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def floor(module: str, *words: str) -> Iterator[Server]:
    """A bare server of benchmarks.floor."""
    command = [sys.executable, "-m", f"benchmarks.floor.{module}", *words]
    with child(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            port = process.stdout.readline()
            if not port:
                raise NotReady(f"{' '.join(command)} ended at once")
            yield Server(
                name=f"{module} {' '.join(words[:1])}",
                address=(LOOPBACK, int(port)),
                parts={"server": process.pid},
            )
        finally:
            process.stdin.close()
            _end(process)


def free_port() -> int:
    """A port that is free for UDP and TCP on 127.0.0.1."""
    while True:
        with socket.socket() as taken, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            taken.bind((LOOPBACK, 0))
            port = int(taken.getsockname()[1])
            try:
                other.bind((LOOPBACK, port))
            except OSError:
                continue
            return port


def answers_udp(port: int, asked: bytes) -> bool:
    """Whether something answers a datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(POLL_S)
        try:
            client.connect((LOOPBACK, port))
            client.send(asked)
            return bool(client.recv(2_048))
        except OSError:
            return False
