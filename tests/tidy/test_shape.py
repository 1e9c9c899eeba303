"""The shape of the code: short functions, described modules, limits that have reasons, no left-overs."""

import ast
import importlib
import re
from typing import Final

from tests.support.tree import PACKAGES, ROOT, files, module_name, parse, python_files, relative

FUNCTION_LINES_MAX: Final = 70  # one screen; a longer one is usually two
FILE_LINES_MAX: Final = 500

LEFT_OVERS: Final = re.compile(r"\b(?:TO[D]O|FIX[M]E|XX[X]|HA[C]K)\b")

MACHINE_PATHS: Final = re.compile(
    r"(?<![\w.\-/$}])/(?:wor[k]|roo[t]|hom[e]/(?!user\b)|Use[r]s|tm[p]/(?!handlegrid-))[/\w]"
)
"""Absolute paths of somebody's machine; the home of `user` and our own temporary names are fine."""

REGISTRY_HOSTS: Final = re.compile(
    r"py[p]i\.org|python[h]osted\.org|npm[j]s\.(?:org|com)|index[-]url|crates[.]io"
)
"""Addresses of package registries: an installation takes whatever its own configuration says."""

TEXT: Final = (
    ".py",
    ".md",
    ".toml",
    ".txt",
    ".sql",
    ".html",
    ".css",
    ".js",
    ".json",
    "Makefile",
    "run",
    ".gitignore",
)


def test_functions_fit_on_a_screen() -> None:
    long = [
        f"{relative(path)}:{node.lineno} {node.name} has {lines} lines"
        for path in python_files()
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]
    assert not long, "\n".join(long)


def test_files_hold_one_concept() -> None:
    long = [
        f"{relative(path)} has {count} lines"
        for path in python_files()
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > FILE_LINES_MAX
    ]
    assert not long, "\n".join(long)


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        relative(path)
        for path in python_files()
        if path.stat().st_size and not ast.get_docstring(parse(path))
    ]
    assert not silent, "\n".join(silent)


def test_what_a_package_exports_is_there() -> None:
    for path in python_files(*PACKAGES):
        exported = [
            name
            for node in parse(path).body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
            for name in ast.literal_eval(node.value)
        ]
        if exported:
            module = importlib.import_module(module_name(path))
            assert not [name for name in exported if not hasattr(module, name)], relative(path)


def test_nothing_is_left_for_later_in_the_code() -> None:
    assert not _matches(LEFT_OVERS)


def test_no_path_of_a_machine_is_written_down() -> None:
    assert not _matches(MACHINE_PATHS)


def test_no_package_registry_is_named() -> None:
    assert not _matches(REGISTRY_HOSTS)


def _matches(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path in files(*TEXT):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if (match := pattern.search(line)) is not None:
                found.append(f"{relative(path)}:{number}: {match[0]}")
    return found


def test_every_package_is_shipped_with_its_type_marker() -> None:
    for package in PACKAGES:
        assert (ROOT / package / "py.typed").exists(), f"{package}/py.typed is missing"
