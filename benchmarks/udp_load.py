"""A UDP load generator: a window of requests in flight, answers counted, latency sampled.

    python -m benchmarks.udp_load 127.0.0.1:2641 88.100.1/PUMP-0001 --seconds 5

It is bounded in time and sends nowhere but to loopback unless --anywhere is given. Its own ceiling is what it reaches
against `benchmarks.udp_echo`; a server measured near that ceiling is measured too low.
"""

import argparse
import ipaddress
import json
import random
import select
import socket
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from typing import Final

from protocol.bodies import ResolutionRequest
from protocol.codes import OpCode
from protocol.handle import Handle
from protocol.message import Message

WINDOW: Final = 128  # requests in flight: they keep a server busy and fit the smallest default receive buffer
LOST_AFTER_S: Final = 1.0  # a request without an answer for so long is counted as lost and sent no more
SAMPLE_EVERY: Final = 64  # latencies kept: one of so many, so that measuring costs little
REQUEST_ID_AT: Final = slice(8, 12)
RESPONSE_CODE_AT: Final = slice(24, 28)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """What one run saw; seconds are wall-clock seconds of the run, latencies milliseconds."""

    answers: int
    lost: int
    failures: int
    """Answers with another response code than SUCCESS; 0 is what a run must show."""
    seconds: float
    answers_per_s: float
    latency_ms_p50: float
    latency_ms_p99: float


def requests_for(handles: Sequence[str]) -> Iterator[bytes]:
    """The encoded requests for these handles, over and over; the request id is set at sending."""
    encoded = [
        Message.request(
            OpCode.RESOLUTION,
            ResolutionRequest(handle=Handle.parse(name)).encode(),
            request_id=0,
            expiration=int(time.time()) + 43_200,
        ).encode()
        for name in handles
    ]
    return cycle(encoded)


class Window:
    """The requests in flight on one socket: sent, matched by request id, given up."""

    def __init__(self, target: tuple[str, int], requests: Iterator[bytes], size: int) -> None:
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        self.socket.connect(target)
        self._requests = requests
        self._size = size
        self._next_id = random.getrandbits(30)
        self._sent_s: dict[int, float] = {}
        self.answers = self.lost = self.failures = 0
        self.samples_s: list[float] = []

    def fill(self, now_s: float) -> None:
        """Sends until the window is full or the socket takes no more."""
        while len(self._sent_s) < self._size:
            self._next_id = (self._next_id + 1) & 0x3FFF_FFFF
            octets = next(self._requests)
            try:
                self.socket.send(octets[:8] + self._next_id.to_bytes(4, "big") + octets[12:])
            except (BlockingIOError, ConnectionRefusedError):
                return
            self._sent_s[self._next_id] = now_s

    def drain(self, now_s: float) -> None:
        """Takes all answers that have come."""
        receive, sent = self.socket.recv, self._sent_s
        while True:
            try:
                octets = receive(2_048)
            except (BlockingIOError, ConnectionRefusedError):
                return
            sent_s = sent.pop(int.from_bytes(octets[REQUEST_ID_AT], "big"), None)
            if sent_s is None:
                continue
            self.answers += 1
            if octets[RESPONSE_CODE_AT] not in (b"\0\0\0\1", b"\0\0\0\0"):  # an echo answers with our own 0
                self.failures += 1
            if self.answers % SAMPLE_EVERY == 0:
                self.samples_s.append(now_s - sent_s)

    def give_up(self, now_s: float) -> None:
        """Counts as lost what is older than LOST_AFTER_S."""
        for request_id in [key for key, sent_s in self._sent_s.items() if now_s - sent_s > LOST_AFTER_S]:
            del self._sent_s[request_id]
            self.lost += 1


def run_load(
    target: tuple[str, int], handles: Sequence[str], *, seconds: float, window: int = WINDOW
) -> LoadResult:
    """Loads target for so many seconds, always `window` requests in flight, and says what came back."""
    load = Window(target, requests_for(handles), window)
    started_s = now_s = time.monotonic()
    next_check_s = started_s + LOST_AFTER_S
    with load.socket:
        while now_s - started_s < seconds:
            load.fill(now_s)
            select.select([load.socket], [], [], 0.05)
            now_s = time.monotonic()
            load.drain(now_s)
            if now_s >= next_check_s:
                load.give_up(now_s)
                next_check_s = now_s + LOST_AFTER_S / 4
    elapsed_s = now_s - started_s
    cuts = statistics.quantiles(load.samples_s, n=100) if len(load.samples_s) > 1 else [0.0] * 99
    return LoadResult(
        answers=load.answers,
        lost=load.lost,
        failures=load.failures,
        seconds=round(elapsed_s, 3),
        answers_per_s=round(load.answers / elapsed_s, 1),
        latency_ms_p50=round(cuts[49] * 1000, 3),
        latency_ms_p99=round(cuts[98] * 1000, 3),
    )


def parse_target(text: str) -> tuple[str, int]:
    """Host and port of "127.0.0.1:2641" or "[::1]:2641"."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", type=parse_target, help="address:port of the server")
    parser.add_argument("handles", nargs="+", help="handles to ask for, in turn")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--window", type=int, default=WINDOW, help="requests in flight")
    parser.add_argument("--anywhere", action="store_true", help="allow a target that is not on loopback")
    arguments = parser.parse_args()
    if not arguments.anywhere and not ipaddress.ip_address(arguments.target[0]).is_loopback:
        parser.error("the target is not on loopback; --anywhere allows it, if you own that server")
    result = run_load(arguments.target, arguments.handles, seconds=arguments.seconds, window=arguments.window)
    print(json.dumps(asdict(result), indent=2))


if __name__ == "__main__":
    main()
