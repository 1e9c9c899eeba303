"""ResolverMetrics and day counters: every answer counted once, under labels from closed sets."""

import struct
from math import isnan

from protocol.runtime.day_counters import DayCounters
from resolver.metrics import ResolverMetrics
from resolver.observer import ResolverObserver


def message(op_code: int, response_code: int) -> bytes:
    return bytes(20) + struct.pack(">II", op_code, response_code) + bytes(16)


def test_an_answer_is_counted_in_metrics_and_in_the_day() -> None:
    metrics, counters = ResolverMetrics(), DayCounters()
    observer = ResolverObserver(metrics, counters)

    observer.answered("udp", message(1, 0), message(1, 1), "hit", 0.001, host="192.0.2.7")
    observer.answered("udp", message(1, 0), message(1, 100), "miss", 0.002, host="192.0.2.8")
    observer.answered("tcp", message(2, 0), message(2, 1), "miss", 0.002, host="192.0.2.8")
    observer.answered("udp", b"", b"", "miss", 0.002, host="192.0.2.8")

    def requests(**labels: str) -> float | None:
        return metrics.registry.get_sample_value("handlegrid_requests_total", {"role": "resolver", **labels})

    assert requests(transport="udp", op="resolution", rc="success") == 1
    assert requests(transport="udp", op="resolution", rc="handle_not_found") == 1
    assert requests(transport="tcp", op="get_site_info", rc="success") == 1
    (day,) = counters.take_delta()
    assert (day.resolutions, day.successes, day.denials) == (2, 1, 1)
    assert day.sources == {"192.0.2.0/24": 2}


def test_only_what_was_looked_up_in_the_answer_cache_counts_as_a_look_up() -> None:
    metrics = ResolverMetrics()
    observer = ResolverObserver(metrics, DayCounters())

    observer.answered("udp", message(1, 0), message(1, 1), "hit", 0.001, host="192.0.2.7")
    observer.answered("tcp", message(1, 0), message(1, 100), "miss", 0.002, host="192.0.2.8")
    observer.answered("udp", message(1, 0), message(1, 2), "shed", 0.002, host="192.0.2.8")
    observer.answered_http(1, 1, "hit", 0.002, host="192.0.2.8", target="/88.1/a")

    def lookups(result: str) -> float | None:
        labels = {"cache": "answers", "tier": "memory", "result": result}
        return metrics.registry.get_sample_value("handlegrid_cache_lookups_total", labels)

    assert (lookups("hit"), lookups("miss")) == (1, 1)


def test_a_page_of_our_own_is_no_resolution_of_the_day() -> None:
    counters = DayCounters()
    observer = ResolverObserver(ResolverMetrics(), counters)

    observer.answered_http(0, 1, "miss", 0.002, host="192.0.2.8", target="/88.1/a")
    observer.answered_http(2, 1, "miss", 0.002, host="192.0.2.8", target="/88.1/a")

    assert counters.take_delta() == ()


def test_only_what_is_configured_is_told_to_be_up_or_down() -> None:
    metrics = ResolverMetrics()
    assert metrics.registry.get_sample_value("handlegrid_redis_up") is None
    assert metrics.registry.get_sample_value("handlegrid_db_up") is None

    metrics.expect_redis()
    metrics.expect_database()
    assert isnan(metrics.registry.get_sample_value("handlegrid_redis_up") or 0)
    metrics.redis_is(up=False)
    metrics.database_is(up=True)
    assert metrics.registry.get_sample_value("handlegrid_redis_up") == 0
    assert metrics.registry.get_sample_value("handlegrid_db_up") == 1
