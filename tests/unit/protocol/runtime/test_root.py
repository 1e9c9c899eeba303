"""The root bundle: loaded, loaded again when it changes, and kept when the new one is broken."""

from pathlib import Path

import pytest

from protocol.client.bootstrap import write_bundle
from protocol.client.delegation import GLOBAL_SERVICE
from protocol.errors import SettingsError
from protocol.runtime.root import CHECK_INTERVAL_S, Root
from tests.support.scripted_world import site, value


def write(path: Path, serial: int) -> None:
    write_bundle(
        path, {GLOBAL_SERVICE: [value(1, "HS_SITE", site("20.0.0.1", serial=serial))]}, updated_ms=serial
    )


def test_a_changed_bundle_is_loaded_at_the_next_look(tmp_path: Path) -> None:
    path, now_s = tmp_path / "root.json", 0.0
    write(path, 1)
    root = Root(path, clock=lambda: now_s)
    write(path, 2)

    assert root.service.sites[0].serial == 1
    now_s = CHECK_INTERVAL_S
    assert root.service.sites[0].serial == 2


@pytest.mark.parametrize("broken", [b"", b"{}", b"\xff"])
def test_a_bundle_that_became_unreadable_leaves_the_last_good_one(tmp_path: Path, broken: bytes) -> None:
    path, now_s = tmp_path / "root.json", 0.0
    write(path, 1)
    root = Root(path, clock=lambda: now_s)
    path.write_bytes(broken)
    now_s = CHECK_INTERVAL_S
    assert root.service.sites[0].serial == 1

    path.unlink()
    now_s *= 2
    assert root.service.sites[0].serial == 1


def test_a_node_without_a_usable_bundle_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"root\.json"):
        Root(tmp_path / "root.json")
    (tmp_path / "root.json").write_text("{}", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"root\.json"):
        Root(tmp_path / "root.json")
