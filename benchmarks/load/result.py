"""What a run saw, and percentiles from a histogram of latencies."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

BUCKETS: Final = 2_048
_FINE: Final = 32  # buckets to a power of two of nanoseconds: 3 % wide


def bucket(ns: int) -> int:
    """The bucket of a latency."""
    if ns < _FINE:
        return ns
    top = ns.bit_length() - 6
    return top * _FINE + (ns >> top)


def upper_ns(number: int) -> int:
    """The least latency that is beyond a bucket."""
    if number < _FINE:
        return number + 1
    top, rest = divmod(number, _FINE)
    return (rest + _FINE + 1) << (top - 1)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Latencies in buckets of 3 %."""

    counts: Sequence[int] = field(repr=False)

    def percentile_ms(self, percent: float) -> float:
        """Milliseconds that so many percent did not exceed; 0 of nothing."""
        left = sum(self.counts) * percent / 100
        if not left:
            return 0.0
        for number, count in enumerate(self.counts):
            left -= count
            if count and left <= 0:
                return upper_ns(number) / 1e6
        return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """What one run saw."""

    sent: int
    answers: int
    lost: int
    """Not answered within LOST_AFTER_S."""
    wrong: int
    """With another response code than expected, for another name, or of another length."""
    stray: int
    """Answers to nothing that was in flight: late, twice or forged."""
    closed: int
    """Connections that the server closed."""
    octets: int
    seconds: float
    """From the first request to the last answer."""
    generator_cpu_s: float
    """CPU time of the generator."""
    latency: Histogram = field(repr=False)
    first_wrong: bytes = b""

    @property
    def answers_per_s(self) -> float:
        """Answers per second."""
        return self.answers / self.seconds if self.seconds else 0.0

    @property
    def p50_ms(self) -> float:
        """Median latency."""
        return self.latency.percentile_ms(50)

    @property
    def p99_ms(self) -> float:
        """What one in a hundred exceeded."""
        return self.latency.percentile_ms(99)

    def fault(self) -> str:
        """Why the run counts for nothing; empty when it is good. One lost datagram in a thousand is the network's."""
        if self.wrong:
            return f"{self.wrong} of {self.answers} answers were wrong, such as {self.first_wrong[:120]!r}"
        if self.closed:
            return f"the server closed {self.closed} connections"
        if not self.answers:
            return f"no answer to {self.sent} requests"
        if self.lost > self.sent / 1000:
            return f"{self.lost} of {self.sent} requests were lost"
        return ""
