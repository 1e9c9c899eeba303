"""Version and commit, wherever the program runs from."""

from importlib import metadata
from pathlib import Path

import pytest

from protocol.runtime.build import commit, version

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    monkeypatch.setattr(metadata, "distribution", missing)


@pytest.mark.usefixtures("not_installed")
def test_a_checkout_tells_the_version_of_its_project(tmp_path: Path) -> None:
    assert version(tmp_path) == "unknown"
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "other"\nversion = "9"\n')
    assert version(tmp_path) == "unknown"
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "handlegrid"\nversion = "1.2.3"\n')
    assert version(tmp_path) == "1.2.3"


def test_an_installation_tells_its_own_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: "4.5.6")
    assert version(tmp_path) == "4.5.6"


@pytest.mark.usefixtures("not_installed")
@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, ""),
        ({"HEAD": COMMIT}, COMMIT[:12]),
        ({"HEAD": "ref: refs/heads/main\n", "refs/heads/main": f"{COMMIT}\n"}, COMMIT[:12]),
        (
            {"HEAD": "ref: refs/heads/main\n", "packed-refs": f"# pack\n{COMMIT} refs/heads/main\n"},
            COMMIT[:12],
        ),
        ({"HEAD": "ref: refs/heads/main\n", "packed-refs": "# pack\n"}, ""),
        ({"HEAD": "nonsense"}, ""),
    ],
)
def test_a_checkout_tells_its_commit(tmp_path: Path, files: dict[str, str], found: str) -> None:
    for name, content in files.items():
        path = tmp_path / ".git" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert commit(tmp_path) == found


def test_what_the_installer_noted_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Installed:
        def __init__(self, noted: str | None) -> None:
            self.noted = noted

        def read_text(self, name: str) -> str | None:
            assert name == "direct_url.json"
            return self.noted

    noted = f'{{"vcs_info": {{"commit_id": "{COMMIT}"}}}}'
    for text, found in ((noted, COMMIT[:12]), (None, ""), ("[]", ""), ("no JSON", "")):
        monkeypatch.setattr(metadata, "distribution", lambda name, text=text: Installed(text))
        assert commit(tmp_path) == found
