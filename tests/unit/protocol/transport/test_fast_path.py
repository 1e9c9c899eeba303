"""Which data path is chosen, and why: the compiled one only when it is there, fits its source, and nobody objects."""

import sys
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import pytest

from protocol.transport.answer_table import AnswerTable
from protocol.transport.fast_path import PURE_VARIABLE, STALE, choose
from protocol.transport.intake import Intake

SOURCE = b"# what was compiled\n"


class Compiled(ModuleType):
    """What stands for a compiled module."""

    SOURCE_DIGEST = sha256(SOURCE).hexdigest()
    AnswerTable = object
    Intake = object


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(sys.modules, "a_compiled_module", Compiled("a_compiled_module"))
    return "a_compiled_module"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "_fast.pyx"
    path.write_bytes(SOURCE)
    return path


def test_a_module_that_fits_its_source_is_used(module: str, source: Path) -> None:
    path = choose({}, module=module, source=source)
    assert (path.name, path.is_stale) == ("compiled", False)
    assert (path.answer_table, path.intake) == (object, object)


def test_a_module_of_other_source_is_refused_and_the_operator_told_why(module: str, source: Path) -> None:
    source.write_bytes(SOURCE + b"\n")
    path = choose({}, module=module, source=source)
    assert (path.name, path.reason, path.is_stale) == ("pure", STALE, True)
    assert "install again" in path.reason
    assert (path.answer_table, path.intake) == (AnswerTable, Intake)


def test_a_module_that_was_compiled_by_other_means_is_refused(
    module: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Compiled, "SOURCE_DIGEST", "")
    assert choose({}, module=module, source=source).is_stale


def test_a_module_without_its_source_cannot_be_stale(module: str, tmp_path: Path) -> None:
    assert choose({}, module=module, source=tmp_path / "none").name == "compiled"


def test_without_a_module_the_reason_is_that_there_is_none(source: Path) -> None:
    path = choose({}, module="protocol.transport.there_is_none", source=source)
    assert (path.name, path.is_stale) == ("pure", False)
    assert "no compiled module" in path.reason


@pytest.mark.parametrize(
    ("value", "name"), [("1", "pure"), ("yes", "pure"), ("0", "compiled"), ("", "compiled")]
)
def test_the_environment_may_ask_for_pure_python(module: str, source: Path, value: str, name: str) -> None:
    path = choose({PURE_VARIABLE: value}, module=module, source=source)
    assert path.name == name
    assert (PURE_VARIABLE in path.reason) == (name == "pure")
