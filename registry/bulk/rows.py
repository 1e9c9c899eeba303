"""Rows of a file as records to create: CSV with a header, and JSON Lines.

A parser is fed lines and gives rows, good ones and rejected ones; it does no input or output, and keeps at most
one unfinished row. Whatever a line holds, it becomes a row or a rejected row, and the next line is looked at.
"""

import csv
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from protocol.errors import HandleError, InvalidHandle, InvalidValue
from protocol.handle import Handle
from protocol.jsonform import value_from_json
from protocol.value import HandleValue, ValueList
from protocol.wire import MAX_VALUES
from registry.bulk.columns import Columns, HeaderUnusable, read_header
from registry.bulk.lines import LINE_OCTETS_MAX, OverlongLine
from registry.bulk.report import FileFormat, ImportOptions
from registry.outcomes import Creation

ROW_OCTETS_MAX: Final = LINE_OCTETS_MAX  # of one row over all its lines; also what an open quote may swallow
ROW_LINES_MAX: Final = 1_000  # lines of one quoted cell: a long text, not the rest of a file
COUNT_OF_DATA: Final = 4  # octets of the length before a value's data
_NO_REFERENCES: Final = bytes(4)
_REPEATED_PREFIX: Final = (
    "the suffix begins with the prefix once more; whole handles go into a column `handle`, without --prefix"
)
_BLANKS: Final = "the handle has blanks at its ends; take them away, or use JSON Lines if they belong to it"

csv.field_size_limit(ROW_OCTETS_MAX)  # its own limit is below the largest value

Source = list[str] | bytes
"""What a row was read from: the cells of a CSV row, or the octets of a line that has no cells."""


class Row(NamedTuple):
    """A row that makes a record."""

    line: int
    """Where it begins in the file, from 1."""
    creation: Creation
    source: Source


class RejectedRow(NamedTuple):
    """A row that makes none, and why."""

    line: int
    reason: str
    source: Source


class RowParser(Protocol):
    """Lines in, rows out."""

    columns: Columns | None
    """What the header says; None before it was read, and for JSON Lines."""

    @property
    def is_begun(self) -> bool:
        """Whether rows may follow: the header was read, where the format has one."""

    def feed(self, lines: Iterable[bytes], *, last: bool = False) -> Iterator[Row | RejectedRow]:
        """Give the rows that these lines complete; with last, nothing follows. Raises HeaderUnusable."""


def parser_for(file_format: FileFormat, options: ImportOptions) -> RowParser:
    """Return the parser of a format."""
    return CsvParser(options) if file_format is FileFormat.CSV else JsonLinesParser()


class _Starved(Exception):
    """The lines end in the middle of a row, and more will come."""


class _Unreadable(Exception):
    """The row cannot be read; the text is the reason."""


class _LineFeed:
    """Hands lines to the csv module one by one and remembers those of the row in progress, to take them back.

    Octets that are not UTF-8 pass as lone surrogates, so that the row can still be split and told from its
    neighbours; they are found when the cells are encoded.
    """

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque()
        self._row: list[bytes] = []
        self._row_octets = 0
        self._last = False
        self.line = 1
        """Number of the line at which the row in progress begins."""

    def extend(self, lines: Iterable[bytes], *, last: bool) -> None:
        """Add lines."""
        self._waiting.extend(lines)
        self._last = last

    def __iter__(self) -> "_LineFeed":
        return self

    def __next__(self) -> str:
        if not self._waiting:
            if self._last:
                raise StopIteration
            raise _Starved
        line = self._waiting.popleft()
        self._row.append(line)
        self._row_octets += len(line)
        if type(line) is OverlongLine:
            raise _Unreadable(f"a line is longer than {LINE_OCTETS_MAX} octets")
        if self._row_octets > ROW_OCTETS_MAX or len(self._row) > ROW_LINES_MAX:
            raise _Unreadable(f"a quote is opened and not closed within {ROW_LINES_MAX} lines")
        return line.decode("utf-8", "surrogateescape") + "\n"

    def next_row(self) -> int:
        """Forget the lines of a finished row. Returns the number of its first line."""
        begun = self.line
        self.line += len(self._row)
        self._row.clear()
        self._row_octets = 0
        return begun

    def give_back(self) -> None:
        """Let the lines of the row in progress come again."""
        self._waiting.extendleft(reversed(self._row))
        self._row.clear()
        self._row_octets = 0

    def drop_line(self) -> tuple[int, bytes]:
        """Give up the first line of the row in progress, let the others come again. Returns its number and octets."""
        dropped = self._row.pop(0)
        self.give_back()
        self.line += 1
        return self.line - 1, dropped


