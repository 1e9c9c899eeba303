"""Runs a load on a server and says what came back: over UDP, over the Handle protocol's TCP, over HTTP."""

import ipaddress
import socket
import time
from collections.abc import Sequence
from typing import Final

from benchmarks.load.build import engine
from benchmarks.load.requests import Requests
from benchmarks.load.result import Histogram, LoadResult

WINDOW: Final = 64  # requests in flight: what the aims are stated for
PACED_WINDOW: Final = 2_048  # of a paced run, so that a stall shows as latency and not as a lower rate
LOST_AFTER_S: Final = 1.0
SECONDS_MAX: Final = 600.0
BUFFER_OCTETS: Final = 4 * 1024 * 1024
CONNECT_S: Final = 5.0

Address = tuple[str, int]


def run_udp(
    target: Address,
    requests: Requests,
    *,
    seconds: float = SECONDS_MAX,
    window: int = WINDOW,
    rate_per_s: float = 0.0,
    sent_max: int = 0,
) -> LoadResult:
    """Load a UDP server from one connected socket.

    window: requests in flight; rate_per_s: send at this rate instead, and measure latency from when a request was
    due. sent_max: end after so many requests; 0 for no such end. It always ends after `seconds`.
    """
    load = _load(requests, window=window, seconds=seconds, rate_per_s=rate_per_s, sent_max=sent_max)
    with socket.socket(_family(target), socket.SOCK_DGRAM) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_OCTETS)
        opened.setblocking(False)
        opened.connect(target)
        before_s = time.thread_time()
        engine().udp_load(opened.fileno(), load)
        return _result(load, time.thread_time() - before_s)


def run_streams(
    target: Address,
    requests: Requests,
    *,
    connections: int,
    depth: int = 1,
    seconds: float = SECONDS_MAX,
    rate_per_s: float = 0.0,
    sent_max: int = 0,
    body_octets: int = 0,
) -> LoadResult:
    """Load a TCP server from so many connections kept alive, `depth` requests at most on their way on each.

    Requests without ids are HTTP's, whose answers come in order. body_octets: of every HTTP body, 0 for any.
    """
    http = requests.id_octets == 0
    load = _load(
        requests, window=connections * depth, seconds=seconds, rate_per_s=rate_per_s, sent_max=sent_max
    )
    opened = [socket.create_connection(target, CONNECT_S) for _ in range(connections)]
    try:
        for one in opened:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.setblocking(False)
        before_s = time.thread_time()
        engine().stream_load(
            [one.fileno() for one in opened], load, depth=depth, http=http, length=body_octets
        )
        return _result(load, time.thread_time() - before_s)
    finally:
        for one in opened:
            one.close()


def parse_address(text: str) -> Address:
    """Host and port of "127.0.0.1:2641" or "[::1]:2641"."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def is_loopback(target: Address) -> bool:
    """Whether a target is this machine; every other one must be asked for with --anywhere."""
    return ipaddress.ip_address(target[0]).is_loopback


def _load(requests: Requests, *, window: int, seconds: float, rate_per_s: float, sent_max: int) -> object:
    if rate_per_s:
        window = max(window, PACED_WINDOW) if requests.id_octets == 4 else window
    return engine().Load(
        requests,
        window=window,
        seconds=min(seconds, SECONDS_MAX),
        rate=rate_per_s,
        sent_max=sent_max,
        lost_after_s=LOST_AFTER_S,
    )


def _family(target: Address) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in target[0] else socket.AF_INET


def _result(load: object, cpu_s: float) -> LoadResult:
    fields: Sequence[str] = ("sent", "answers", "lost", "wrong", "stray", "closed", "octets", "first_wrong")
    return LoadResult(
        **{name: getattr(load, name) for name in fields},
        seconds=load.elapsed_s,  # type: ignore[attr-defined]
        generator_cpu_s=cpu_s,
        latency=Histogram(load.counts()),  # type: ignore[attr-defined]
    )
