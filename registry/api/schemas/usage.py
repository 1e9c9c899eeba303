"""What an organisation uses, and what it may use."""

from datetime import date

from registry.api.schemas.base import Page, Paging, Shape


class UsageFilter(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which days of which organisations."""

    organisation: str | None = None
    """Of one organisation alone; callers who belong to one see no other."""
    first: date | None = None
    """The first day, in UTC."""
    last: date | None = None
    """The last day, in UTC."""


class UsageDay(Shape, frozen=True, kw_only=True):
    """What was used on one day, in UTC; it counts up to a few seconds ago."""

    organisation: str | None
    """Null for callers of the node level."""
    day: date
    requests: int
    failures: int
    """Of these, answered with a status from 400 on."""
    identifiers_created: int


class Quota(Shape, frozen=True, kw_only=True):
    """What an organisation may use."""

    requests_per_minute: int
    identifiers_per_day: int


class UsageDays(Page[UsageDay], frozen=True, kw_only=True):
    """A page of days, the latest first."""

    quota: Quota | None
    """Of the organisation that was asked for, or of the caller's own; null for a list of several."""
