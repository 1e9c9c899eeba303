"""The compiled half of the generators and of the bare servers: built in place, on demand, by whoever measures.

It needs Cython and a C compiler. Without them everything runs in Python and says so, since what is measured then is
the generator.
"""

import fcntl
import hashlib
import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from benchmarks.load import pure

SOURCE: Final = Path(__file__).with_name("_wire.pyx")
STAMP: Final = SOURCE.with_suffix(".built")
TARGET: Final = SOURCE.with_name("_wire" + (sysconfig.get_config_var("EXT_SUFFIX") or ".so"))
COMMAND_S: Final = 300.0
PURE: Final = "HANDLEGRID_BENCHMARK_PURE"
"""Environment variable that forgoes the compiled module, to see what Python alone measures."""


@cache
def compiled() -> ModuleType | None:
    """The compiled module, built when it is missing or older than its source; None, with a word, where it cannot be."""
    if os.environ.get(PURE):
        return None
    try:
        with SOURCE.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two commands at once build once
            if not _is_fresh():
                _build()
        return import_module("benchmarks.load._wire")
    except (OSError, subprocess.SubprocessError, ImportError) as error:
        detail = getattr(error, "stderr", "") or error
        print(
            f"NOTE: the compiled load generator cannot be built ({str(detail).strip()[-500:]}).\n"
            "NOTE: the one in Python takes its place; it is slower than the servers, so figures say little of them.",
            file=sys.stderr,
        )
        return None


def engine() -> Any:
    """The module that does the work: the compiled one, else `pure`, which has the same names."""
    return compiled() or pure


def is_compiled() -> bool:
    """Whether figures are those of the compiled generator."""
    return compiled() is not None


def _digest() -> str:
    return hashlib.sha256(SOURCE.read_bytes() + sys.version.encode()).hexdigest()


def _is_fresh() -> bool:
    return TARGET.exists() and STAMP.exists() and STAMP.read_text(encoding="ascii") == _digest()


def _build() -> None:
    print("building the compiled load generator", file=sys.stderr)
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    include = sysconfig.get_path("include")
    with tempfile.TemporaryDirectory(dir=SOURCE.parent, prefix=".building-") as directory:
        code, library = Path(directory, "_wire.c"), Path(directory, TARGET.name)
        _run([sys.executable, "-m", "cython", "-3", str(SOURCE), "-o", str(code)])
        _run([*compiler, "-O3", "-fPIC", "-shared", "-w", f"-I{include}", str(code), "-o", str(library)])
        library.replace(TARGET)
    STAMP.write_text(_digest(), encoding="ascii")


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=COMMAND_S)
