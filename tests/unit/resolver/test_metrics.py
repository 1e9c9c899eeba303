"""Metrics and day counters: every answer counted once, under labels from closed sets."""

import struct

import pytest

from protocol.runtime.day_counters import DayCounters
from resolver.metrics import Metrics, outcome_of
from resolver.observer import Observer


def message(op_code: int, response_code: int) -> bytes:
    return bytes(20) + struct.pack(">II", op_code, response_code) + bytes(16)


@pytest.mark.parametrize(
    ("code", "told", "outcome"),
    [
        (1, "hit", "hit"),
        (1, "miss", "miss"),
        (1, "anything", "miss"),
        (100, "hit", "denied"),
        (200, "miss", "denied"),
        (303, "miss", "referral"),
        (3, "miss", "shed"),
        (2, "shed", "shed"),
        (2, "miss", "error"),
        (4, "miss", "error"),
    ],
)
def test_an_outcome_follows_from_the_response_code(code: int, told: str, outcome: str) -> None:
    assert outcome_of(code, told) == outcome


def test_an_answer_is_counted_in_metrics_and_in_the_day() -> None:
    metrics, counters = Metrics(version="1", loop="asyncio"), DayCounters()
    observer = Observer(metrics, counters)

    observer.answered("udp", message(1, 0), message(1, 1), "hit", 0.001, "192.0.2.7")
    observer.answered("udp", message(1, 0), message(1, 100), "miss", 0.002, "192.0.2.8")
    observer.answered("tcp", message(2, 0), message(2, 1), "miss", 0.002, "192.0.2.8")
    observer.answered("udp", b"", b"", "miss", 0.002, "192.0.2.8")

    def requests(**labels: str) -> float | None:
        return metrics.registry.get_sample_value("handlegrid_requests_total", {"role": "resolver", **labels})

    assert requests(transport="udp", op="resolution", rc="success") == 1
    assert requests(transport="udp", op="resolution", rc="handle_not_found") == 1
    assert requests(transport="tcp", op="get_site_info", rc="success") == 1
    (day,) = counters.take_delta()
    assert (day.resolutions, day.successes, day.denials) == (2, 1, 1)
    assert day.sources == {"192.0.2.0/24": 2}
