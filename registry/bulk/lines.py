"""Lines out of chunks of a file, each of bounded length."""

import codecs
from typing import Final

LINE_OCTETS_MAX: Final = 1_048_576  # four of the largest messages: any record, its escapes and base64
EXCERPT_OCTETS: Final = 200  # what is kept of a longer line, enough to find it in an editor


class OverlongLine(bytes):
    """The beginning of a line that is longer than allowed; the rest of it is gone."""

    __slots__ = ()


class LineSplitter:
    """Joins chunks and cuts them at line feeds; keeps at most one unfinished line.

    A byte order mark at the beginning is dropped; a carriage return before the line feed stays with the line.
    """

    def __init__(self, line_octets_max: int = LINE_OCTETS_MAX) -> None:
        self._line_octets_max = line_octets_max
        self._held = b""
        self._excerpt: OverlongLine | None = None
        self._begun = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that this chunk completes, without their line feeds."""
        lines = (self._held + chunk).split(b"\n")
        self._held = lines.pop()
        if self._excerpt is not None and lines:
            lines[0] = self._excerpt
            self._excerpt = None
        if lines and not self._begun:
            self._begun = True
            lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
        if self._excerpt is not None:
            self._held = b""
        elif len(self._held) > self._line_octets_max:
            self._excerpt = OverlongLine(self._held[:EXCERPT_OCTETS])
            self._held = b""
        return [self._bounded(line) for line in lines] if self._has_overlong(lines) else lines

    def finish(self) -> list[bytes]:
        """Return the last line, when the file does not end in a line feed."""
        if self._excerpt is None and not self._held:
            return []
        return self.feed(b"\n")

    def _has_overlong(self, lines: list[bytes]) -> bool:
        return max(map(len, lines), default=0) > self._line_octets_max

    def _bounded(self, line: bytes) -> bytes:
        return line if len(line) <= self._line_octets_max else OverlongLine(line[:EXCERPT_OCTETS])
