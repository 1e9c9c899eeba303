"""The observer: everything that the front ends, caches and exchanges tell ends in metrics and day counters."""

import struct
import time
from functools import lru_cache
from typing import Final

from protocol.codes import OpCode
from protocol.runtime.day_counters import DayCounters, outcome_of_code
from protocol.transport.source import source_network
from resolver.metrics import Metrics

NETWORKS_REMEMBERED: Final = 16_384  # names of source networks; working one out costs ten microseconds
_CODES: Final = struct.Struct(">II")
_CODES_OFFSET: Final = 20  # operation and response code begin the header

network_of = lru_cache(maxsize=NETWORKS_REMEMBERED)(source_network)


class Observer:
    """Implements the observer protocols of transports, caches and recursor; quick, and never raises."""

    def __init__(self, metrics: Metrics, counters: DayCounters) -> None:
        """counters are those of the day; metrics those of the process."""
        self._metrics = metrics
        self._counters = counters
        self.limit_reached = metrics.limit_reached
        self.undecodable = metrics.undecodable
        self.looked_up = metrics.looked_up
        self.exchanged = metrics.exchanged
        self.redis_is = metrics.redis_is

    def answered(  # noqa: PLR0917 - as TransportObserver has it
        self,
        transport: str,
        request_octets: bytes,
        response_octets: bytes,
        outcome: str,
        elapsed_s: float,
        host: str,
    ) -> None:
        """A response to a Handle message was sent; both are whole messages."""
        op_code, code = _codes(response_octets)
        op_code = op_code or _codes(request_octets)[0]
        self._metrics.count_message(transport, op_code, code, outcome, elapsed_s)
        self._count_in_day(op_code, code, elapsed_s, host)

    def http_answered(self, op_code: int, code: int, outcome: str, elapsed_s: float, host: str) -> None:
        """A request of the HTTP interface was answered; op_code: what it was about, 0 for a page of our own."""
        self._metrics.count("http", op_code, code, outcome, elapsed_s)
        self._count_in_day(op_code, code, elapsed_s, host)

    def _count_in_day(self, op_code: int, code: int, elapsed_s: float, host: str) -> None:
        if op_code == OpCode.RESOLUTION:
            self._counters.record(time.time(), outcome_of_code(code), elapsed_s, network_of(host))


def _codes(message: bytes) -> tuple[int, int]:
    if len(message) < _CODES_OFFSET + _CODES.size:
        return 0, 0
    op_code, response_code = _CODES.unpack_from(message, _CODES_OFFSET)
    return op_code, response_code
