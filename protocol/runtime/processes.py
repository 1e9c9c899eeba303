"""What whoever runs processes needs: that they end with the one that started them, and when to start them again."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

PR_SET_PDEATHSIG: Final = 1  # prctl(2)
FIRST_DELAY_S: Final = 0.5
MAX_DELAY_S: Final = 30.0  # a fault that needs a person: asking twice a minute is enough
STEADY_S: Final = 60.0  # who ran this long starts anew with the shortest delay


class Backoff:
    """How long to wait before the next start: twice as long each time, anew after a steady run."""

    def __init__(self, first_s: float = FIRST_DELAY_S, max_s: float = MAX_DELAY_S) -> None:
        self._first_s = self._delay_s = first_s
        self._max_s = max_s

    def delay_after(self, ran_s: float) -> float:
        """Seconds to wait, given how long the process ran."""
        if ran_s >= STEADY_S:
            self._delay_s = self._first_s
        delay_s = self._delay_s
        self._delay_s = min(self._max_s, delay_s * 2)
        return delay_s


def describe_end(status: int) -> str:
    """How a process ended, in words. status: its exit code, or minus the number of the signal that ended it."""
    return f"ended with status {status}" if status >= 0 else f"was ended by {signal.Signals(-status).name}"


def ends_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """What a child runs before its program, so that it gets signal `number` when its parent dies.

    The signal follows the parent's thread: start children from a thread that lives as long as they should.
    None where the system has no such thing; there the next start ends what was left.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # loaded before the fork, called after it
    parent = os.getpid()

    def before_program() -> None:
        prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # it died between the fork and here
            os._exit(1)

    return before_program
