"""Timer wheel: many waits behind one timer of the event loop. Pure: time is passed in.

Nearly every wait for an answer ends early, since the answer came, so beginning and ending one must cost next to
nothing: a wait is a member of the set of its tick, and leaves it without a search.
"""

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

TICKS_PER_S: Final = 64  # waits are half a second and longer; a retransmission may be 16 ms late

T = TypeVar("T", bound=Hashable)


class TimerWheel(Generic[T]):
    """Items by the tick at which they fall due; holds an item for each wait that has neither ended nor fallen due."""

    def __init__(self, ticks_per_s: int = TICKS_PER_S) -> None:
        self._ticks_per_s = ticks_per_s
        self._ticks: dict[int, set[T]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._ticks.values()))

    def add(self, item: T, due_s: float) -> set[T]:
        """Let an item fall due at due_s, never earlier and at most a tick later.

        Returns the set that holds it: discarding the item from it ends the wait.
        """
        tick = int(due_s * self._ticks_per_s) + 1
        waiting = self._ticks.get(tick)
        if waiting is None:
            waiting = self._ticks[tick] = set()
        waiting.add(item)
        return waiting

    def take_due(self, now_s: float) -> list[T]:
        """The items that have fallen due, earlier ticks first; they are forgotten."""
        now_tick = now_s * self._ticks_per_s
        due = sorted(tick for tick in self._ticks if tick <= now_tick)
        return [item for tick in due for item in self._ticks.pop(tick)]

    def next_due_s(self) -> float | None:
        """When to ask take_due() next; None when nobody waits."""
        for tick in [tick for tick, waiting in self._ticks.items() if not waiting]:
            del self._ticks[tick]
        return min(self._ticks) / self._ticks_per_s if self._ticks else None
