"""The source tree as the tidy tests see it: tracked kinds of files, without caches and environments."""

import ast
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]

PACKAGES: Final = ("protocol", "registry", "resolver", "deploy")
"""Packages that are shipped; benchmarks and tests are not."""

CODE: Final = (*PACKAGES, "benchmarks", "tests")

_SKIPPED: Final = frozenset({"__pycache__", "build", "dist", "node_modules"})
_KEPT_HIDDEN: Final = frozenset({".ci", ".gitignore"})


def files(*suffixes: str, under: Path = ROOT) -> Iterator[Path]:
    """Yield the files of the tree whose names end in one of the suffixes; without suffixes, all."""
    for directory, names, filenames in os.walk(under):
        names[:] = sorted(name for name in names if _is_ours(name))
        for name in sorted(filenames):
            if (not suffixes or name.endswith(suffixes)) and (name[0] != "." or name in _KEPT_HIDDEN):
                yield Path(directory, name)


def _is_ours(directory: str) -> bool:
    hidden = directory.startswith(".") and directory not in _KEPT_HIDDEN
    return not hidden and directory not in _SKIPPED and not directory.endswith(".egg-info")


def python_files(*packages: str) -> list[Path]:
    """Return the Python files of the packages, by default of all code."""
    return [path for package in packages or CODE for path in files(".py", under=ROOT / package)]


def relative(path: Path) -> str:
    """Return the path as seen from the root of the tree, for messages."""
    return path.relative_to(ROOT).as_posix()


@cache
def parse(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def module_name(path: Path) -> str:
    """Return the dotted name of the module: protocol/transport/udp.py is protocol.transport.udp."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path: Path) -> Iterator[tuple[str, int]]:
    """Yield every module that a file imports, absolutely named, with the line of the import.

    `from a.b import c` yields both `a.b` and `a.b.c`, since c may be a module.
    """
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield source, node.lineno
            yield from ((f"{source}.{alias.name}", node.lineno) for alias in node.names)
