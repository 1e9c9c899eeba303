"""Bodies and replies about organisations, their people and their identities."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from registry.accounts.organisation import FilingState, Review
from registry.accounts.person import Person
from registry.accounts.profile import Profile
from registry.api.schemas.base import Body, Page, Paging, Shape
from registry.text import Paragraph

OrganisationId = Annotated[str, Meta(min_length=1, max_length=64, pattern="^[a-z0-9_]+$")]
"""An id such as org_mbzwc3tpmnqxezltorxxe2lo."""
SubjectId = Annotated[str, Meta(min_length=1, max_length=64, pattern="^[a-z0-9_]+$")]
IdentityText = Annotated[str, Meta(min_length=3, max_length=2_100)]
"""Index and handle, such as 300:88.100.1/ADMIN."""
Count = Annotated[int, Meta(ge=0, le=1_000_000_000)]


class OrganisationState(StrEnum):
    """What is shown of review and suspension together."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    APPROVED = "approved"
    REJECTED = "rejected"
    SUSPENDED = "suspended"


class NewOrganisation(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An organisation to be taken in."""

    profile: Profile
    submit: bool = True
    """Whether it is submitted for review at once; else it stays a draft."""
    legal_representative: Person | None = None
    contact: Person | None = None


class OrganisationChange(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole new profile; what reviewers check is reviewed again."""

    profile: Profile


class PersonChange(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person to be named in the place of another."""

    person: Person


class Decision(StrEnum):
    """What a reviewer decides."""

    APPROVE = "approve"
    REJECT = "reject"


class ReviewDecision(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A decision on an organisation."""

    decision: Decision
    reason: Paragraph | None = None
    """Needed for a rejection; shown to the organisation."""

    def __post_init__(self) -> None:
        """A rejection without a reason helps nobody."""
        if self.decision is Decision.REJECT and not self.reason:
            raise ValueError("a rejection needs a reason")


class Reason(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why something is done; kept in the audit log, so no personal data."""

    reason: Paragraph


class OrganisationQuotas(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the operator allows an organisation."""

    requests_per_minute: Count
    identifiers_per_day: Annotated[int, Meta(ge=0, le=1_000_000_000_000)]
    users_max: Count
    keys_max: Count


class FilingView(Shape, frozen=True, kw_only=True):
    """Whether the organisation is filed (备案) with the node above."""

    state: FilingState
    reason: str
    at: datetime | None


class OrganisationView(Shape, frozen=True, kw_only=True):
    """An organisation; people are named by id, their data are read separately."""

    id: str
    version: int
    state: OrganisationState
    review: Review
    """What the review says, also while it is suspended."""
    reason: str
    """Why it was rejected."""
    suspended_reason: str | None
    profile: Profile
    legal_representative: str | None
    contact: str | None
    quotas: OrganisationQuotas
    filing: FilingView
    created: datetime
    changed: datetime


class Organisations(Page[OrganisationView], frozen=True, kw_only=True):
    """A page of organisations."""


class OrganisationFilter(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which organisations are listed."""

    state: OrganisationState | None = None
    """In which state; any when missing."""
    uscc: Annotated[str, Meta(max_length=18, pattern="^[0-9A-Z]+$")] | None = None
    """The one with this unified social credit code."""


class OrganisationAct(Shape, frozen=True, kw_only=True):
    """What made a version of an organisation."""

    version: int
    act: str
    reason: str
    actor: str
    at: datetime


class OrganisationActs(Page[OrganisationAct], frozen=True, kw_only=True):
    """A page of versions, the latest first."""


class PersonalFieldView(Shape, frozen=True, kw_only=True):
    """One thing that is known of a person."""

    field: str
    value: str
    purpose: str
    """Why it is kept."""
    retain_until: datetime | None
    """When it is deleted; null for as long as the purpose lasts."""


class PersonView(Shape, frozen=True, kw_only=True):
    """What is known of a person; nothing once he is erased."""

    id: str
    fields: list[PersonalFieldView]


class NewIdentity(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose an HS_ADMIN identity is."""

    identity: IdentityText
    """Index and handle of the HS_SECKEY or HS_PUBKEY value, such as 300:88.100.1/ADMIN."""
    subject: SubjectId
    """The organisation, or a user or API key of it; together with whom the identity is barred."""


class IdentityView(Shape, frozen=True, kw_only=True):
    """An HS_ADMIN identity that belongs to an organisation or somebody of it."""

    identity: str
    subject: str
    created: datetime


class Identities(Page[IdentityView], frozen=True, kw_only=True):
    """A page of identities."""


class ReferenceFilter(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose identities are looked for."""

    subject: SubjectId | None = None
    """Those of one user or API key, or of the organisation itself; else all of the organisation."""


class ReferenceView(Shape, frozen=True, kw_only=True):
    """A value of a record that names one of the identities."""

    identifier: str
    index: int
    """Of the HS_ADMIN or HS_VLIST value."""
    identity: str


class ReferencePage(Page[ReferenceView], frozen=True, kw_only=True):
    """A part of the report; an empty one may have a next."""

    examined: int
    """Records that were looked at."""
