"""Organisation: one as it is stored, the states of its review, and what leads from one to another. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from registry.accounts.profile import Profile


class Review(StrEnum):
    """How far the review has come."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    APPROVED = "approved"
    REJECTED = "rejected"


class FilingState(StrEnum):
    """Whether the organisation is filed (备案) with the node above."""

    NONE = "none"
    PENDING = "pending"
    FILED = "filed"
    REFUSED = "refused"


class Act(StrEnum):
    """What is done to an organisation; each makes a new version."""

    CREATE = "create"
    CHANGE = "change"
    SUBMIT = "submit"
    APPROVE = "approve"
    REJECT = "reject"
    SUSPEND = "suspend"
    RESUME = "resume"
    FILE = "file"
    QUOTA = "quota"


SUSPENDED: Final = "suspended"
"""The state that is shown whatever the review says."""

TRANSITIONS: Final[Mapping[Act, Mapping[Review, Review]]] = {
    Act.SUBMIT: {Review.DRAFT: Review.SUBMITTED, Review.REJECTED: Review.SUBMITTED},
    Act.APPROVE: {Review.SUBMITTED: Review.APPROVED},
    Act.REJECT: {Review.SUBMITTED: Review.REJECTED},
}
"""From which state an act leads to which. Suspension is beside it: an organisation is suspended whatever its review
says, lest a change that is reviewed again made it impossible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """What the operator allows an organisation."""

    requests_per_minute: int = 6_000
    identifiers_per_day: int = 50_000_000
    users_max: int = 1_000
    keys_max: int = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Filing:
    """Where the filing with the node above stands."""

    state: FilingState = FilingState.NONE
    reason: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Organisation:
    """An organisation at one version."""

    id: str
    version: int
    review: Review
    reason: str
    """Why it was rejected."""
    suspended_reason: str | None
    profile: Profile
    legal_representative: str | None
    contact: str | None
    submitted_by: str | None
    quotas: Quotas
    filing: Filing
    created: datetime
    changed: datetime

    @property
    def suspended(self) -> bool:
        """Whether its users and keys are barred and its prefixes need the operator."""
        return self.suspended_reason is not None

    @property
    def state(self) -> str:
        """What is shown: the review, or that it is suspended."""
        return SUSPENDED if self.suspended else self.review.value


def possible_acts(review: Review) -> list[str]:
    """The acts of the review that start from this state."""
    return [act.value for act, steps in TRANSITIONS.items() if review in steps]
