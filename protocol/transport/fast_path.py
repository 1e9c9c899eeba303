"""Which implementation of the data path this process uses: the compiled module where there is one, or pure Python.

Both have one interface and one set of tests. A module that was compiled from other source than what lies beside it is
never used. HANDLEGRID_PURE=1 asks for pure Python, when installing as well as when running.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal

from protocol.transport.answer_cache import AnswerCache
from protocol.transport.answer_table import AnswerTable
from protocol.transport.intake import DatagramIntake, Intake

PURE_VARIABLE: Final = "HANDLEGRID_PURE"
MODULE: Final = "protocol.transport._fast"
SOURCE: Final = Path(__file__).with_name("_fast.pyx")


@dataclass(frozen=True, slots=True, kw_only=True)
class FastPath:
    """The parts of one implementation, which belong together."""

    name: Literal["compiled", "pure"]
    reason: str
    """Why this one, for the operator."""
    answer_table: Callable[..., AnswerCache]
    """Takes the arguments of AnswerTable."""
    intake: Callable[..., DatagramIntake]
    """Takes the arguments of Intake."""

    @property
    def is_stale(self) -> bool:
        """Whether there is a compiled module, of other source."""
        return self.reason == STALE


STALE: Final = "the compiled module is older or newer than its source; install again, as `make up` does"


def pure(reason: str) -> FastPath:
    """The implementation without a compiler."""
    return FastPath(name="pure", reason=reason, answer_table=AnswerTable, intake=Intake)


def choose(
    environment: Mapping[str, str] = os.environ, *, module: str = MODULE, source: Path = SOURCE
) -> FastPath:
    """The compiled implementation when it is there, of this very source, and nobody asked for the other one."""
    if environment.get(PURE_VARIABLE, "") not in {"", "0"}:
        return pure(f"{PURE_VARIABLE} is set")
    try:
        compiled: Any = _load(module)
    except ImportError:
        return pure(
            "there is no compiled module: no compiler was found, or Linux is not, when this was installed"
        )
    if source.exists() and sha256(source.read_bytes()).hexdigest() != compiled.SOURCE_DIGEST:
        return pure(STALE)
    return FastPath(
        name="compiled",
        reason="the compiled module fits its source",
        answer_table=compiled.AnswerTable,
        intake=compiled.Intake,
    )


def _load(module: str) -> ModuleType:
    return import_module(module)


FAST_PATH: Final = choose()
"""What this process has chosen, once, when it started."""
