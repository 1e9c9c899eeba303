"""Bodies and replies about neighbours: nodes below and above, moves, filings, reports."""

from datetime import date, datetime
from typing import Annotated

from msgspec import Meta

from registry.accounts.profile import Profile
from registry.api.schemas.base import Body, Page, Paging, Shape
from registry.api.schemas.organisations import OrganisationId
from registry.api.schemas.sites import SiteForm
from registry.peers.messages import Direction, FilingState, ReportMessage
from registry.peers.moves import Phase
from registry.text import Paragraph

KeyId = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
"""SHA-256 of the public key of a node's site record, in hexadecimal."""
Url = Annotated[str, Meta(min_length=8, max_length=2_000)]


class NodeReason(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a node is barred, or let in again."""

    reason: Paragraph


class NodeProbe(Shape, frozen=True, kw_only=True):
    """What was found when the node was last asked whether it serves what it was given."""

    at: datetime
    fault: str | None
    """What was wrong; null when all was well."""


class NodeView(Shape, frozen=True, kw_only=True):
    """A node below."""

    node: str
    """Key id."""
    organisation: str | None
    """To whom it belongs; null until the organisation has confirmed it."""
    claim: str | None
    """The organisation that it says it belongs to."""
    state: str
    """known or barred."""
    reason: str
    software: str
    site: SiteForm
    first_seen: datetime
    last_seen: datetime
    proved: datetime | None
    """When it last proved that it holds its key."""
    probe: NodeProbe | None


class Nodes(Page[NodeView], frozen=True, kw_only=True):
    """A page of nodes below."""


class UpstreamView(Shape, frozen=True, kw_only=True):
    """A node above."""

    node: str
    """Key id, pinned at the first contact."""
    url: str
    pinned: datetime
    last_contact: datetime | None
    fault: str
    """Why the last attempt to reach it failed; empty when it did not."""
    route_checked: datetime | None
    route_fault: str | None
    """In what its records of our prefixes differ from where this node is; null when in nothing."""


class Upstreams(Page[UpstreamView], frozen=True, kw_only=True):
    """The nodes above."""


class LetterView(Shape, frozen=True, kw_only=True):
    """A message to a node above that waits."""

    node: str
    kind: str
    """filing, report or heartbeat."""
    subject: str
    attempts: int
    next_at: datetime
    fault: str
    """Of the last attempt."""
    created: datetime


class Letters(Page[LetterView], frozen=True, kw_only=True):
    """Messages to nodes above that wait, the longest first."""


class NewEnrolment(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What this node asks a node above for."""

    url: Url
    """Of the node above, such as https://node.example."""
    node: KeyId | None = None
    """Its key id; without, the key that it tells at the first contact is believed from then on."""
    organisation: OrganisationId | None = None
    """Who applies: an organisation of this node, which will hold the prefix here."""
    claim: OrganisationId | None = None
    """The organisation's id at the node above, where it has one there."""
    label: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    """The label that is wished for; null for the next free number."""
    joins: bool = False
    """No prefix is wanted: one that the node above hosts for the organisation shall move here."""
    held: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    """With joins: a prefix of that node above that this node serves already."""


class EnrolmentView(Shape, frozen=True, kw_only=True):
    """What was asked of a node above, and how far it has come."""

    id: str
    node: str
    organisation: str | None
    claim: str | None
    label: str | None
    joins: bool
    state: str
    """sending, applied, homed, allocated, joined or rejected."""
    reason: str
    prefix: str | None
    created: datetime
    changed: datetime


class Enrolments(Page[EnrolmentView], frozen=True, kw_only=True):
    """A page of enrolments."""


class NewMove(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a prefix shall be served."""

    to: Direction
    """delegated: by the holder's own node; hosted: by this one."""
    node: KeyId | None = None
    """Key id of the holder's node; needed towards delegated."""
    reason: Paragraph


class MoveView(Shape, frozen=True, kw_only=True):
    """A move of a prefix between this node and another one."""

    id: str
    prefix: str
    to: Direction
    node: str
    """The other node."""
    drives: bool
    """Whether this node takes the steps; else the other one does."""
    organisation: str | None
    reason: str
    phase: Phase
    rows: int
    """Handles copied so far."""
    frozen_since: datetime | None
    """Since when this node refuses writes for it; null while it does not."""
    fault: str
    """Why the last step failed; it is taken again. Empty when it did not."""
    attempts: int
    started: datetime
    changed: datetime
    ended: datetime | None


class Moves(Page[MoveView], frozen=True, kw_only=True):
    """A page of moves, the latest first."""


class AbortMove(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a move is given up."""

    reason: Paragraph


class ProofView(Shape, frozen=True, kw_only=True):
    """Whose key was proved."""

    application: str
    node: str
    proved: datetime


class ProbeResult(Shape, frozen=True, kw_only=True):
    """What a probe found."""

    prefix: str
    fault: str | None
    """What was wrong; null when all was well."""


class FilingView(Shape, frozen=True, kw_only=True):
    """An organisation that a node below has filed."""

    node: str
    organisation: str
    """Its id at the node below."""
    version: int
    profile: Profile
    state: FilingState
    reason: str
    decided_by: str
    received: datetime
    decided: datetime


class Filings(Page[FilingView], frozen=True, kw_only=True):
    """A page of filings, the latest first."""


class FilingFilter(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which filings."""

    node: KeyId | None = None
    """Of one node alone."""


class FilingDecision(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is said to a filing."""

    state: FilingState
    reason: Annotated[str, Meta(max_length=1_000)] = ""

    def __post_init__(self) -> None:
        """A refusal takes a reason."""
        if self.state is FilingState.REFUSED and not self.reason:
            raise ValueError("reason: is needed for a refusal")


class ReportView(Shape, frozen=True, kw_only=True):
    """What a node below counted in a day."""

    node: str
    day: date
    received: datetime
    report: ReportMessage


class Reports(Page[ReportView], frozen=True, kw_only=True):
    """A page of reports of a node, the latest first."""
