"""What `handlegrid status` shows of a deployment."""

from typing import Any

import pytest

from deploy.commands.local import format_duration, format_status, tell_of_other_build
from deploy.local.control import Status
from protocol.runtime.build import build


def described(**changes: Any) -> dict[str, Any]:
    process = {
        "name": "88",
        "pid": 7,
        "state": "running",
        "since_s": 1_000.0,
        "restarts": 0,
        "cause": "",
        "log": "",
    }
    daemon = {"name": "88", "reason": changes.get("reason"), "fast_path": "compiled"}
    return {"processes": [process | changes], "daemons": [daemon]}


def test_a_ready_daemon_is_one_short_line() -> None:
    assert format_status(described(), 1_042.0).splitlines()[1].split() == [
        "88",
        "7",
        "running",
        "42",
        "s",
        "0",
        "compiled",
        "yes",
    ]


def test_a_daemon_that_is_not_ready_says_why_and_where_to_look() -> None:
    broken = described(
        restarts=3, cause="ended with status 2", log="/tmp/handlegrid-x/88.log", reason="no answer"
    )
    line = format_status(broken, 1_000.0).splitlines()[1]
    assert line.endswith("no: no answer; last time it ended with status 2; see /tmp/handlegrid-x/88.log")


def test_the_end_of_a_log_does_not_break_the_table() -> None:
    broken = described(
        state="starting", cause="did not start: it ended; the end of x.log:\nLOG\nFATAL", log="x.log"
    )
    _, *lines = format_status(broken, 1_000.0).splitlines()
    assert len(lines) == 1
    assert lines[0].endswith("the end of x.log; see x.log")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59, "59 s"), (90, "1.5 min"), (7_200, "2.0 h"), (200_000, "2.3 d")]
)
def test_durations_are_said_as_people_do(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_a_deployment_of_another_build_is_told_of() -> None:
    told: list[str] = []
    for running in (build(), "", "0.0.9 (0123456789ab)"):
        tell_of_other_build(
            Status(pid=1, since_s=0, stopping=False, build=running, processes=()), told.append
        )
    tell_of_other_build(None, told.append)
    assert [("0.0.9" in line, "make down" in line) for line in told] == [(True, True)]
