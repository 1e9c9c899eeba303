"""Progress of a walk over rows whose number is known: a bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable
from typing import TextIO

from registry.bulk.progress import BAR_INTERVAL_S, ERASE_LINE, LINE_INTERVAL_S, draw_bar, format_duration


class RowProgress:
    """Tells a stream how far a walk is: at once, then every few seconds, on a terminal five times a second."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._is_terminal = stream.isatty()
        self._started_s = clock()
        self._due_s = self._started_s

    def advanced(self, done: int, total: int) -> None:
        """Take note; total may be an estimate."""
        now_s = self._clock()
        if now_s < self._due_s:
            return
        self._due_s = now_s + (BAR_INTERVAL_S if self._is_terminal else LINE_INTERVAL_S)
        text = describe(done, total, now_s - self._started_s, bar=self._is_terminal)
        self._stream.write(f"{ERASE_LINE}{text}" if self._is_terminal else f"{text}\n")
        self._stream.flush()

    def ended(self) -> None:
        """Erase the bar, so that the report starts on a clean line."""
        if self._is_terminal:
            self._stream.write(ERASE_LINE)
            self._stream.flush()


def describe(done: int, total: int, elapsed_s: float, *, bar: bool) -> str:
    """How far a walk is: share, rows, rate and the time that is left."""
    share = min(done / total, 1.0) if total else 1.0
    rate = done / elapsed_s if elapsed_s > 0 else 0.0
    parts = [f"{draw_bar(share)} {share:4.0%}" if bar else f"{share:4.0%}", f"{done:,} of {total:,} rows"]
    if rate:
        parts += [f"{rate:,.0f}/s", f"{format_duration(max(total - done, 0) / rate)} left"]
    return "  ".join(parts)
