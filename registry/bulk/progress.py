"""Progress of an import on standard error: a bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable
from typing import Final, TextIO

from registry.bulk.report import ImportCounts, Progress

BAR_INTERVAL_S: Final = 0.2  # redrawn five times a second: fluent to the eye, nothing to the terminal
LINE_INTERVAL_S: Final = 5.0  # a log of an hour's import stays under a thousand lines
BAR_CELLS: Final = 28
ERASE_LINE: Final = "\r\x1b[K"


def progress_for(stream: TextIO) -> Progress:
    """Return what suits the stream: a bar for a terminal, a line every few seconds for anything else."""
    return ProgressBar(stream) if stream.isatty() else ProgressLines(stream)


class SilentProgress:
    """Says nothing."""

    def advanced(self, counts: ImportCounts, elapsed_s: float) -> None:
        """Take no note."""

    def ended(self) -> None:
        """Tidy up nothing."""


class ProgressBar:
    """One line that is drawn over itself."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._due_s = 0.0

    def advanced(self, counts: ImportCounts, elapsed_s: float) -> None:
        """Draw the line again when it is due."""
        now_s = self._clock()
        if now_s < self._due_s:
            return
        self._due_s = now_s + BAR_INTERVAL_S
        self._stream.write(ERASE_LINE + describe(counts, elapsed_s, bar=True))
        self._stream.flush()

    def ended(self) -> None:
        """Erase the line, so that the report starts on a clean one."""
        self._stream.write(ERASE_LINE)
        self._stream.flush()


class ProgressLines:
    """A line every few seconds."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._due_s = clock() + LINE_INTERVAL_S

    def advanced(self, counts: ImportCounts, elapsed_s: float) -> None:
        """Write a line when one is due."""
        now_s = self._clock()
        if now_s < self._due_s:
            return
        self._due_s = now_s + LINE_INTERVAL_S
        self._stream.write(describe(counts, elapsed_s, bar=False) + "\n")
        self._stream.flush()

    def ended(self) -> None:
        """Write nothing: the report follows."""


def describe(counts: ImportCounts, elapsed_s: float, *, bar: bool) -> str:
    """Return how far the import is: share of the file, rows, rate, remaining time.

    The share and the remaining time go by octets of the file; of a pipe they are not known and left out.
    """
    rate = counts.rows / elapsed_s if elapsed_s > 0 else 0.0
    parts = [f"{counts.rows:,} rows", f"{rate:,.0f}/s"]
    if counts.rejected:
        parts.append(f"{counts.rejected:,} rejected")
    if counts.file_octets:
        share = min(counts.read_octets / counts.file_octets, 1.0)
        if share > 0:
            parts.append(f"{format_duration(elapsed_s / share - elapsed_s)} left")
        parts.insert(0, f"{draw_bar(share)} {share:4.0%}" if bar else f"{share:4.0%}")
    return "  ".join(parts)


def format_duration(seconds: float) -> str:
    """Return a duration as 42s, 3m05s or 2h07m."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"


def draw_bar(share: float) -> str:
    """Return a bar of which a share from 0 to 1 is filled."""
    filled = int(share * BAR_CELLS)
    return "[" + "#" * filled + "-" * (BAR_CELLS - filled) + "]"
