"""The file to import: how it is told from others, opened, and read in chunks without blocking the event loop."""

import asyncio
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from protocol.errors import HandleError
from registry.bulk.report import STANDARD_INPUT, FileFormat, ImportOptions

CHUNK_OCTETS: Final = 262_144  # some thousand rows: one hop to the reading thread is nothing beside them
_FORMATS: Final = {".csv": FileFormat.CSV, ".jsonl": FileFormat.JSONL, ".ndjson": FileFormat.JSONL}
SPREADSHEETS: Final = frozenset({".xlsx", ".xls", ".ods", ".numbers"})


class ImportUnusable(HandleError):
    """An option is wrong, or a file cannot be read or written; the text says which, why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPlan:
    """What will be read and written."""

    path: Path
    format: FileFormat
    rejects: Path


def plan_import(path: Path, options: ImportOptions) -> ImportPlan:
    """Decide the format and the file of rejects before anything is read. Raises ImportUnusable."""
    file_format = options.format or _format_of(path)
    if options.prefix is not None and file_format is not FileFormat.CSV:
        raise ImportUnusable(
            "--prefix goes with a CSV file whose column is `suffix`; JSON Lines hold whole handles: leave --prefix out"
        )
    rejects = options.rejects or _rejects_beside(path, file_format)
    _check_rejects(rejects, path)
    return ImportPlan(path=path, format=file_format, rejects=rejects)


def _format_of(path: Path) -> FileFormat:
    if path == STANDARD_INPUT:
        raise ImportUnusable("of standard input the format must be said: --format csv or --format jsonl")
    try:
        return _FORMATS[path.suffix.lower()]
    except KeyError:
        if path.suffix.lower() in SPREADSHEETS:
            raise ImportUnusable(
                f"{path} is a spreadsheet: save it as CSV (UTF-8), and import that"
            ) from None
        raise ImportUnusable(
            f"{path}: the extension does not tell the format; say --format csv or --format jsonl"
        ) from None


def _rejects_beside(path: Path, file_format: FileFormat) -> Path:
    if path == STANDARD_INPUT:
        return Path(f"stdin.rejected.{file_format}")
    return path.with_name(f"{path.stem}.rejected.{file_format}")


def _check_rejects(rejects: Path, path: Path) -> None:
    if rejects.is_dir() or not os.access(rejects.parent, os.W_OK | os.X_OK):
        raise ImportUnusable(
            f"rejected rows cannot be written to {rejects}; choose another file with --rejects"
        )
    if path != STANDARD_INPUT and rejects.exists() and path.exists() and rejects.samefile(path):
        raise ImportUnusable(f"{rejects} is the imported file itself; choose another file with --rejects")


class Source:
    """An open file, pipe or terminal. Read it once, then close it."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises ImportUnusable."""
        try:
            self._file: BinaryIO = sys.stdin.buffer if path == STANDARD_INPUT else path.open("rb")
            status = os.fstat(self._file.fileno())
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ImportUnusable(f"cannot read {path}: {reason}") from None
        self._path = path
        self._pipe: asyncio.StreamReader | None = None
        self._transport: asyncio.ReadTransport | None = None
        self._is_regular = stat.S_ISREG(status.st_mode)
        self.octets = status.st_size if self._is_regular else None
        """Size of the file; None of a pipe."""

    async def read(self) -> bytes:
        """Return the next octets, nothing at the end. Raises ImportUnusable when they cannot be read."""
        try:
            if self._is_regular:
                return await asyncio.to_thread(self._file.read, CHUNK_OCTETS)
            if self._pipe is None:
                self._pipe = await self._open_pipe()
            return await self._pipe.read(CHUNK_OCTETS)
        except OSError as error:
            raise ImportUnusable(f"cannot read {self._path} any further: {error.strerror}") from None

    async def _open_pipe(self) -> asyncio.StreamReader:
        """Read without a thread: one that waits for a silent pipe could not be stopped."""
        pipe = asyncio.StreamReader(limit=CHUNK_OCTETS)
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(pipe), self._file
        )
        return pipe

    def close(self) -> None:
        """Close it; standard input stays open unless it is a pipe."""
        if self._transport is not None:
            self._transport.close()
        elif self._file is not sys.stdin.buffer:
            self._file.close()
