"""The file of rejected rows: line number, reason and row, in a form that can be corrected and imported again."""

import csv
import os
from collections.abc import Iterable
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import Final

import msgspec

from registry.bulk.columns import COMMENT_COLUMNS, LINE_COLUMN, REASON_COLUMN, TEXT_COLUMN, Columns
from registry.bulk.rows import RejectedRow, Source

REJECTS_MODE: Final = 0o600  # a rejected row may hold a secret key
_REASON_CHARACTERS_MAX: Final = 500


class RejectsFile:
    """Opened at the first rejected row; a file of that name from an earlier import is kept with `~` behind its name.

    CSV: the columns of the imported file behind `#line`, `#reason` and `#text`; a row that could not be split into
    cells stands whole in `#text`. JSON Lines: the same three as members of the object. An import passes over them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream: TextIOWrapper | None = None

    def write(self, row: RejectedRow, columns: Columns | None) -> None:
        """Add a row. columns: of a CSV file. Raises OSError."""
        stream = self._stream
        if stream is None:
            stream = self._stream = _create(self.path)
            if columns is not None:
                stream.write(_joined([*COMMENT_COLUMNS, *_own(columns.names, columns)]) + "\n")
        # A reason may quote a name that is no UTF-8.
        reason = row.reason[:_REASON_CHARACTERS_MAX].encode("utf-8", "backslashreplace").decode()
        if columns is not None:
            text = _joined([str(row.line), reason, *_cells(row.source, columns)])
        else:
            text = _object_text(row.line, reason, row.source)
        stream.write(text + "\n")

    def close(self) -> Path | None:
        """Close the file. Returns its path, or None when no row was rejected. Raises OSError."""
        if self._stream is None:
            return None
        self._stream.close()
        return self.path


def _create(path: Path) -> TextIOWrapper:
    if path.exists():
        path.replace(path.with_name(path.name + "~"))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, REJECTS_MODE)
    # What was not UTF-8 goes out as it came in, so that the row can be put right with the editor that made it.
    return os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="")


def _own(cells: Iterable[str], columns: Columns) -> list[str]:
    """Return the cells without those of comment columns."""
    return [cell for cell, name in zip(cells, columns.names, strict=False) if name not in COMMENT_COLUMNS]


def _cells(source: Source, columns: Columns) -> list[str]:
    """Return the cell of `#text` and the cells of the imported file's own columns."""
    own = len(columns.names) - sum(name in COMMENT_COLUMNS for name in columns.names)
    if isinstance(source, bytes):
        return [source.decode("utf-8", "surrogateescape").rstrip("\r"), *[""] * own]
    if len(source) != len(columns.names):
        return [_joined(source), *[""] * own]
    text = source[columns.names.index(TEXT_COLUMN)] if TEXT_COLUMN in columns.names else ""
    return [text, *_own(source, columns)]


def _joined(cells: list[str]) -> str:
    """Return cells as one row of CSV."""
    line = StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


def _object_text(line: int, reason: str, source: Source) -> str:
    assert isinstance(source, bytes)
    try:
        record = msgspec.json.decode(source)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        record = None
    if not isinstance(record, dict):
        record = {TEXT_COLUMN: source.decode("utf-8", "backslashreplace")}
    return msgspec.json.encode({LINE_COLUMN: line, REASON_COLUMN: reason} | _without_marks(record)).decode()


def _without_marks(record: dict[str, object]) -> dict[str, object]:
    return {name: member for name, member in record.items() if name not in (LINE_COLUMN, REASON_COLUMN)}
