"""What came of a batch: counts, what was refused, and where to go on."""

import os
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final

from deploy.batch.syntax import Authenticate, Entry, Homing, Write
from protocol.codes import ResponseCode, rc_name
from protocol.errors import HandleError, OperationRefused

SHOWN_FAILURES: Final = 20  # on a terminal; a file has all of them
KEPT_FAILURES: Final = 1_000  # in memory, and in a report for machines


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One entry that was refused."""

    line: int
    what: str
    cause: str
    code: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The failure for machines."""
        facts: dict[str, Any] = {"line": self.line, "operation": self.what, "cause": self.cause}
        if self.code is not None:
            facts |= {"responseCode": self.code, "name": rc_name(self.code)}
        return facts


@dataclass(slots=True, kw_only=True)
class Report:
    """Grows while a batch runs."""

    done: int = 0
    refused: int = 0
    passed_over: int = 0
    """Before the line from which the batch was to go on."""
    failures: list[Failure] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    stopped_line: int | None = None
    """Where to go on, when the batch did not come to its end."""
    stopped_cause: str = ""
    is_unusable: bool = False
    """Whether it stopped for a fault of the batch, which trying again does not help."""

    def fail(self, entry: Entry, error: HandleError) -> Failure:
        """Note a failure."""
        code = error.refusal if isinstance(error, OperationRefused) else None
        failure = Failure(line=entry.line, what=describe(entry), cause=str(error), code=code)
        self.refused += 1
        if len(self.failures) < KEPT_FAILURES:
            self.failures.append(failure)
        return failure

    def stop(self, entry: Entry, cause: str) -> None:
        """Note that the batch ends before an entry."""
        self.stopped_line, self.stopped_cause = entry.line, cause

    def to_json(self) -> dict[str, Any]:
        """The report for machines."""
        return {
            "done": self.done,
            "refused": self.refused,
            "passedOver": self.passed_over,
            "failures": [failure.to_json() for failure in self.failures],
            "remarks": self.remarks,
            "resumeFromLine": self.stopped_line,
            "cause": self.stopped_cause or None,
        }

    def to_text(self) -> str:
        """The report for people."""
        rows = [f"line {failure.line}: {failure.what}: {failure.cause}" for failure in self.failures]
        rows[SHOWN_FAILURES:] = [f"… and {self.refused - SHOWN_FAILURES:,} more"] * (
            self.refused > SHOWN_FAILURES
        )
        rows += self.remarks
        if any(failure.code == ResponseCode.AUTHENTICATION_NEEDED for failure in self.failures):
            rows.append("say who you are with --as, or in the batch with AUTHENTICATE")
        passed = f", {self.passed_over:,} passed over" if self.passed_over else ""
        rows.append(f"{self.done:,} done, {self.refused:,} refused{passed}")
        if self.stopped_line is not None:
            rows.append(f"stopped at line {self.stopped_line}: {self.stopped_cause}")
            rows.append(f"go on with --from-line {self.stopped_line}")
        return "\n".join(rows)


class FailedFile:
    """Entries that were refused, as a batch of its own; made at the first one, for its owner alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream: TextIOWrapper | None = None

    def write(self, entry: Entry, failure: Failure) -> None:
        """Add an entry with the cause as a remark. Raises OSError."""
        if self._stream is None:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self._stream = os.fdopen(descriptor, "w", encoding="utf-8")
        cause = " ".join(failure.cause.split())
        self._stream.write("\n".join([f"# line {failure.line}: {cause}", *entry.text]) + "\n\n")
        self._stream.flush()

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()


def describe(entry: Entry) -> str:
    """An entry in a few words, without its values."""
    match entry:
        case Write(verb=verb, handle=handle):
            return f"{verb} {handle}"
        case Homing(verb=verb, prefix=prefix):
            return f"{verb} {prefix.record}"
        case Authenticate(reference=reference):
            return f"AUTHENTICATE {reference}"
        case _:
            return entry.text[0].split(maxsplit=1)[0][:40]
