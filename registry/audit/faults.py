"""What verification of the audit finds and reports."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

FAULTS_SHOWN_MAX: Final = 1_000
"""Faults that are described; further ones are counted, since a lost table would be as many as it had rows."""


class FaultKind(StrEnum):
    """What is wrong."""

    ENTRY_CHANGED = "entry_changed"
    """The chain does not lead from the previous entry to this one."""
    ENTRY_MISSING = "entry_missing"
    """A number whose entry is gone from audit_log."""
    ENTRY_ADDED = "entry_added"
    """An entry without a number among those that have one."""
    NUMBER_MISSING = "number_missing"
    NUMBER_WRONG = "number_wrong"
    """A number below 1, or rows of the transaction log counted wrongly."""
    LOG_CHANGED = "log_changed"
    """Rows of the transaction log are not those that the entry covers."""
    LOG_ADDED = "log_added"
    """Rows of the transaction log that belong to no entry."""
    HEAD_DIFFERS = "head_differs"
    """The chain ends elsewhere than the node has noted in the database."""
    CHECKPOINT_DIFFERS = "checkpoint_differs"
    """The chain does not go through a head that was noted outside the database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong."""

    kind: FaultKind
    number: int | None
    """Of the entry, where it has one."""
    message: str
    """For people; with the ids that lead to the row, without its contents."""

    def to_json(self) -> dict[str, Any]:
        """The fault as JSON."""
        return {"kind": self.kind.value, "number": self.number, "message": self.message}


@dataclass(slots=True, kw_only=True)
class Faults:
    """Faults as they are found: the first of them described, all of them counted."""

    shown: list[Fault] = field(default_factory=list)
    total: int = 0

    def add(self, kind: FaultKind, number: int | None, message: str) -> None:
        """Take a fault."""
        self.total += 1
        if len(self.shown) < FAULTS_SHOWN_MAX:
            self.shown.append(Fault(kind=kind, number=number, message=message))


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was looked at, and what is wrong with it."""

    entries: int
    """Numbered entries that were looked at."""
    log_rows: int
    """Rows of the transaction log that they cover."""
    waiting: int
    """Entries that have no number yet, rightly."""
    checkpoints: int
    number: int
    """Of the last entry; 0 without one."""
    chain: bytes
    """Up to there."""
    elapsed_s: float
    faults: Sequence[Fault]
    """The first FAULTS_SHOWN_MAX, in the order in which they were found."""
    faults_total: int

    @property
    def intact(self) -> bool:
        """Whether nothing is wrong."""
        return self.faults_total == 0

    def to_json(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "intact": self.intact,
            "entries": self.entries,
            "log_rows": self.log_rows,
            "waiting": self.waiting,
            "checkpoints": self.checkpoints,
            "head": {"number": self.number, "chain": self.chain.hex()},
            "elapsed_s": round(self.elapsed_s, 3),
            "faults": [fault.to_json() for fault in self.faults],
            "faults_total": self.faults_total,
        }

    def to_text(self) -> str:
        """The report for a person."""
        looked = (
            f"{self.entries:,} entries with {self.log_rows:,} changes of handles, {self.checkpoints:,} checkpoints,"
            f" {self.elapsed_s:.1f} s"
        )
        lines = [looked]
        if self.waiting:
            have = "entry has" if self.waiting == 1 else "entries have"
            lines.append(f"{self.waiting:,} {have} no number yet; a running node sees to it")
        if self.intact:
            lines.append(f"intact up to entry {self.number:,}, chain {self.chain.hex()}")
            return "\n".join(lines)
        lines.append(f"faults: {self.faults_total:,}")
        lines += [f"  {fault.kind}: {fault.message}" for fault in self.faults]
        hidden = self.faults_total - len(self.faults)
        if hidden:
            lines.append(f"  and {hidden:,} more")
        return "\n".join(lines)
