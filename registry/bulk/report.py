"""What an import was asked to do, how far it is, and how it ended."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Final, Protocol

from protocol.handle import Prefix
from protocol.value import DEFAULT_TTL_S

STANDARD_INPUT: Final = Path("-")


class FileFormat(StrEnum):
    """The two forms of a file of records."""

    CSV = "csv"
    JSONL = "jsonl"


class ImportStatus(IntEnum):
    """How an import ended; the number is the exit code of the command."""

    COMPLETE = 0
    """Every row is in."""
    SOME_REJECTED = 1
    """Every row was looked at; the rejected ones stand in the file of rejects."""
    UNUSABLE = 2
    """An option is wrong, or a file cannot be read or written."""
    DATABASE_GONE = 3
    """The database stopped answering: run the same command again, it skips what is in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What the person who imports may choose."""

    format: FileFormat | None = None
    """None: by the extension, `.csv`, or `.jsonl` and `.ndjson`."""
    prefix: Prefix | None = None
    """The prefix of every row of a CSV file whose column is `suffix`."""
    replace: bool = False
    """Whether a stored record that differs is replaced; otherwise its row is rejected."""
    rejects: Path | None = None
    """Where rejected rows go; None: `<file>.rejected.csv` or `.jsonl` beside the file."""
    default_ttl_s: int = DEFAULT_TTL_S
    """TTL of the values of a CSV file."""


@dataclass(slots=True, kw_only=True)
class ImportCounts:
    """Rows so far, each in one of four outcomes, and how far the file is read."""

    created: int = 0
    replaced: int = 0
    unchanged: int = 0
    """Rows whose record was stored alike already."""
    rejected: int = 0
    read_octets: int = 0
    file_octets: int | None = None
    """None when the size is not known, as of a pipe."""

    @property
    def stored(self) -> int:
        """Rows that are in the database now."""
        return self.created + self.replaced + self.unchanged

    @property
    def rows(self) -> int:
        """Rows that have their outcome."""
        return self.stored + self.rejected


class Progress(Protocol):
    """Somebody who is told how an import goes; called on the event loop, so it must not block."""

    def advanced(self, counts: ImportCounts, elapsed_s: float) -> None:
        """Take note of the counts, which grow in place; called after every batch."""

    def ended(self) -> None:
        """Tidy up: nothing follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """How an import ended."""

    status: ImportStatus
    counts: ImportCounts
    elapsed_s: float
    rejects: Path | None
    """The file of rejected rows; None when no row was rejected."""
    failure: str = ""
    """Why it ended early and what to do about it; empty when it did not."""

    @property
    def exit_code(self) -> int:
        """0 all in, 1 some rejected, 2 unusable options or files, 3 the database is gone."""
        return int(self.status)

    @property
    def rows_per_s(self) -> float:
        """Rows with an outcome per second."""
        return self.counts.rows / self.elapsed_s if self.elapsed_s > 0 else 0.0

    def to_json(self) -> dict[str, object]:
        """Return the report as plain JSON values, for `--json`."""
        return {
            "status": self.status.name.lower(),
            "rows": self.counts.rows,
            "created": self.counts.created,
            "replaced": self.counts.replaced,
            "unchanged": self.counts.unchanged,
            "rejected": self.counts.rejected,
            "read_octets": self.counts.read_octets,
            "elapsed_s": round(self.elapsed_s, 3),
            "rows_per_s": round(self.rows_per_s, 1),
            "rejects": str(self.rejects) if self.rejects else None,
            "failure": self.failure or None,
        }

    def to_text(self) -> str:
        """Return the report as a few lines for a person."""
        if self.failure and not self.counts.rows:
            return self.failure
        counts = self.counts
        outcomes = f"{counts.created} created, {counts.replaced} replaced, {counts.unchanged} unchanged"
        rate = f"{counts.rows} rows in {self.elapsed_s:.1f} s ({self.rows_per_s:.0f}/s)"
        lines = [f"{rate}: {outcomes}, {counts.rejected} rejected"]
        if self.rejects:
            lines.append(f"rejected rows with line number and reason: {self.rejects}")
        if self.failure:
            lines.append(self.failure)
        return "\n".join(lines)
