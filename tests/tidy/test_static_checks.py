"""ruff and mypy find nothing."""

import subprocess
import sys

import pytest

from tests.support.tree import ROOT


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["ruff", "check", "."], id="ruff finds no fault"),
        pytest.param(["ruff", "format", "--check", "."], id="every file is formatted"),
        pytest.param(["mypy"], id="mypy strict finds no fault", marks=pytest.mark.slow),
    ],
)
def test_the_static_checks_pass(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
