"""What the metrics of both daemons share, so that a name, a label and a bucket mean the same at every node."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from protocol.codes import REFERRALS, ResponseCode
from protocol.runtime import build

DURATION_BUCKETS_S: Final = [0.000_062_5 * 2**step for step in range(18)]  # 62.5 microseconds to 8 seconds
FAST_PATH: Final = "none"  # no compiled data path is built in
_SHED: Final = frozenset({ResponseCode.SERVER_TOO_BUSY, ResponseCode.SERVER_BACKUP})
_ERRORS: Final = frozenset({ResponseCode.ERROR, ResponseCode.PROTOCOL_ERROR, ResponseCode.RECURSION_LIMIT})


def outcome_of(code: int, told: str) -> str:
    """The label `outcome` of an answer: hit, miss, stale, denied, referral, error or shed.

    told: the front end's word; it decides between hit, stale and miss, and where nothing was worked on.
    """
    if told == "shed" or code in _SHED:
        return "shed"
    if code == ResponseCode.SUCCESS:
        return told if told in ("hit", "stale") else "miss"
    if code in REFERRALS:
        return "referral"
    return "error" if code in _ERRORS else "denied"


def tell_build(registry: CollectorRegistry) -> None:
    """Adds what runs: version, commit, event loop. Call it on the running loop."""
    gauge = Gauge(
        "handlegrid_build_info",
        "Always 1; what runs is in the labels.",
        ["version", "commit", "loop", "fast_path"],
        registry=registry,
    )
    loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    gauge.labels(version=build.version(), commit=build.commit(), loop=loop, fast_path=FAST_PATH).set(1)


class SocketDrops(Collector):
    """Datagrams that the kernel dropped, asked of it whenever metrics are collected."""

    def __init__(self, drops: Callable[[], int]) -> None:
        """drops: the count since the sockets were opened, such as Listeners.udp_drops."""
        self._drops = drops

    def collect(self) -> Iterable[CounterMetricFamily]:
        """The one counter, under the name that a Counter would have."""
        yield CounterMetricFamily(
            "handlegrid_udp_socket_drops_total",
            "Datagrams that the kernel dropped since a socket's buffer was full.",
            value=self._drops(),
        )
