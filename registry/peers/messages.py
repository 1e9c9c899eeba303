"""Messages that nodes send each other, as JSON over the signed HTTP API; octets stand in base64.

Every message says the same when it is sent again: what it is about carries an id or a version of the sender's.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from registry.accounts.profile import Profile
from registry.allocation.routes import SITE_OCTETS_MAX
from registry.peers.pages import NUMBER_MAX
from registry.text import Line, Paragraph

RECORD_OCTETS_MAX: Final = 262_144
"""Octets of the values of a prefix record: what a message of the Handle protocol carries."""
SOURCES_MAX: Final = 10_000
"""Source networks of a daily report; the rest is counted together."""
PREFIXES_MAX: Final = 10_000
"""Prefixes of one node that a report counts one by one."""
FILINGS_MAX: Final = 100
"""Decisions told with one heartbeat; what is left comes with the next."""
PAGE_BODY_OCTETS_MAX: Final = 12_582_912
"""Of a body that carries a page: its values, a record more than the page's bound, and base64 of both."""

Octets = Annotated[bytes, Meta(max_length=PAGE_BODY_OCTETS_MAX)]
SiteOctets = Annotated[bytes, Meta(max_length=SITE_OCTETS_MAX)]
RecordOctets = Annotated[bytes, Meta(max_length=RECORD_OCTETS_MAX)]
Count = Annotated[int, Meta(ge=0, lt=NUMBER_MAX)]
Number = Annotated[float, Meta(ge=0, le=1e12)]
PrefixName = Annotated[str, Meta(min_length=1, max_length=255)]
EnrolmentId = Annotated[str, Meta(pattern="^enr_[a-z2-7]{20}$")]
MoveId = Annotated[str, Meta(pattern="^mov_[a-z2-7]{20}$")]
OrganisationId = Annotated[str, Meta(pattern="^org_[a-z2-7]{20}$")]


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The body of a request between nodes."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The body of an answer; later versions may add fields."""


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The public values of a prefix record, in wire form."""

    count: Annotated[int, Meta(ge=1, le=2_048)]
    values: RecordOctets


# Enrolment: from a child to the node above.


class ApplicationMessage(Message, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A node introduces itself, and asks for a prefix."""

    id: EnrolmentId
    site: SiteOctets
    """Its site record, data of an HS_SITE; the request is signed with its key."""
    joins: bool = False
    """Whether it asks for no prefix: one that the organisation `claim` has hosted above shall move to it."""
    claim: OrganisationId | None = None
    """The organisation's id at the node above, where it has one there."""
    organisation: Profile | None = None
    """Who applies, where it has none."""
    wanted: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    """The label of the prefix; null for the next free number."""
    purpose: Paragraph = "a node of its own"


class ApplicationState(StrEnum):
    """How far an application of a node has come."""

    ORGANISATION = "organisation"
    """The organisation waits for its review."""
    PREFIX = "prefix"
    """The application for the prefix waits for its review, or for its allocation."""
    OFFERED = "offered"
    """The prefix is the node's as soon as it says that it serves it."""
    READY = "ready"
    """The node serves the prefix; it is probed before it goes live."""
    ALLOCATED = "allocated"
    JOINED = "joined"
    REJECTED = "rejected"


class ApplicationAnswer(Answer, frozen=True, kw_only=True):
    """How far it has come."""

    id: str
    state: ApplicationState
    reason: str = ""
    prefix: str | None = None
    record: Record | None = None
    """The prefix record by which the child authorises who writes below the prefix, once it is offered."""


