"""Control of the supervisor: find it, start it, ask it, and end what a dead one left behind."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import deploy
from deploy.local.processes import (
    POLL_S,
    LocalError,
    ProcessIdentity,
    end,
    exclusive,
    open_log,
    socket_directory,
    tail,
)

POSTGRES: Final = "postgres"  # both the name of the process and of its directory
PYTHON: Final = (sys.executable, "-P")
"""Our interpreter, which must not import from whatever directory it is started in."""
MAX_LINE_OCTETS: Final = 65_536  # a status of six processes is about a thousand
ANSWER_TIMEOUT_S: Final = 30.0  # ending a daemon waits for its drain
START_TIMEOUT_S: Final = 20.0
STOP_TIMEOUT_S: Final = 120.0  # every daemon drained, and a checkpoint of Postgres
LEFT_BEHIND_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStatus:
    """One process as the supervisor sees it."""

    name: str
    pid: int | None
    state: str
    since_s: float
    """Wall clock."""
    restarts: int
    cause: str
    """Why it ended the last time; empty when it never did."""
    log: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The supervisor and what it runs."""

    pid: int
    since_s: float
    stopping: bool
    build: str = ""
    """What it runs, as protocol.runtime.build says it; empty for a supervisor that does not tell."""
    processes: tuple[ProcessStatus, ...]

    def process(self, name: str) -> ProcessStatus | None:
        """The process of that name, if the supervisor has one."""
        return next((process for process in self.processes if process.name == name), None)


def lock_file(home: Path) -> Path:
    """Held by the supervisor while it lives."""
    return home / "supervisor.lock"


def control_socket(home: Path) -> Path:
    """Where the supervisor takes requests."""
    return socket_directory(home, owner=os.geteuid()) / "control.sock"


def log_file(home: Path) -> Path:
    """What the supervisor says."""
    return home / "logs" / "supervisor.log"


def is_running(home: Path) -> bool:
    """Whether a supervisor holds the lock of this deployment."""
    if not lock_file(home).exists():
        return False
    with exclusive(lock_file(home)) as free:
        return not free


def ask(home: Path, request: Mapping[str, Any]) -> Status:
    """Send one request and return the state after it.

    request: `{"do": "status" | "start" | "end" | "stop", ...}`.
    Raises LocalError when no supervisor answers.
    """
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_TIMEOUT_S)
            connection.connect(str(control_socket(home)))
            connection.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(connection.makefile("rb").readline(MAX_LINE_OCTETS))
    except (OSError, ValueError) as error:
        raise LocalError(
            f"the supervisor of {home} does not answer ({error}); see {log_file(home)}"
        ) from None
    if "error" in answer:
        raise LocalError(answer["error"])
    processes = tuple(ProcessStatus(**process) for process in answer.pop("processes"))
    return Status(processes=processes, **answer)


def status(home: Path) -> Status | None:
    """The state of the deployment; None when nothing runs."""
    return ask(home, {"do": "status"}) if is_running(home) else None


def start(home: Path) -> Status:
    """Start a supervisor, unless there is one, after ending what a dead one left behind."""
    if is_running(home) and ask(home, {"do": "status"}).stopping:
        _await_end(home, lambda status: None)
    if not is_running(home):
        end_left_behind(home)
        _detach(home)
    until_s = time.monotonic() + START_TIMEOUT_S
    while True:
        with contextlib.suppress(LocalError):
            return ask(home, {"do": "status"})
        if time.monotonic() > until_s:
            raise LocalError(f"the supervisor did not start; the end of its log:\n{tail(log_file(home))}")
        time.sleep(POLL_S)


def stop(home: Path, *, progress: Callable[[Status], None]) -> bool:
    """Stop everything and wait until it has ended; False when nothing was running.

    progress: called with the state while things end.
    Raises LocalError when something is alive even so.
    """
    if not is_running(home):
        return end_left_behind(home)
    with contextlib.suppress(LocalError):  # a supervisor that does not answer is ended below
        ask(home, {"do": "stop"})
        _await_end(home, progress)
    if is_running(home):
        _force(home)
    end_left_behind(home)
    return True


def _await_end(home: Path, progress: Callable[[Status], None]) -> None:
    until_s = time.monotonic() + STOP_TIMEOUT_S
    while is_running(home) and time.monotonic() < until_s:
        with contextlib.suppress(LocalError):  # it may end between the two calls
            progress(ask(home, {"do": "status"}))
        time.sleep(POLL_S * 4)


def _force(home: Path) -> None:
    supervisor = _remembered(home).get("supervisor")
    if supervisor:
        end(supervisor, gently=signal.SIGTERM, forcibly=signal.SIGKILL, timeout_s=LEFT_BEHIND_S)
    if is_running(home):
        raise LocalError(f"the supervisor of {home} does not end; see {log_file(home)}")


def _detach(home: Path) -> None:
    log_file(home).parent.mkdir(mode=0o700, exist_ok=True)
    packages = str(Path(deploy.__file__).parents[1])
    path = os.pathsep.join(filter(None, [packages, os.environ.get("PYTHONPATH")]))
    log = open_log(log_file(home))
    try:
        subprocess.run(  # returns at once: the supervisor detaches itself
            [*PYTHON, "-m", "deploy.local.supervisor", str(home)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # it outlives the terminal
            check=False,
        )
    finally:
        os.close(log)


def remember(home: Path, children: Mapping[str, ProcessIdentity]) -> None:
    """Write down which processes belong to the deployment; called by the supervisor."""
    supervisor = ProcessIdentity.of(os.getpid())
    assert supervisor is not None, "we are alive"
    known = {"supervisor": supervisor, **children}
    written = home / "processes.json.new"
    written.write_text(
        json.dumps({name: asdict(process) for name, process in known.items()}, indent=2) + "\n"
    )
    written.replace(home / "processes.json")


def _remembered(home: Path) -> dict[str, ProcessIdentity]:
    try:
        found = json.loads((home / "processes.json").read_text())
        return {name: ProcessIdentity(**process) for name, process in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def end_left_behind(home: Path, *, patience_s: float = LEFT_BEHIND_S) -> bool:
    """End the processes of a supervisor that is dead; True when there were any.

    patience_s: how long each may take before it is forced.
    Raises LocalError when one of them cannot be ended.
    """
    left = {name: process for name, process in _remembered(home).items() if process.is_alive}
    if is_running(home):
        return False
    for name, process in sorted(left.items(), key=lambda item: item[0] == POSTGRES):  # the database last
        gently = signal.SIGINT if name == POSTGRES else signal.SIGTERM
        forcibly = signal.SIGQUIT if name == POSTGRES else signal.SIGKILL
        if not end(process, gently=gently, forcibly=forcibly, timeout_s=patience_s):
            raise LocalError(f"process {process.pid} ({name}) of an earlier run does not end")
    return bool(left)
