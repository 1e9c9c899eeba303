"""Prepare the environment of this checkout, then run a command in it: what `make up` and `make test` begin with.

    python3 deploy/bootstrap.py [--dev] COMMAND [ARGUMENT ...]

Makes `.venv` beside pyproject.toml, installs handlegrid with the pinned versions of constraints.txt (with --dev
what its tests need as well) when either file has changed since, and becomes the command. It runs before anything
is installed, on whatever Python 3 there is, so it uses the standard library alone.
"""

from __future__ import annotations  # an older Python must get as far as the message that it is too old

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
INPUTS = ("pyproject.toml", "constraints.txt", "deploy/compiling.py", "protocol/transport/_fast.pyx")
CANDIDATES = ("python3.11", "python3", "python3.12", "python3.13", "python3.14")
OLDEST = (3, 11)
TELL_EVERY_S = 10.0  # where the output is no terminal


def main() -> None:
    """Parse the command line, prepare, and become the command."""
    words = sys.argv[1:]
    dev = words[:1] == ["--dev"]
    command = words[1:] if dev else words
    if not command:
        sys.exit(__doc__)
    if sys.version_info < OLDEST:
        _restart_with_newer_python()
    with (ROOT / INPUTS[0]).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two commands at once install one after the other
        prepare(dev=dev)
    _become(command)


def prepare(*, dev: bool) -> None:
    """Make the environment and install into it, as far as that is not done."""
    stamps: list[Path] = [_stamp_file("dev")] if dev else [_stamp_file("dev"), _stamp_file("run")]
    wanted = _digest()
    if PYTHON.exists() and any(_read(stamp) == wanted for stamp in stamps):
        return
    if not _is_usable(PYTHON):
        _make_environment()
    _install(dev=dev)
    stamps[-1].write_text(wanted)


def _digest() -> str:
    """What the environment depends on, in one word."""
    digest = hashlib.sha256(str(ROOT).encode())  # a moved checkout has a stale environment
    digest.update(os.environ.get("HANDLEGRID_PURE", "").encode())  # decides whether anything is compiled
    for name in INPUTS:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def _stamp_file(name: str) -> Path:
    return ENVIRONMENT / f"handlegrid-{name}.sha256"


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _is_usable(python: Path) -> bool:
    return (_version(str(python)) or (0,)) >= OLDEST


def _version(python: str) -> tuple[int, ...] | None:
    """The version of an interpreter, as a tuple; None when it does not run."""
    program = "import sys; print(*sys.version_info[:3])"
    try:
        told = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
        return tuple(int(word) for word in told.stdout.split())
    except (OSError, subprocess.CalledProcessError, ValueError):
        return None


def _restart_with_newer_python() -> None:
    for candidate in CANDIDATES:
        path = shutil.which(candidate)
        if path and (_version(path) or (0,)) >= OLDEST:
            os.execv(path, [path, *sys.argv])  # noqa: S606 - no shell is wanted
    found = ".".join(str(number) for number in sys.version_info[:3])
    sys.exit(
        f"handlegrid needs Python {OLDEST[0]}.{OLDEST[1]} or newer, and the newest here is {found}.\n"
        "Install one (Debian and Ubuntu: apt install python3.11 python3.11-venv) and try again."
    )


def _make_environment() -> None:
    version = ".".join(str(number) for number in sys.version_info[:3])
    _say(f"Python {version} from {sys.executable}; making {ENVIRONMENT.name}")
    uv = shutil.which("uv")
    if uv and _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(ENVIRONMENT)]):
        return
    if not _has_venv():
        short = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        sys.exit(
            f"{short} cannot make virtual environments: a part of it (venv, ensurepip) is packaged apart.\n"
            f"Install it (Debian and Ubuntu: apt install {short}-venv) and try again."
        )
    if not _run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)]):
        sys.exit(f"could not make {ENVIRONMENT}; the messages above say why")


def _has_venv() -> bool:
    from importlib.util import find_spec  # noqa: PLC0415 - only on the way to an error

    return find_spec("venv") is not None and find_spec("ensurepip") is not None


def _install(*, dev: bool) -> None:
    """Install this checkout, editable; ends the program when that fails."""
    what = [*("-c", str(ROOT / INPUTS[1])), "-e", str(ROOT) + ("[dev]" if dev else "")]
    _say("installing what handlegrid needs" + (" to run and to be tested" if dev else " to run"))
    log = ENVIRONMENT / "install.log"
    log.write_text("")
    uv = shutil.which("uv")
    if uv and _run([uv, "pip", "install", "--python", str(PYTHON), "--compile-bytecode", *what], log=log):
        return
    if not _runs_pip() and not _run([str(PYTHON), "-m", "ensurepip", "--default-pip"], log=log):
        sys.exit(
            f"{ENVIRONMENT.name} has no pip; remove the directory and try again. The end of {log}:\n{_tail(log)}"
        )
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
    if not _run([*pip, *what], log=log):
        sys.exit(
            f"the installation failed; the end of {log}:\n{_tail(log)}\n"
            "Is the package index reachable? Behind a proxy set HTTPS_PROXY; for a mirror set PIP_INDEX_URL."
        )


def _runs_pip() -> bool:
    probe = [str(PYTHON), "-m", "pip", "--version"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def _run(command: list[str], log: Path | None = None) -> bool:
    """Run a command to its end, telling how long it takes; its output goes to the log, if one is given."""
    began_s = time.monotonic()
    with contextlib.ExitStack() as opened:
        output = opened.enter_context(log.open("a")) if log else None
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT if output else None, cwd=ROOT
        )
        told_s = began_s
        while process.poll() is None:
            time.sleep(0.1)
            now_s = time.monotonic()
            if log and now_s - told_s >= (0.5 if sys.stderr.isatty() else TELL_EVERY_S):
                told_s = now_s
                _tell_progress(now_s - began_s, log)
    if log and sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
    if log and process.returncode == 0:
        _say(f"installed in {time.monotonic() - began_s:.0f} s")
    return process.returncode == 0


def _tell_progress(elapsed_s: float, log: Path) -> None:
    steps = [line for line in log.read_text(errors="replace").splitlines() if not line.startswith("WARNING")]
    step = (steps[-1] if steps else "starting").strip()[:70]
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K  {elapsed_s:3.0f} s  {step}")
        sys.stderr.flush()
    else:
        _say(f"{elapsed_s:3.0f} s  {step}")


def _tail(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def _say(text: str) -> None:
    sys.stderr.write(f"bootstrap: {text}\n")
    sys.stderr.flush()


def _become(command: list[str]) -> None:
    """Replace this process by the command, with the environment's programs first on the path."""
    binaries = PYTHON.parent
    path = os.pathsep.join([str(binaries), os.environ.get("PATH", os.defpath)])
    environment = {**os.environ, "PATH": path, "VIRTUAL_ENV": str(ENVIRONMENT)}
    environment.pop("PYTHONHOME", None)
    program = binaries / command[0]
    try:
        os.execve(program, [str(program), *command[1:]], environment)  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.exit(f"{command[0]}: {error}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
