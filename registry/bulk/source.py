"""The file to import: how it is told from others, opened, and read in chunks without blocking the event loop."""

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from protocol.errors import HandleError
from registry.bulk.report import STANDARD_INPUT, FileFormat, ImportOptions

CHUNK_OCTETS: Final = 262_144  # some thousand rows: one hop to the reading thread is nothing beside them
_FORMATS: Final = {".csv": FileFormat.CSV, ".jsonl": FileFormat.JSONL, ".ndjson": FileFormat.JSONL}


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
            "--prefix goes with a CSV file whose column is `suffix`; JSON Lines hold whole handles"
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
        self._is_regular = stat.S_ISREG(status.st_mode)
        self.octets = status.st_size if self._is_regular else None
        """Size of the file; None of a pipe."""

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the octets in order. Raises ImportUnusable when they cannot be read."""
        try:
            async for chunk in self._file_chunks() if self._is_regular else self._pipe_chunks():
                yield chunk
        except OSError as error:
            raise ImportUnusable(f"cannot read {self._path} any further: {error.strerror}") from None

    async def _file_chunks(self) -> AsyncIterator[bytes]:
        while chunk := await asyncio.to_thread(self._file.read, CHUNK_OCTETS):
            yield chunk

    async def _pipe_chunks(self) -> AsyncIterator[bytes]:
        """Read without a thread: one that waits for a silent pipe could not be stopped."""
        reader = asyncio.StreamReader(limit=CHUNK_OCTETS)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), self._file)
        try:
            while chunk := await reader.read(CHUNK_OCTETS):
                yield chunk
        finally:
            transport.close()

    def close(self) -> None:
        """Close it; standard input stays open."""
        if self._file is not sys.stdin.buffer:
            self._file.close()
