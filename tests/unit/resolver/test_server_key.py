"""Where a recursive node has the key by which it signs, and what it does without one."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from protocol.errors import SettingsError
from protocol.runtime.server_key import public_key_of
from resolver.daemon import RecursiveNode
from resolver.settings import ResolverSettings
from tests.support.server_keys import give_server_key, server_key


def test_the_site_record_names_the_key_beside_the_bundle(tmp_path: Path) -> None:
    give_server_key(tmp_path / "resolver.key", 1)
    node = RecursiveNode(ResolverSettings(root_site_file=tmp_path / "root.json"))
    assert node.site.servers[0].public_key == public_key_of(server_key(1))


def test_a_node_that_can_keep_no_key_signs_nothing_and_says_so() -> None:
    with capture_logs() as logs:
        node = RecursiveNode(ResolverSettings(root_site_file=Path("/proc/none/root.json")))
    assert node.site.servers[0].public_key == b""
    assert [(entry["event"], entry["remedy"]) for entry in logs] == [
        ("no_server_key", "set server_key_file to sign answers")
    ]


def test_a_place_that_the_operator_chose_must_do(tmp_path: Path) -> None:
    chosen = ResolverSettings(
        root_site_file=tmp_path / "root.json", server_key_file=Path("/proc/none/resolver.key")
    )
    with pytest.raises(SettingsError, match="/proc/none"):
        RecursiveNode(chosen)
