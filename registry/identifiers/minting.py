"""Minting: numbers of series, and random characters.

A number is a proposal: that no suffix exists twice is what the key of handles says, and who meets a taken one asks for
the next. So numbers can be handed out from memory: a process takes them in blocks from the counter of their series,
one at a time while it registers slowly (and leaves no gaps), more under load (and waits for no other writer).
"""

import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from protocol.handle import fold
from registry.identifiers.patterns import ALPHABET, Series
from registry.work import Connection

BLOCK_MAX: Final = 1_000
"""Numbers that a process takes beyond what is asked for: what a crash can waste."""
BUSY_S: Final = 1.0
"""A series whose block lasts for less than this gets a larger one next time."""
SERIES_MAX: Final = 4_096
"""Series that are kept in memory; the numbers of one that is pushed out stay unused."""
_FIRST: Final = 1

_TAKE: Final = """
    INSERT INTO identifier_counters AS c (prefix, series, next) VALUES ($1, $2, $4::bigint + $3::bigint)
    ON CONFLICT (prefix, series) DO UPDATE SET next = greatest(c.next, $4::bigint) + $3::bigint RETURNING next"""
_CHARACTERS: Final = bytes(ord(ALPHABET[octet & 31]) for octet in range(256))
IsTaken = Callable[[list[int]], Awaitable[set[int]]]
"""Tells which of some numbers have a handle already."""


def draw(characters: int) -> str:
    """Random characters of ALPHABET, five bits each."""
    return secrets.token_bytes(characters).translate(_CHARACTERS).decode("ascii")


def series_key(series: Series, *, case_sensitive: bool) -> str:
    """What a series is counted under: spellings that make the same identifiers count together."""
    return series.text if case_sensitive else fold(series.text.encode()).decode()


class SeriesExhausted(ValueError):
    """There is no number of so many digits left."""


@dataclass(slots=True)
class _Series:
    spans: deque[tuple[int, int]] = field(default_factory=deque)
    """Numbers in hand: the next one and where they end."""
    beyond: int = _FIRST
    """No number below this is ever taken from the database again, whatever was rolled back there."""
    block: int = 1
    filled_s: float = float("-inf")


class Counters:
    """The numbers of one process."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._series: OrderedDict[tuple[bytes, str], _Series] = OrderedDict()

    async def take(
        self, connection: Connection, prefix: bytes, series: str, *, digits: int, count: int
    ) -> list[int]:
        """Numbers that this process has given to nobody; fewer than count when no more of so many digits are left.

        connection: in a transaction, whose end decides whether other processes learn of a block that was taken.
        prefix: folded.
        """
        kept = self._kept(prefix, series)
        numbers: list[int] = []
        while len(numbers) < count:
            missing = count - len(numbers)
            start, end = (
                kept.spans.popleft()
                if kept.spans
                else await self._fill(connection, prefix, series, kept, missing)
            )
            if start >= 10**digits:
                break
            taken = min(missing, end - start, 10**digits - start)
            numbers += range(start, start + taken)
            if start + taken < end:
                kept.spans.appendleft((start + taken, end))
        return numbers

    def skip(self, prefix: bytes, series: str, beyond: int) -> None:
        """Give out no number of a series below beyond any more."""
        kept = self._kept(prefix, series)
        kept.beyond = max(kept.beyond, beyond)
        kept.spans = deque((max(start, beyond), end) for start, end in kept.spans if end > beyond)

    def _kept(self, prefix: bytes, series: str) -> _Series:
        kept = self._series.get((prefix, series))
        if kept is None:
            kept = self._series[prefix, series] = _Series()
            if len(self._series) > SERIES_MAX:
                self._series.popitem(last=False)
        else:
            self._series.move_to_end((prefix, series))
        return kept

    async def _fill(
        self, connection: Connection, prefix: bytes, series: str, kept: _Series, missing: int
    ) -> tuple[int, int]:
        now_s = self._clock_s()
        kept.block = min(BLOCK_MAX, kept.block * 2) if now_s - kept.filled_s < BUSY_S else 1
        kept.filled_s = now_s
        size = max(missing, kept.block)
        end: int = await connection.fetchval(_TAKE, prefix, series, size, kept.beyond)
        kept.beyond = max(kept.beyond, end)
        return end - size, end


async def first_free(number: int, *, digits: int, is_taken: IsTaken) -> int:
    """A free number above a taken one, with a taken one before it: the next, unless free ones lie in between.

    Looks at ever larger distances, then halves the last one: what was imported in one piece costs a few questions,
    however long it is. Raises SeriesExhausted.
    """
    steps = [1 << power for power in range(64) if number + (1 << power) < 10**digits]
    steps = [*steps, *([10**digits - 1 - number] if number < 10**digits - 1 else [])]
    taken = await is_taken([number + step for step in steps]) if steps else set()
    free = next((number + step for step in steps if number + step not in taken), None)
    if free is None:
        raise SeriesExhausted(f"no free number of {digits} digits was found above {number}")
    low = max((number + step for step in steps if number + step < free), default=number)
    while free - low > 1:
        middle = (low + free) // 2
        if await is_taken([middle]):
            low = middle
        else:
            free = middle
    return free
