"""Building the compiled module: it knows its source, a compiler that fails is no error, and it can be switched off."""

import importlib.util
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from deploy.compiling import PURE_VARIABLE
from tests.support.tree import ROOT

SOURCE = """
cdef extern from *:
    const char *HANDLEGRID_SOURCE_DIGEST

SOURCE_DIGEST = HANDLEGRID_SOURCE_DIGEST.decode("ascii")
"""
PROGRAM = """
from setuptools import Distribution, Extension
from deploy.compiling import BuildExtension

module = Extension("small", ["small.pyx"], optional=True)
project = Distribution({"name": "small", "ext_modules": [module], "cmdclass": {"build_ext": BuildExtension}})
command = project.get_command_obj("build_ext")
command.inplace = True
project.run_command("build_ext")
"""

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("setuptools") is None or importlib.util.find_spec("Cython") is None,
    reason="NOT TESTED: setuptools or Cython is not installed",
)


def built(directory: Path, **environment: str) -> list[str]:
    """The names of the files beside the source, after a build that has to end well."""
    (directory / "small.pyx").write_text(SOURCE)
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=directory,
        env={**os.environ, PURE_VARIABLE: "", "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return sorted(path.name for path in directory.iterdir() if path.is_file() and path.name != "small.pyx")


@pytest.mark.skipif(
    shutil.which("cc") is None and shutil.which("gcc") is None, reason="NOT TESTED: no compiler"
)
def test_a_module_knows_the_digest_of_its_source_and_nothing_else_lies_beside_it(tmp_path: Path) -> None:
    (name,) = built(tmp_path)
    assert name.endswith(".so")
    spec = importlib.util.spec_from_file_location("small", tmp_path / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert sha256(SOURCE.encode()).hexdigest() == module.SOURCE_DIGEST


@pytest.mark.parametrize("compiler", ["false", "there-is-no-such-compiler"])
def test_a_compiler_that_fails_is_no_error_and_leaves_nothing(tmp_path: Path, compiler: str) -> None:
    assert built(tmp_path, CC=compiler) == []


def test_nothing_is_built_where_nobody_wants_it(tmp_path: Path) -> None:
    assert built(tmp_path, **{PURE_VARIABLE: "1"}) == []
    assert not (tmp_path / "build").exists()
