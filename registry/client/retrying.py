"""When a request is sent again, and how long to wait before. Pure: chance and time are arguments.

Writes carry an Idempotency-Key, so that repeating one whose answer was lost does it once.
"""

import math
from dataclasses import dataclass
from typing import Final

from registry.api.schemas.base import ProblemBody

BUSY_STATUSES: Final = frozenset({429, 502, 503, 504})
"""What a proxy in front of a node answers while it, or the node, cannot work; a problem of the API says for itself
whether repeating helps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often a request is repeated, and after which pauses."""

    repeats_max: int = 6
    """With the pauses below some six to twelve seconds: longer than a node takes to start again."""
    pause_s: float = 0.2
    """Before the first repetition; twice as long before each further one."""
    pause_max_s: float = 10.0
    asked_max_s: float = math.inf
    """Of Retry-After: what asks for a longer wait is not repeated."""

    def pause_before(self, repeat: int, *, asked_s: float | None, chance: float) -> float | None:
        """Seconds to wait before a repetition; None when there is to be none.

        repeat: 1 for the first one. asked_s: what Retry-After asks for, which is never cut short. chance: 0 to 1, so
        that clients that were refused together do not come back together.
        """
        if repeat > self.repeats_max or (asked_s is not None and asked_s > self.asked_max_s):
            return None
        pause_s = min(self.pause_s * 2.0 ** (repeat - 1), self.pause_max_s) * (0.5 + chance / 2)
        return pause_s if asked_s is None else asked_s + pause_s


NO_RETRIES: Final = Retries(repeats_max=0)


def is_passing(status: int, problem: ProblemBody | None) -> bool:
    """Whether the same request may succeed in a moment."""
    return status in BUSY_STATUSES if problem is None else problem.retry