class HeartbeatMessage(Message, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A node is alive, and tells where it is."""

    site: SiteOctets
    software: Annotated[str, Meta(max_length=100)] = ""


class FilingState(StrEnum):
    """What the node above says to a filing."""

    FILED = "filed"
    REFUSED = "refused"


class FilingMessage(Message, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An organisation is filed (备案) with the node above; people are not passed on."""

    organisation: OrganisationId
    """Its id at the node that files it."""
    version: Count
    """Of the contents: a filing with a lower version than the last one changes nothing."""
    profile: Profile


class FilingAnswer(Answer, frozen=True, kw_only=True):
    """What became of a filing."""

    organisation: str
    version: int
    state: FilingState
    reason: str = ""


class HeartbeatAnswer(Answer, frozen=True, kw_only=True):
    """What the node above has to tell."""

    site: SiteOctets = b""
    """Its own site record, by which the records of our prefixes can be asked for."""
    site_fault: str = ""
    """Why the site is not the one in the prefix record; empty when it is."""
    filings: list[FilingAnswer] = []
    """Decisions since the heartbeat before."""


class SourceCount(Message, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Resolutions from one network."""

    source: Line
    resolutions: Count


class PrefixCount(Message, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Identifiers below one prefix."""

    prefix: PrefixName
    identifiers: Count


class ReportMessage(Message, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a node counted in one day (modelled on tables T3 and T8 of the public docking guide)."""

    day: date
    registrations: Count
    resolutions: Count
    successes: Count
    denials: Count
    failures: Count
    peak_per_s: Count
    peak_at: datetime | None = None
    latency_min_s: Number | None = None
    latency_max_s: Number | None = None
    latency_mean_s: Number | None = None
    prefixes: Annotated[list[PrefixCount], Meta(max_length=PREFIXES_MAX)] = []
    sources: Annotated[list[SourceCount], Meta(max_length=SOURCES_MAX)] = []


class Received(Answer, frozen=True, kw_only=True):
    """The message has arrived and is kept."""

    received: bool = True


# Proof: from anybody to a node.


class ChallengeMessage(Message, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prove that you hold the key of your site record."""

    nonce: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{16,64}$")]


class ChallengeAnswer(Answer, frozen=True, kw_only=True):
    """The proof."""

    node: str
    """Key id."""
    signature: bytes
    """By the key, over `handlegrid challenge`, a line end, and the nonce."""


# Moves: from the node above, which drives them, to the node below.


class Direction(StrEnum):
    """Where a prefix goes."""

    DELEGATED = "delegated"
    """To the node below."""
    HOSTED = "hosted"
    """To the node above."""


class MoveMessage(Message, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A move begins, or goes on after a restart."""

    id: MoveId
    prefix: PrefixName
    direction: Direction
    case_sensitive: bool
    record: Record
    """The prefix record as it is now."""


class Step(StrEnum):
    """What the node below is told to do next."""

    FREEZE = "freeze"
    """Refuse writes below the prefix, and say when none is under way any more. Towards hosted."""
    DIGEST = "digest"
    """Say how many rows there are, and their digest."""
    HOME = "home"
    """Answer for the prefix, frozen. Towards delegated."""
    FINISH = "finish"
    """Refer to the new place and answer no more. Towards hosted."""
    OPEN = "open"
    """Take writes. Towards delegated."""
    ABORT = "abort"
    """Let everything be as before."""


class StepMessage(Message, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One step of a move; taking it twice is taking it once."""

    step: Step
    record: Record | None = None
    """With home and open: the prefix record as it is then. With finish: as it is, its HS_SITE the new place."""
    keep_s: Count = 0
    """With finish: how long others may still ask here."""


class MoveAnswer(Answer, frozen=True, kw_only=True):
    """Where the node below stands."""

    phase: str
    ready: bool = True
    """False: the same request is to be sent again, since the work is not done yet."""
    rows: int = 0
    digest: bytes = b""


class PageKind(StrEnum):
    """What a page holds."""

    ROWS = "rows"
    VERSIONS = "versions"
    REST = "rest"


class SealedPage(Message, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A page (MessagePack), sealed for whoever receives it."""

    key: Annotated[bytes, Meta(max_length=1_024)]
    nonce: Annotated[bytes, Meta(max_length=12)]
    octets: Octets


class PageRequest(Message, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The page behind a position, of what changed since then."""

    kind: PageKind
    position: Annotated[bytes, Meta(max_length=4_096)] = b""
    since_ms: Count = 0
