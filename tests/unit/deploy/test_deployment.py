"""The deployment's files: what is written can be read, and what the user edited stays."""

import json
import tomllib
from pathlib import Path

import pytest

from deploy.local.deployment import (
    DAEMONS,
    NODES,
    Deployment,
    default_home,
    format_settings,
    replace_settings,
)
from deploy.local.ports import choose
from deploy.local.processes import LocalError
from registry.settings import load_registry_settings
from resolver.settings import load_resolver_settings


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    deployment = Deployment(tmp_path / "home")
    deployment.create_directories()
    deployment.ports = choose(DAEMONS, free=lambda port: True)
    return deployment


DATABASES = {daemon: f"postgresql://postgres@/{daemon}?host=/tmp/handlegrid-x" for daemon in DAEMONS}


def test_what_was_saved_is_loaded(deployment: Deployment) -> None:
    deployment.sample_loaded = True
    deployment.save()

    assert Deployment.load(deployment.home) == deployment


def test_a_fresh_home_has_no_ports_yet(tmp_path: Path) -> None:
    assert Deployment.load(tmp_path).ports == {}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 99}', '{"format": 1, "ports": 3}'])
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "deployment.json").write_text(content)
    with pytest.raises(LocalError, match=r"deployment\.json"):
        Deployment.load(tmp_path)


def test_every_daemon_accepts_its_settings(deployment: Deployment) -> None:
    deployment.write_settings(DATABASES)

    for node in NODES:
        settings = load_registry_settings(deployment.settings_file(node.name))
        assert tuple(settings.homes) == node.homes
        assert settings.handle_port == deployment.ports[node.name].handle
        assert settings.plain_http_credentials == "loopback"
    recursive = load_resolver_settings(deployment.settings_file("recursive"))
    assert [network.network for network in recursive.open_networks] == ["127.0.0.0/8"]


def test_settings_of_the_user_survive_new_ports(deployment: Deployment) -> None:
    deployment.write_settings(DATABASES)
    path = deployment.settings_file("88")
    path.write_text(path.read_text() + '# mine\nlog_level = "debug"\n')

    deployment.ports = choose(DAEMONS, free=lambda port: port > 27_000)
    deployment.write_settings(DATABASES)

    content = tomllib.loads(path.read_text())["registry"]
    assert "# mine" in path.read_text()
    assert content["log_level"] == "debug"
    assert content["http_port"] == deployment.ports["88"].http > 27_000


def test_private_directories_are_closed_to_others(deployment: Deployment) -> None:
    for directory in (deployment.node_directory("88"), deployment.home / "logs"):
        assert directory.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "value", ["plain", 'a "quoted" \\ backslash', "中文 é", ["127.0.0.1", "::1"], 7, True]
)
def test_a_setting_reads_back_as_it_was(value: object) -> None:
    content = format_settings("registry", {"before": 1, "key": "other", "after": 2})

    changed = replace_settings(content, {"key": value})

    assert tomllib.loads(changed)["registry"] == {"before": 1, "key": value, "after": 2}


def test_a_key_that_the_user_removed_is_added_again() -> None:
    assert json.loads(replace_settings("", {"http_port": 8000}).partition(" = ")[2]) == 8000


def test_home_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDLEGRID_HOME", "/tmp/handlegrid-mine")
    assert default_home() == Path("/tmp/handlegrid-mine")


def test_home_suits_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HANDLEGRID_HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/user")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert default_home() == Path("/home/user/.local/share/handlegrid")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert default_home() == Path("/var/lib/handlegrid")
