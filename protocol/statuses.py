"""Statuses: what a service says of names that it knows and does not answer for, as text that people and programs read.

The protocol has no response codes for them, and real clients throw on codes that they do not know; so a standing code
carries a text of fixed form (ARCHITECTURE §3.14), by which a gateway tells 403 and 410 from 404.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

REASON_MAX: Final = 500
"""Characters of a reason that travels; longer ones are for whoever asks the registry itself."""

_TIME: Final = r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)"
_FORM: Final = re.compile(
    rf"(suspended|retired|revoked)(?: by (.{{1,200}}?))? since {_TIME}(?:: (.*?))?(?:; successor (\S+))?",
    re.DOTALL,
)


class Status(StrEnum):
    """What is said of a name."""

    SUSPENDED = "suspended"
    RETIRED = "retired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusText:
    """A status with its circumstances."""

    status: Status
    since_s: int
    """Unix seconds."""
    reason: str = ""
    by: str = ""
    """Who decided, in words that tell no person: `its registrant`, `the operator of node 88.100`."""
    successor: str = ""
    """The handle that replaces a retired one."""

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        text = f"{self.status}{f' by {self.by}' if self.by else ''} since {since}"
        if self.reason:
            text += f": {self.reason[:REASON_MAX]}"
        return text + (f"; successor {self.successor}" if self.successor else "")


def parse_status(text: str) -> StatusText | None:
    """The status that a text tells, or None when it tells none."""
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    try:
        since = datetime.strptime(match[3], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
    return StatusText(
        status=Status(match[1]),
        by=match[2] or "",
        since_s=int(since.timestamp()),
        reason=match[4] or "",
        successor=match[5] or "",
    )
