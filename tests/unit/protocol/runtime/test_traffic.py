"""What the front ends tell becomes metrics and counters of the day."""

from protocol.runtime.day_counters import OTHER_SOURCES, DayCounters
from protocol.runtime.metrics import NodeMetrics
from protocol.runtime.traffic import TrafficObserver


def test_addresses_become_networks_and_those_that_were_not_told_apart_count_as_others() -> None:
    counters = DayCounters()
    observer = TrafficObserver(NodeMetrics("test"), counters, wall_clock=lambda: 1_700_000_000.0)
    observer.hits("udp", {b"\0\0\0\1\0\0\0\1": 9, b"\0\0\0\2\0\0\0\1": 5}, 0.001)
    observer.sources({"192.0.2.1": 2, "192.0.2.2": 3, "fe80::1%lo": 1, "": 3})
    (day,) = counters.take_delta()
    assert (day.resolutions, day.successes) == (9, 9)
    assert day.sources == {"192.0.2.0/24": 5, "fe80::/56": 1, OTHER_SOURCES: 3}
