"""The supervisor as a process: it keeps its children running, and nothing outlives it."""

import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local import control
from deploy.local.control import ProcessStatus, Status
from deploy.local.processes import LocalError, ProcessIdentity, tail
from tests.support.scratch import new_directory

SLEEP = ["sleep", "600"]
STUBBORN = ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]


@pytest.fixture
def home() -> Iterator[Path]:
    directory = new_directory()
    yield directory
    control.stop(directory, progress=lambda status: None)
    shutil.rmtree(directory, ignore_errors=True)


def wait_for(home: Path, name: str, wanted: Callable[[ProcessStatus], object]) -> ProcessStatus:
    """The state of a process as soon as it is as wanted."""
    until_s = time.monotonic() + 30
    while True:
        process = control.ask(home, {"do": "status"}).process(name)
        if process and wanted(process):
            return process
        assert time.monotonic() < until_s, (process, tail(control.log_file(home)))
        time.sleep(0.05)


def start(home: Path, name: str, command: list[str]) -> Status:
    return control.ask(home, {"do": "start", "name": name, "command": command})


def identity(process: ProcessStatus) -> ProcessIdentity:
    assert process.pid is not None
    found = ProcessIdentity.of(process.pid)
    assert found is not None
    return found


def test_a_child_that_dies_is_started_again_and_its_end_is_told(home: Path) -> None:
    control.start(home)
    start(home, "plant", SLEEP)
    first = identity(wait_for(home, "plant", lambda process: process.state == "running"))

    first.signal(signal.SIGKILL)

    again = wait_for(home, "plant", lambda process: process.restarts == 1 and process.pid)
    assert again.cause == "was ended by SIGKILL"
    assert identity(again) != first


def test_a_child_that_cannot_start_waits_longer_each_time(home: Path) -> None:
    control.start(home)
    start(home, "faulty", ["sh", "-c", "echo no settings >&2; exit 2"])

    waiting = wait_for(home, "faulty", lambda process: process.restarts == 2)

    assert waiting.cause == "ended with status 2"
    assert "no settings" in Path(waiting.log).read_text()
    assert "starting it again in 1 s" in control.log_file(home).read_text()


def test_starting_twice_is_starting_once(home: Path) -> None:
    first = control.start(home)
    start(home, "plant", SLEEP)
    before = wait_for(home, "plant", lambda process: process.state == "running")

    assert control.start(home).pid == first.pid
    start(home, "plant", SLEEP)

    assert wait_for(home, "plant", lambda process: True).pid == before.pid


def test_stopping_ends_daemons_first_and_postgres_last(home: Path) -> None:
    control.start(home)
    start(home, "plant", SLEEP)
    processes = [
        identity(wait_for(home, name, lambda process: process.state == "running"))
        for name in ("plant", "postgres")
    ]

    assert control.stop(home, progress=lambda status: None)

    assert not any(process.is_alive for process in processes)
    assert not control.is_running(home)
    log = control.log_file(home).read_text()
    assert log.index("ending the daemons") < log.index("ending Postgres")
    assert not control.stop(home, progress=lambda status: None)


def test_everything_ends_with_a_killed_supervisor_even_who_ignores_its_request(home: Path) -> None:
    control.start(home)
    start(home, "plant", SLEEP)
    start(home, "stubborn", STUBBORN)
    plant, postgres = (
        identity(wait_for(home, name, lambda process: process.state == "running"))
        for name in ("plant", "postgres")
    )
    stubborn = identity(wait_for(home, "stubborn", lambda process: process.pid))
    supervisor = control.ask(home, {"do": "status"}).pid
    _until_remembered(home, "stubborn")

    os.kill(supervisor, signal.SIGKILL)

    assert plant.wait(10)
    assert postgres.wait(10)
    assert stubborn.is_alive  # it was asked, and stays: the next command ends it
    assert control.end_left_behind(home, patience_s=1.0)
    assert not stubborn.is_alive


def _until_remembered(home: Path, name: str) -> None:
    until_s = time.monotonic() + 10
    while name not in (home / "processes.json").read_text():
        assert time.monotonic() < until_s
        time.sleep(0.05)


def test_a_process_that_took_over_a_number_is_left_alone(home: Path) -> None:
    stranger = ProcessIdentity(pid=os.getpid(), started="another time")
    control.remember(home, {"plant": stranger})
    kept = (home / "processes.json").read_text().replace('"supervisor"', '"earlier"')
    (home / "processes.json").write_text(kept.replace(str(_started()), "another time"))

    assert not control.end_left_behind(home)


def _started() -> str:
    mine = ProcessIdentity.of(os.getpid())
    assert mine is not None
    return mine.started


@pytest.mark.parametrize(
    "line", [b"\n", b"[]\n", b'{"do": "dance"}\n', b"\xff\xfe\n", b'{"do": "start"}\n', b"x" * 99_999]
)
def test_a_request_that_is_none_leaves_it_unharmed(home: Path, line: bytes) -> None:
    pid = control.start(home).pid

    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(control.control_socket(home)))
        connection.sendall(line)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65_536)

    assert answer == b"" or b"error" in answer
    assert control.ask(home, {"do": "status"}).pid == pid


def test_nobody_answers_where_nothing_runs(home: Path) -> None:
    assert control.status(home) is None
    with pytest.raises(LocalError, match="does not answer"):
        control.ask(home, {"do": "status"})
