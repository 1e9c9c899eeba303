"""What is set for a node holds for all its workers together."""

from pathlib import Path

import pytest

from protocol.errors import SettingsError
from protocol.runtime.listen_settings import FIXED_WHILE_RUNNING, ListenSettings, part_of, with_workers
from registry.settings import RegistrySettings
from resolver.settings import SHARED_LIMITS, ResolverSettings


def test_the_parts_are_together_no_less_than_the_whole_and_hardly_more() -> None:
    for whole in (0, 1, 7, 64, 10_000):
        for workers in (1, 2, 3, 63):
            together = part_of(whole, workers) * workers
            assert whole <= together < whole + workers


def test_a_lone_process_has_everything() -> None:
    for settings in (
        RegistrySettings(data_dir=Path("/node"), homes=("88.1",)),
        ResolverSettings(root_site_file=Path("/root.json")),
    ):
        assert settings.share(1) == settings


def test_workers_divide_memory_and_limits() -> None:
    settings = ResolverSettings(root_site_file=Path("/root.json"), workers=4)
    part = settings.share(4)

    caches = ("answer_cache_octets_max", "http_cache_octets_max")
    for name in (*SHARED_LIMITS, *caches, "tcp_connections_per_source_max"):
        assert getattr(part, name) == getattr(settings, name) // 4


def test_a_worker_has_connections_enough_for_a_transaction_and_a_read() -> None:
    settings = RegistrySettings(data_dir=Path("/node"), homes=("88.1",), database_connections_max=10)

    assert settings.share(4).database_connections_max == 3
    assert settings.share(64).database_connections_max == 2


def test_what_decides_the_sockets_takes_a_restart() -> None:
    settings = ListenSettings(workers=2)
    assert settings.needs_restart(ListenSettings(workers=2, source_rate_per_s=7, name="other")) == []
    assert settings.needs_restart(ListenSettings(workers=3, http_port=1)) == ["workers", "http_port"]
    assert {"handle_port", "admin_port"} <= set(FIXED_WHILE_RUNNING)


def test_the_command_line_says_how_many_workers() -> None:
    assert with_workers(ListenSettings(), None).workers == 1
    assert with_workers(ListenSettings(workers=8), 2).worker_count() == 2
    assert with_workers(ListenSettings(), 0).worker_count() >= 1
    with pytest.raises(SettingsError, match="--workers"):
        with_workers(ListenSettings(), 65)
