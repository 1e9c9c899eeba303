"""Which build runs: version and commit, told by metrics and by the command line."""

import json
import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Final

DISTRIBUTION: Final = "handlegrid"
UNKNOWN: Final = "unknown"
COMMIT_DIGITS: Final = 12  # enough to be unique in any repository of this size
_COMMIT: Final = re.compile(r"[0-9a-f]{40,64}")
_ROOT: Final = Path(__file__).resolve().parents[2]


def version(root: Path = _ROOT) -> str:
    """The version of the installed distribution, else of the checkout at root, else "unknown"."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        pass
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError):
        return UNKNOWN
    return str(project["version"]) if project.get("name") == DISTRIBUTION else UNKNOWN


def commit(root: Path = _ROOT) -> str:
    """The commit that was installed from a repository, or of the checkout at root; empty where nothing tells it."""
    found = _installed_commit() or _checked_out_commit(root / ".git")
    return found[:COMMIT_DIGITS] if _COMMIT.fullmatch(found) else ""


def build() -> str:
    """Version and commit in one line, such as "0.1.0 (8d99ae8f0c06)"; the version alone where no commit is known."""
    known = commit()
    return f"{version()} ({known})" if known else version()


def _installed_commit() -> str:
    """What the installer noted down. Source: PEP 610."""
    try:
        noted = metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
        return str(json.loads(noted or "{}").get("vcs_info", {}).get("commit_id", ""))
    except (metadata.PackageNotFoundError, ValueError, AttributeError):
        return ""


def _checked_out_commit(repository: Path) -> str:
    try:
        head = (repository / "HEAD").read_text(encoding="utf-8").strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        loose = repository / name
        if loose.is_file():
            return loose.read_text(encoding="utf-8").strip()
        lines = (repository / "packed-refs").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return ""
    return next((line.split()[0] for line in lines if line.endswith(f" {name}")), "")
