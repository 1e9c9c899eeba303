"""Answers of each of the last seconds, of all workers of a node: so that the node's largest second is known.

Each process has a column of its own and writes nothing else, so nothing locks. A cell is one word, second and count
together, which is never seen half written.
"""

from collections import defaultdict
from typing import Final

SECONDS: Final = 16  # remembered; the counts of one second are added up within two
CELL_OCTETS: Final = 8
_COUNT_BITS: Final = 28  # 268 million answers in a second
_COUNT_MASK: Final = (1 << _COUNT_BITS) - 1


def octets_of(columns: int) -> int:
    """The size of a table."""
    return columns * SECONDS * CELL_OCTETS


class NodeSeconds:
    """The table as one process sees it."""

    def __init__(self, memory: memoryview, column: int) -> None:
        """memory: octets_of(columns), zeros at first, shared. column: of this process alone while it runs."""
        self._cells = memory.cast("B").cast("Q")
        assert 0 <= column < len(self._cells) // SECONDS
        self._first = column * SECONDS

    def publish(self, second: int, count: int) -> None:
        """This process has answered so many in a second of the clock so far."""
        self._cells[self._first + second % SECONDS] = second << _COUNT_BITS | min(count, _COUNT_MASK)

    def totals(self) -> dict[int, int]:
        """Answers of all processes by second of the clock, as far as they are remembered."""
        found: defaultdict[int, int] = defaultdict(int)
        for cell in self._cells.tolist():
            if cell:
                found[cell >> _COUNT_BITS] += cell & _COUNT_MASK
        return found
