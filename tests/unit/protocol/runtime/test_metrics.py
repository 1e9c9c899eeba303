"""Labels, build and kernel counters that both daemons tell alike."""

import pytest
from prometheus_client import CollectorRegistry

from protocol.runtime.metrics import ProcessMetrics, outcome_of


@pytest.mark.parametrize(
    ("code", "told", "outcome"),
    [
        (1, "hit", "hit"),
        (1, "stale", "stale"),
        (1, "miss", "miss"),
        (1, "anything", "miss"),
        (100, "hit", "denied"),
        (200, "miss", "denied"),
        (301, "miss", "denied"),
        (303, "hit", "referral"),
        (3, "miss", "shed"),
        (2, "shed", "shed"),
        (2, "miss", "error"),
        (4, "miss", "error"),
        (6, "miss", "error"),
    ],
)
def test_an_outcome_follows_from_the_response_code(code: int, told: str, outcome: str) -> None:
    assert outcome_of(code, told) == outcome


async def test_drops_are_asked_for_whenever_metrics_are_collected() -> None:
    registry, drops = CollectorRegistry(), [3, 7]
    process = ProcessMetrics(registry)
    assert registry.get_sample_value("handlegrid_udp_socket_drops_total") is None

    process.started(lambda: drops[-1])
    assert registry.get_sample_value("handlegrid_udp_socket_drops_total") == 7
    drops.append(9)
    assert registry.get_sample_value("handlegrid_udp_socket_drops_total") == 9


async def test_the_build_is_told_once_with_every_label_also_after_a_restart() -> None:
    registry = CollectorRegistry()
    process = ProcessMetrics(registry)
    for _ in range(2):
        process.started(lambda: 0)

    (sample,) = [one for family in registry.collect() for one in family.samples if "build" in one.name]
    assert (sample.name, sample.value) == ("handlegrid_build_info", 1)
    assert set(sample.labels) == {"version", "commit", "loop", "fast_path"}
    assert sample.labels["loop"] in {"asyncio", "uvloop"}
