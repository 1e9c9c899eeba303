"""The bootstrap: installs when it must, not when it need not, and says what is missing."""

import subprocess
import sys
from pathlib import Path

import pytest

from deploy import bootstrap

Calls = list[list[str]]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout without an environment, in which no program is really run."""
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "constraints.txt").write_text("")
    for name in bootstrap.INPUTS[2:]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap, "ENVIRONMENT", tmp_path / ".venv")
    monkeypatch.setattr(bootstrap, "PYTHON", tmp_path / ".venv" / "bin" / "python")
    return tmp_path


@pytest.fixture
def calls(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """The commands that were run, each of which succeeds."""
    made: Calls = []

    def run(command: list[str], log: Path | None = None) -> bool:
        made.append(command)
        if "venv" in command:
            bootstrap.PYTHON.parent.mkdir(parents=True, exist_ok=True)
            bootstrap.PYTHON.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
            bootstrap.PYTHON.chmod(0o755)
        return True

    monkeypatch.setattr(bootstrap, "_run", run)
    monkeypatch.setattr("shutil.which", lambda name: None)
    return made


def test_a_fresh_checkout_gets_an_environment_and_what_it_needs_to_run(checkout: Path, calls: Calls) -> None:
    bootstrap.prepare(dev=False)

    assert calls[0][1:3] == ["-m", "venv"]
    assert calls[1][-1] == str(checkout)
    assert ["-c", str(checkout / "constraints.txt")] == calls[1][-4:-2]


def test_nothing_is_done_again_until_an_input_changes(checkout: Path, calls: Calls) -> None:
    bootstrap.prepare(dev=False)
    calls.clear()

    bootstrap.prepare(dev=False)
    assert calls == []

    (checkout / "constraints.txt").write_text("aiohttp==3.14.5\n")
    bootstrap.prepare(dev=False)
    assert [command[-1] for command in calls] == [str(checkout)]  # the environment itself is kept


def test_what_tests_need_is_installed_apart_and_covers_running(checkout: Path, calls: Calls) -> None:
    bootstrap.prepare(dev=False)
    calls.clear()

    bootstrap.prepare(dev=True)
    assert [command[-1] for command in calls] == [f"{checkout}[dev]"]
    calls.clear()

    bootstrap.prepare(dev=False)
    bootstrap.prepare(dev=True)
    assert calls == []


def test_an_environment_whose_python_is_gone_is_made_anew(calls: Calls) -> None:
    bootstrap.prepare(dev=False)
    bootstrap.PYTHON.unlink()
    calls.clear()

    bootstrap.prepare(dev=False)

    assert calls[0][1:3] == ["-m", "venv"]


def test_uv_is_taken_when_it_is_there(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")

    bootstrap.prepare(dev=False)

    assert [command[0] for command in calls] == ["/usr/bin/uv", "/usr/bin/uv"]
    assert "--compile-bytecode" in calls[1]


@pytest.mark.usefixtures("calls")
def test_a_missing_part_of_python_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    short = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    with pytest.raises(SystemExit, match=f"apt install {short}-venv"):
        bootstrap.prepare(dev=False)


def test_a_failed_installation_shows_the_end_of_its_log(
    checkout: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstrap.prepare(dev=False)

    def fail(command: list[str], log: Path | None = None) -> bool:
        if log:
            log.write_text("ERROR: No matching distribution found for aiohttp\n")
        return False

    monkeypatch.setattr(bootstrap, "_run", fail)
    (checkout / "constraints.txt").write_text("aiohttp==99\n")
    with pytest.raises(SystemExit, match="No matching distribution"):
        bootstrap.prepare(dev=False)


def test_without_a_command_it_says_how_it_is_used() -> None:
    done = subprocess.run(
        [sys.executable, str(Path(bootstrap.__file__))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "bootstrap.py [--dev] COMMAND" in done.stderr
