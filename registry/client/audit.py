"""Calls about the audit log and about what is used."""

from collections.abc import AsyncIterator
from typing import Final

from registry.api.schemas.audit import (
    AuditEntries,
    AuditEntry,
    AuditFilter,
    AuditHead,
    ChangeFilter,
    EntryChange,
    EntryChanges,
)
from registry.api.schemas.usage import UsageDay, UsageDays, UsageFilter
from registry.client.address import path_of
from registry.client.area import Area

AUDIT: Final = "audit"
EVERY: Final = AuditFilter()
EVERY_DAY: Final = UsageFilter()


class AuditCalls(Area):
    """The audit log."""

    def every(self, which: AuditFilter = EVERY) -> AsyncIterator[AuditEntry]:
        """Entries, the latest first; reading them is audited itself."""
        return self._every(path_of(AUDIT), AuditEntries, which)

    async def get(self, number: int) -> AuditEntry:
        """One entry."""
        return (await self._connection.get(path_of(AUDIT, str(number)), AuditEntry)).body

    def changes(self, number: int) -> AsyncIterator[EntryChange]:
        """The identifiers that an entry's act changed."""
        return self._every(path_of(AUDIT, str(number), "changes"), EntryChanges, ChangeFilter())

    async def head(self) -> AuditHead:
        """The last entry that has a number, with its chain."""
        return (await self._connection.get(path_of(AUDIT, "head"), AuditHead)).body


class UsageCalls(Area):
    """What is used."""

    def every(self, which: UsageFilter = EVERY_DAY) -> AsyncIterator[UsageDay]:
        """Days, the latest first."""
        return self._every(path_of("usage"), UsageDays, which)
