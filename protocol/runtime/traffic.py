"""Counts what the front ends do: every answer in the metrics, and resolutions in the counters of the day."""

from collections.abc import Callable
from typing import Final

from protocol.codes import OpCode
from protocol.message import ENVELOPE_OCTETS
from protocol.runtime.metrics import NodeMetrics
from protocol.transport.base import TransportName

_CODES: Final = slice(ENVELOPE_OCTETS, ENVELOPE_OCTETS + 8)  # operation and response code begin the header

CountResolution = Callable[[int, float, str], None]
"""Takes response code, seconds and the client's address."""

AnswerObserver = Callable[[int, int, str, float, str], None]
"""Told of every HTTP answer: operation (0: a page of our own), response code, outcome, seconds, client's address."""


class TrafficObserver:
    """The TransportObserver of a node, and its AnswerObserver; quick, and never raises."""

    def __init__(self, metrics: NodeMetrics, resolved: CountResolution) -> None:
        """resolved: counts a resolution in the day."""
        self._metrics = metrics
        self._resolved = resolved
        self.limit_reached = metrics.limit_reached
        self.undecodable = metrics.undecodable

    def answered(
        self,
        transport: TransportName,
        request_octets: bytes,
        response_octets: bytes,
        outcome: str,
        elapsed_s: float,
        *,
        host: str,
    ) -> None:
        """Count the answer to a Handle message, which was looked up in the answer cache first."""
        codes = response_octets[_CODES]
        op_code, code = int.from_bytes(codes[:4], "big"), int.from_bytes(codes[4:], "big")
        self._metrics.answered(transport, op_code, code, outcome, elapsed_s, cached=True)
        if op_code == OpCode.RESOLUTION:
            self._resolved(code, elapsed_s, host)

    def answered_http(self, op_code: int, code: int, outcome: str, elapsed_s: float, host: str) -> None:
        """Count an answer of the HTTP interface; see AnswerObserver."""
        self._metrics.answered("http", op_code, code, outcome, elapsed_s, cached=False)
        if op_code == OpCode.RESOLUTION:
            self._resolved(code, elapsed_s, host)
