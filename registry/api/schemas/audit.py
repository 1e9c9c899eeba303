"""The audit: who did what, in an order that nobody can change unseen."""

from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta

from registry.api.schemas.base import Page, Paging, Shape

Word = Annotated[str, Meta(max_length=2_048)]
Instant = Annotated[datetime, Meta(tz=True)]


class AuditFilter(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which entries."""

    organisation: Annotated[str, Meta(max_length=64)] | None = None
    """Of one organisation alone; callers who belong to one see no other."""
    actor: Word | None = None
    """Done by this user, API key, administrator (`300:88.100.1/ADMIN`) or node; `operator` and `system` too."""
    target: Word | None = None
    """Done to this object, by its id or name. Of a batch, the first identifier alone is its target."""
    action: Annotated[str, Meta(max_length=64)] | None = None
    """Such as `prefix.suspend`, or `prefix` for every act on prefixes."""
    since: Instant | None = None
    """Not before this time."""
    until: Instant | None = None
    """Before this time."""


class ChangeFilter(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which of an entry's changes."""


class AuditEntry(Shape, frozen=True, kw_only=True):
    """One act. Its chain is SHA-256 over the chain of the number before it and the canonical octets of the entry."""

    number: int
    """From 1 on without a gap, in the order of the commits."""
    at: datetime
    actor: str
    """A user, an API key, an administrator, a node, `operator` or `system`."""
    organisation: str | None
    """Whom it concerns; null for the node itself."""
    via: str
    """`api`, `rest`, `import`, `command`, `node` or `system`."""
    action: str
    target: str
    changes: int
    """Identifiers that it changed; see /api/v1/audit/{entry}/changes."""
    detail: dict[str, Any]
    request_id: str
    """Of the request by which it was done; empty where there was none."""
    transaction: int
    """Number of the database's transaction, and `id` the entry's name within the database; the chain covers both."""
    id: int
    digest: str | None
    """SHA-256 over the changes, in hexadecimal; null without any."""
    chain: str
    """In hexadecimal."""


class AuditEntries(Page[AuditEntry], frozen=True, kw_only=True):
    """A page of entries, the latest first. It can be short, even empty, while `next` leads to others."""


class EntryChange(Shape, frozen=True, kw_only=True):
    """One identifier that an act changed."""

    identifier: str
    action: str
    """`create`, `update`, `delete`, `home` or `unhome`."""
    version: int
    """The identifier's version from then on."""
    at: datetime


class EntryChanges(Page[EntryChange], frozen=True, kw_only=True):
    """A page of changes, in the order in which the act lists them."""


class AuditHead(Shape, frozen=True, kw_only=True):
    """The last entry that has a number. Kept elsewhere, it proves later that nothing before it was changed."""

    number: int
    """0 while there is none."""
    chain: str
    """In hexadecimal."""
    changes: int
    """Identifiers changed by all entries up to this one."""
    numbered: datetime | None
    """When; null while there is none."""
    waiting: int
    """Entries that have no number yet, counted to 10,000."""
