"""Parameters and replies about ranges. What is sent to reserve them is registry/identifiers/forms.py."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from registry.api.schemas.base import Page, Paging, Shape
from registry.api.schemas.identifiers import NAME_CHARACTERS_MAX


class RangeFilter(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which ranges are listed."""

    prefix: Annotated[str, Meta(min_length=1, max_length=NAME_CHARACTERS_MAX)]
    """Below which prefix."""


class ReservedRange(Shape, frozen=True, kw_only=True):
    """Suffixes that are reserved: those of the pattern with the numbers from first to last."""

    id: str
    prefix: str
    pattern: str
    """With its date in place, such as LINE4-2026-{seq:8}."""
    first: int
    last: int
    """Below first when all of it was released."""
    count: int
    """How many suffixes it holds now."""
    reserved: int
    """How many it held before any was released."""
    created: datetime
    released: datetime | None


class RangeReport(ReservedRange, frozen=True, kw_only=True):
    """A range and how far it is used."""

    last_activated: int | None
    """The highest number that is registered; null when none is."""


class ReservedRanges(Page[ReservedRange], frozen=True, kw_only=True):
    """A page of ranges."""
