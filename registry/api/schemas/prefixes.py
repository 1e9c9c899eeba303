"""Bodies and replies about allocated prefixes."""

from datetime import datetime

from registry.allocation.lifecycle import Hosting, PrefixAct, PrefixState
from registry.api.schemas.applications import PrefixText
from registry.api.schemas.base import Body, Page, Paging, Shape
from registry.api.schemas.organisations import OrganisationId
from registry.api.schemas.sites import SiteForm
from registry.text import Paragraph


class PublicReason(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a prefix is suspended or revoked; everybody who asks for its identifiers is told."""

    reason: Paragraph


class Transfer(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """To whom a prefix is given."""

    organisation: OrganisationId
    reason: Paragraph


class Holder(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who shall hold a prefix that the node serves in its own name."""

    organisation: OrganisationId


class HolderView(Shape, frozen=True, kw_only=True):
    """Who holds a prefix of the node's own."""

    prefix: str
    organisation: str


class NewRoute(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the holder's node is from now on."""

    site: SiteForm
    reason: Paragraph


class HistoryView(Shape, frozen=True, kw_only=True):
    """One act on a prefix, and its state afterwards."""

    version: int
    act: PrefixAct
    state: PrefixState
    hosting: Hosting
    organisation: str | None
    reason: str
    actor: str
    at: datetime


class History(Page[HistoryView], frozen=True, kw_only=True):
    """A page of what was done to a prefix, the latest first."""


class ProbeView(Shape, frozen=True, kw_only=True):
    """What was found when the prefix's node was last asked whether it serves the prefix."""

    at: datetime
    fault: str | None
    """What was wrong; null when all was well."""


class WorkView(Shape, frozen=True, kw_only=True):
    """Work on all records of a prefix."""

    id: str
    kind: str
    """rewrite (after a transfer) or purge."""
    records: int
    """Looked at so far."""
    changed: int
    started: datetime
    ended: datetime | None


class PrefixItem(Shape, frozen=True, kw_only=True):
    """A prefix in a list."""

    prefix: str
    version: int
    organisation: str | None
    """Who holds it; null: allocated by a command of the operator."""
    hosting: Hosting
    state: PrefixState
    reason: str
    """Of the last act."""
    allocated: datetime
    changed: datetime
    revoked: datetime | None
    """The last time that it was."""


class PrefixView(PrefixItem, frozen=True, kw_only=True):
    """An allocated prefix."""

    parent: str | None
    site: SiteForm
    """Who serves it."""
    status_text: str
    """What everybody who asks for its identifiers is told while it is not active."""
    writable: bool
    """Whether its identifiers may be changed here now; not while it moves or is handed over."""
    possible: list[str]
    """What may happen to it now."""
    probe: ProbeView | None
    work: WorkView | None
    """The latest work on all of its records."""
    history: list[HistoryView]
    """The latest acts."""


class PrefixFilter(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which prefixes are listed."""

    organisation: OrganisationId | None = None
    """Those of one organisation."""
    state: PrefixState | None = None
    """Those in one state."""
    parent: PrefixText | None = None
    """Those directly below one prefix."""


class Prefixes(Page[PrefixItem], frozen=True, kw_only=True):
    """A page of prefixes in order of their names, letters in upper case."""


class AdministratorKey(Shape, frozen=True, kw_only=True):
    """The key of a prefix's administrator, told once."""

    identity: str
    """Index and handle: the user name for the Handle protocol and for /api/handles."""
    key: str
    """The secret."""
