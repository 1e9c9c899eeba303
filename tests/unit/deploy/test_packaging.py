"""What is installed is what is here: no package and no data file is forgotten in pyproject.toml."""

import fnmatch
import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
TOP = ("deploy", "protocol", "registry", "resolver")


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_is_listed() -> None:
    found = {
        ".".join(path.relative_to(ROOT).parts)
        for top in TOP
        for path in [ROOT / top, *(ROOT / top).rglob("*")]
        if path.is_dir() and (any(path.glob("*.py")) or any(path.glob("*.sql")))
    }
    assert set(_project()["tool"]["setuptools"]["packages"]) == found


def test_every_data_file_is_shipped() -> None:
    patterns = _project()["tool"]["setuptools"]["package-data"]
    packages = _project()["tool"]["setuptools"]["packages"]
    for top in TOP:
        for path in (ROOT / top).rglob("*"):
            if not path.is_file() or path.suffix in {".py", ".pyc", ".md", ".so"}:
                continue
            package = max((name for name in packages if _is_in(path, name)), key=len)
            inside = str(path.relative_to(ROOT / package.replace(".", "/")))
            owner = str(path.relative_to(ROOT / top))
            assert any(fnmatch.fnmatch(inside, pattern) for pattern in patterns.get(package, [])) or any(
                fnmatch.fnmatch(owner, pattern) for pattern in patterns.get(top, [])
            ), f"{path} is not shipped"


def _is_in(path: Path, package: str) -> bool:
    return path.is_relative_to(ROOT / package.replace(".", "/"))


def test_the_pins_name_every_dependency_and_no_place_to_fetch_it_from() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line) for line in lines)
    pinned = {_normalised(line.partition("==")[0]) for line in lines}
    project = _project()["project"]
    for requirement in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        name = re.match(r"[A-Za-z0-9._-]+", requirement)
        assert name is not None
        assert _normalised(name[0]) in pinned


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