class CsvParser:
    """Rows of a CSV file (RFC 4180, UTF-8), after its header."""

    def __init__(self, options: ImportOptions) -> None:
        self._options = options
        self._feed = _LineFeed()
        self._reader = csv.reader(self._feed, strict=True)
        self.columns: Columns | None = None

    @property
    def is_begun(self) -> bool:
        """Whether the header was read."""
        return self.columns is not None

    def feed(self, lines: Iterable[bytes], *, last: bool = False) -> Iterator[Row | RejectedRow]:
        """Give the rows that these lines complete. Raises HeaderUnusable."""
        self._feed.extend(lines, last=last)
        while True:
            try:
                cells = next(self._reader)
            except _Starved:
                self._feed.give_back()
                return
            except StopIteration:
                return
            except (csv.Error, _Unreadable) as error:
                yield self._unreadable(error)
                continue
            line = self._feed.next_row()
            if cells and self.columns is not None:
                yield _row_of_cells(line, cells, self.columns)
            elif cells:
                self.columns = read_header(
                    cells, prefix=self._options.prefix, ttl_s=self._options.default_ttl_s
                )

    def _unreadable(self, error: Exception) -> RejectedRow:
        line, octets = self._feed.drop_line()
        text = str(error)
        reason = "a quote is opened and never closed" if "unexpected end of data" in text else text
        if self.columns is None:
            raise HeaderUnusable(f"the header, line {line}, cannot be read: {reason}")
        return RejectedRow(line, reason, octets)


def _row_of_cells(line: int, cells: list[str], columns: Columns) -> Row | RejectedRow:
    try:
        return Row(line, _record_of_cells(columns, cells), cells)
    except UnicodeEncodeError:
        return RejectedRow(line, "the row is not UTF-8", cells)
    except (InvalidHandle, InvalidValue) as error:
        return RejectedRow(line, str(error), cells)


def _record_of_cells(columns: Columns, cells: list[str]) -> Creation:
    """The record of a row; the values in ascending order of their indexes. Raises InvalidHandle, InvalidValue."""
    if len(cells) != len(columns.names):
        raise InvalidValue(f"the row has {len(cells)} cells, the header {len(columns.names)}")
    name = cells[columns.name_position]
    if not name:
        raise InvalidHandle("the handle is empty")
    if name != name.strip():
        raise InvalidHandle(_BLANKS)
    if columns.name_start and name.startswith(columns.name_start):
        raise InvalidHandle(_REPEATED_PREFIX)
    parts: list[bytes] = []
    for column in columns.values:
        cell = cells[column.position]
        if cell:
            data = column.encode(cell)
            parts += (column.head, len(data).to_bytes(COUNT_OF_DATA, "big"), data, _NO_REFERENCES)
    handle = Handle.parse(columns.name_start + name)
    return Creation(handle, ValueList(b"".join(parts), len(parts) // 4))


class JsonLinesParser:
    """One record per line, in the JSON form of PROTOCOL §8.4: `{"handle": ..., "values": [...]}`."""

    columns: Columns | None = None
    is_begun = True

    def __init__(self) -> None:
        self._line = 0

    def feed(self, lines: Iterable[bytes], *, last: bool = False) -> Iterator[Row | RejectedRow]:
        """Give the row of every line that is not blank."""
        for line in lines:
            self._line += 1
            if line.strip():
                yield _row_of_json(self._line, line)


def _row_of_json(number: int, line: bytes) -> Row | RejectedRow:
    if type(line) is OverlongLine:
        return RejectedRow(number, f"the line is longer than {LINE_OCTETS_MAX} octets", line)
    try:
        return Row(number, _record_of_json(msgspec.json.decode(line)), line)
    except (UnicodeError, RecursionError):
        return RejectedRow(number, "the line is not UTF-8, or nested too deeply", line)
    except (msgspec.DecodeError, HandleError) as error:
        return RejectedRow(number, str(error), line)


def _record_of_json(record: Any) -> Creation:
    """The record of a JSON object, its values in ascending order of their indexes; other members are ignored."""
    if not isinstance(record, dict):
        raise InvalidValue("a line is a JSON object with `handle` and `values`")
    name, values = record.get("handle"), record.get("values")
    if not isinstance(name, str):
        raise InvalidHandle("`handle` is missing or no text")
    if not isinstance(values, list) or len(values) > MAX_VALUES:
        raise InvalidValue(f"`values` is missing, no list, or longer than {MAX_VALUES}")
    decoded = sorted((value_from_json(value) for value in values), key=_index_of)
    return Creation(Handle.parse(name), ValueList.of(decoded))


def _index_of(value: HandleValue) -> int:
    return value.index
