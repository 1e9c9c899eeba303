"""Bodies and replies about API keys."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from registry.accounts.key import OVERLAP, OVERLAP_MAX, PREFIXES_MAX, VALIDITY, VALIDITY_MAX, KeyState
from registry.accounts.roles import Right
from registry.api.schemas.base import Body, Page, Paging, Shape
from registry.api.schemas.organisations import OrganisationId
from registry.text import Line

PrefixText = Annotated[str, Meta(min_length=1, max_length=2_048)]
ValidDays = Annotated[int, Meta(ge=1, le=VALIDITY_MAX.days)]


class NewApiKey(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An API key to be made."""

    organisation: OrganisationId | None = None
    """Null for the caller's own organisation; of callers of the node level, for the node itself."""
    name: Line
    """What it is for; shown in lists."""
    rights: Annotated[list[Right], Meta(min_length=1, max_length=len(Right))]
    """None that its maker lacks."""
    prefixes: Annotated[list[PrefixText], Meta(min_length=1, max_length=PREFIXES_MAX)] | None = None
    """What it is limited to; null for all that the organisation holds."""
    test: bool = False
    """Whether it may write with ?dry_run=true only."""
    valid_days: ValidDays = VALIDITY.days
    """A key that an API key has made ends with that one at the latest."""


class ApiKeyView(Shape, frozen=True, kw_only=True):
    """An API key, without its secret."""

    id: str
    version: int
    organisation: str | None
    name: str
    rights: list[Right]
    prefixes: list[str] | None
    test: bool
    state: KeyState
    token_start: str
    """What its tokens begin with, for finding one that leaked."""
    expires: datetime
    previous_until: datetime | None
    """Until when the token before the last rotation is valid."""
    last_used: datetime | None
    """To the minute."""
    created: datetime
    created_by: str


class ApiKeyShown(Shape, frozen=True, kw_only=True):
    """An API key with its new token, which is shown once."""

    key: ApiKeyView
    token: str

    def __repr__(self) -> str:
        """Without the token: this may end up in a log."""
        return f"ApiKeyShown({self.key.id})"


class ApiKeys(Page[ApiKeyView], frozen=True, kw_only=True):
    """A page of API keys."""


class ApiKeyFilter(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which API keys are listed."""

    organisation: OrganisationId | None = None
    """Of one organisation alone."""


class KeyRotation(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another token for a key."""

    overlap_days: Annotated[int, Meta(ge=0, le=OVERLAP_MAX.days)] = OVERLAP.days
    """How long the present token stays valid; 0 ends it at once. One from before it ends in any case."""
    valid_days: ValidDays = VALIDITY.days
    """How long the key is valid from now on."""
