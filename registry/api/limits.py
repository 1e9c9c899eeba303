"""How many requests an organisation may send: a bucket that refills evenly (GCRA), and the headers that tell of it.

Pure: the time is an argument. The workers of a node share the buckets.
Source of the headers: draft-ietf-httpapi-ratelimit-headers.
"""

from dataclasses import dataclass
from typing import Final

from protocol.transport.buckets import FULL, Buckets

WINDOW_S: Final = 60.0
POLICY: Final = "requests"


@dataclass(frozen=True, slots=True)
class Allowance:
    """What became of one request."""

    allowed: bool
    remaining: int
    """Requests that may follow at once."""
    wait_s: float
    """Until there is room for one more (0 when there is), or, of an allowed request, until the bucket is full."""
    quota: int

    def headers(self) -> dict[str, str]:
        """RateLimit and RateLimit-Policy."""
        return {
            "RateLimit-Policy": f'"{POLICY}";q={self.quota};w={WINDOW_S:.0f}',
            "RateLimit": f'"{POLICY}";r={self.remaining};t={_whole(self.wait_s)}',
        }

    @property
    def retry_after_s(self) -> int:
        """Whole seconds to wait, at least one."""
        return max(1, _whole(self.wait_s))


class RateLimits:
    """The buckets of a node."""

    def __init__(self, buckets: Buckets | None = None) -> None:
        """buckets: shared with the other processes of the node; None for the only one."""
        self._buckets = buckets or Buckets()

    def take(self, who: str, quota: int, now_s: float) -> Allowance:
        """Take one request from the bucket of an organisation.

        quota: requests a minute, 0 for none; as many may come at once after a quiet minute. now_s: monotonic.
        """
        if quota <= 0:
            return Allowance(False, 0, WINDOW_S, 0)
        step_s = WINDOW_S / quota
        times = self._buckets.times
        full = self._buckets.find(who, now_s)[0] + FULL
        full_at_s = max(times[full], now_s)
        if full_at_s + step_s - now_s > WINDOW_S + 1e-9:
            return Allowance(False, 0, full_at_s + step_s - WINDOW_S - now_s, quota)
        times[full] = full_at_s = full_at_s + step_s
        used_s = full_at_s - now_s
        return Allowance(True, int((WINDOW_S - used_s + 1e-9) / step_s), used_s, quota)


def _whole(seconds: float) -> int:
    return int(-(-seconds // 1))
