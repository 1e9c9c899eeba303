"""What an import from a server was asked to do, how far it is, and how it ended."""

from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Final

from registry.bulk.report import ImportCounts

NAMES_MAX: Final = 20  # of the handles that a report names; the counts tell of all


class DumpStatus(IntEnum):
    """How it ended; the number is the exit code of the command."""

    COMPLETE = 0
    """Every record is in, and what is stored is what the source holds."""
    INCOMPLETE = 1
    """Everything was looked at; some records were refused, or differ from the source's."""
    UNUSABLE = 2
    """The source refuses, cannot be understood, or is not who it should be: trying again does not help."""
    INTERRUPTED = 3
    """The source or the database stopped answering: run the same command again, it goes on where it ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpOptions:
    """What the person who imports may choose."""

    rejects: Path
    """Where refused records go."""
    replace: bool = False
    """Whether a stored record that differs is replaced; otherwise the source's is refused."""
    home_prefixes: bool = False
    """Whether the prefixes that the source homes are homed here first."""
    dry_run: bool = False
    """Whether everything is undone: the report then says what would have happened."""
    catch_up: bool = False
    """Whether only what changed since the dump is brought in, by the source's transactions."""
    compare: bool = True
    """Whether the dump is read once more in the end, and compared with what is stored."""


@dataclass(slots=True, kw_only=True)
class Comparison:
    """What the second reading of the dump found."""

    alike: int = 0
    missing: int = 0
    different: int = 0
    names: list[str] = field(default_factory=list)
    """Of the first that are missing or different."""
    source_sum: str = ""
    """Checksum over names and values of every record of the dump, timestamps aside."""
    stored_sum: str = ""
    """The same over what is stored under these names."""
    asked: int = 0
    """Handles that were resolved at both."""
    answered_otherwise: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing differs."""
        return self.source_sum == self.stored_sum and not (
            self.missing or self.different or self.answered_otherwise
        )

    def to_json(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            "alike": self.alike,
            "missing": self.missing,
            "different": self.different,
            "names": self.names,
            "source_sum": self.source_sum,
            "stored_sum": self.stored_sum,
            "resolved_at_both": self.asked,
            "answered_otherwise": self.answered_otherwise,
        }


@dataclass(slots=True, kw_only=True)
class DumpReport:
    """How it ended; filled while it goes on."""

    source: str
    fingerprint: str
    dry_run: bool = False
    status: DumpStatus = DumpStatus.UNUSABLE
    counts: ImportCounts = field(default_factory=ImportCounts)
    deleted: int = 0
    """Handles that were deleted at the source since its dump, and here now."""
    resumed_after: str = ""
    """The handle behind which an earlier run had ended; empty when this one began at the beginning."""
    over_tls: bool = False
    transaction: int | None = None
    """The last of the source's log that is in; None when the source did not say."""
    prefixes: list[str] = field(default_factory=list)
    """That the source homes."""
    notes: list[str] = field(default_factory=list)
    """What a person should know."""
    comparison: Comparison | None = None
    rejects: Path | None = None
    elapsed_s: float = 0.0
    failure: str = ""

    @property
    def exit_code(self) -> int:
        """0 all in and alike, 1 some refused or different, 2 source unusable, 3 source or database gone."""
        return int(self.status)

    def to_json(self) -> dict[str, object]:
        """As plain JSON values, for `--json`."""
        return {
            "status": self.status.name.lower(),
            "source": self.source,
            "fingerprint": self.fingerprint,
            "dry_run": self.dry_run,
            "created": self.counts.created,
            "replaced": self.counts.replaced,
            "unchanged": self.counts.unchanged,
            "rejected": self.counts.rejected,
            "deleted": self.deleted,
            "resumed_after": self.resumed_after or None,
            "over_tls": self.over_tls,
            "transaction": self.transaction,
            "prefixes": self.prefixes,
            "notes": self.notes,
            "comparison": self.comparison.to_json() if self.comparison else None,
            "rejects": str(self.rejects) if self.rejects else None,
            "elapsed_s": round(self.elapsed_s, 3),
            "failure": self.failure or None,
        }

    def to_text(self) -> str:
        """As a few lines for a person."""
        counts = self.counts
        would = " (nothing was written)" if self.dry_run else ""
        outcomes = f"{counts.created} created, {counts.replaced} replaced, {counts.unchanged} unchanged"
        took = f"{counts.rows} handles in {self.elapsed_s:.1f} s{would}"
        gone = f", {self.deleted} deleted" if self.deleted else ""
        lines = [f"{took}: {outcomes}, {counts.rejected} rejected{gone}"]
        if self.comparison:
            lines += _compared(self.comparison)
        if self.rejects:
            lines.append(f"rejected records with their reasons: {self.rejects}")
        return "\n".join([*lines, *self.notes, *([self.failure] if self.failure else [])])


def _compared(found: Comparison) -> list[str]:
    verdict = "alike" if found.is_clean else "NOT alike"
    handles = found.alike + found.missing + found.different
    differing = f"{found.missing} missing, {found.different} different"
    lines = [
        f"compared with {handles} handles of the source: {verdict}; {differing}",
        f"checksums: source {found.source_sum}, stored {found.stored_sum}",
        f"resolved at both: {found.asked}, answered otherwise: {len(found.answered_otherwise)}",
    ]
    return lines + [f"  {name}" for name in [*found.names, *found.answered_otherwise][:NAMES_MAX]]
