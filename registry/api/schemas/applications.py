"""Bodies and replies about applications for prefixes."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from registry.allocation.lifecycle import ApplicationState, Hosting
from registry.api.schemas.base import Body, Page, Paging, Shape
from registry.api.schemas.organisations import OrganisationId
from registry.api.schemas.sites import SiteForm
from registry.text import Paragraph

PrefixText = Annotated[str, Meta(min_length=1, max_length=255)]
"""A prefix such as 88.100.7."""
Label = Annotated[str, Meta(min_length=1, max_length=128)]
"""One label of a prefix, such as the 7 of 88.100.7."""


class NewApplication(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A wish for a prefix."""

    organisation: OrganisationId | None = None
    """Who shall hold it; needed where the caller belongs to none."""
    parent: PrefixText | None = None
    """The prefix below which it shall be; null for a prefix of one label, which only a root allocates."""
    label: Label | None = None
    """The wanted label; null for the next free number."""
    hosting: Hosting = Hosting.HOSTED
    """Who shall serve its identifiers: this node (hosted), or a node of the holder's own (delegated)."""
    site: SiteForm | None = None
    """Of a delegated prefix: the site record of the holder's node."""
    purpose: Paragraph
    """What it is wanted for."""


class Withdrawal(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why an application is taken back."""

    reason: Paragraph | None = None


class ApplicationView(Shape, frozen=True, kw_only=True):
    """An application, and what became of it."""

    id: str
    version: int
    organisation: str
    parent: str | None
    label: str | None
    hosting: Hosting
    site: SiteForm | None
    purpose: str
    state: ApplicationState
    reason: str
    """Of the last decision."""
    applied: datetime
    applied_by: str
    decided: datetime | None
    decided_by: str | None
    proved: datetime | None
    """When the node of a delegated prefix proved that it holds its key; without, it is not allocated."""
    prefix: str | None
    """What is or will be allocated, from the approval on."""
    possible: list[str]
    """What may happen to it now."""


class ApplicationFilter(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which applications are listed."""

    organisation: OrganisationId | None = None
    """Those of one organisation."""
    state: ApplicationState | None = None
    """Those in one state."""


class Applications(Page[ApplicationView], frozen=True, kw_only=True):
    """A page of applications, newest first."""
