"""The deployment on one machine in a data directory of a test's own, driven by the command as a person would."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.scratch import new_directory
from tests.support.tree import ROOT


class Machine:
    """A deployment in a data directory of its own, driven by the command as a person would."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def run(self, *words: str, exit_code: int | None = 0) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [sys.executable, "-m", "deploy.cli", *words],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            cwd=ROOT,
            env={**os.environ, "HANDLEGRID_HOME": str(self.home)},
        )
        assert exit_code in (None, done.returncode), (
            f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done

    def json(self, *words: str, exit_code: int | None = 0) -> Any:
        return json.loads(self.run(*words, "--json", exit_code=exit_code).stdout)

    def status(self) -> Any:
        """What `status` says, whether everything is ready or not."""
        return self.json("status", exit_code=None)

    def processes(self) -> dict[str, int]:
        return {process["name"]: process["pid"] for process in self.status()["processes"]}

    def alive(self) -> list[int]:
        """Processes whose command line names the data directory."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if str(self.home) in path.read_bytes().decode(errors="replace"):
                    found.append(int(path.parent.name))
            except OSError:
                continue
        return found


@contextmanager
def deployment() -> Iterator[Machine]:
    """Bring a deployment up for the duration of the block; nothing of it is left afterwards."""
    home = new_directory()
    machine = Machine(home)
    try:
        machine.run("up")
        yield machine
    finally:
        machine.run("down")
        assert machine.alive() == []
        shutil.rmtree(home, ignore_errors=True)
