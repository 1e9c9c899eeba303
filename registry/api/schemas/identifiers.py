"""Parameters and replies about identifiers; what is sent to register and change them: registry/identifiers/forms.py."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from protocol.wire import MAX_HANDLE_OCTETS
from registry.api.schemas.base import Page, Paging, Query, Shape
from registry.identifiers.states import IdentifierState
from registry.identifiers.values import ValueForm

NAME_CHARACTERS_MAX = MAX_HANDLE_OCTETS
VERSION_MAX = 2**63 - 1


class IdentifierReading(Query, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which state of an identifier is read: the present one without a parameter."""

    version: Annotated[int, Meta(ge=1, le=VERSION_MAX)] | None = None
    """The one with this number."""
    at: Annotated[datetime, Meta(tz=True)] | None = None
    """The one of this moment (RFC 3339)."""


class IdentifierFilter(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which identifiers are listed."""

    prefix: Annotated[str, Meta(min_length=1, max_length=NAME_CHARACTERS_MAX)]
    """Below which prefix."""
    state: IdentifierState | None = None
    """In which state; any when missing."""
    start: Annotated[str, Meta(max_length=NAME_CHARACTERS_MAX)] = msgspec.field(name="from", default="")
    """The suffix with which the list begins."""


class ValueName(Shape, frozen=True, kw_only=True):
    """A value without its data."""

    index: int
    type: str


class Identifier(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """An identifier."""

    identifier: str
    """As it was spelled when it was registered; other spellings in the case of ASCII letters mean the same."""
    prefix: str
    suffix: str
    state: IdentifierState
    version: int
    """One more with every change; the ETag."""
    changed: datetime
    """Since when it is so."""
    registered: datetime | None = None
    """When it was registered; not told of earlier versions."""
    values: list[ValueForm]
    """The public ones, by ascending index."""
    restricted: list[ValueName] = msgspec.field(default_factory=list)
    """The others, without their data."""
    range: str | None = None
    """Id of the range that its suffix was reserved in."""
    reason: str | None = None
    """Why it is suspended or retired."""
    successor: str | None = None
    """What replaces it once it is retired."""
    since: datetime | None = None
    """Since when the reason holds."""


class RestrictedValues(Shape, frozen=True, kw_only=True):
    """Values that are not public."""

    values: list[ValueForm]


class ListedIdentifier(Shape, frozen=True, kw_only=True):
    """What a list tells of an identifier."""

    identifier: str
    state: IdentifierState
    version: int
    changed: datetime


class IdentifierList(Page[ListedIdentifier], frozen=True, kw_only=True):
    """A page of identifiers in order of their names; it may hold fewer than `limit` though `next` tells of more."""


class VersionState(StrEnum):
    """What an identifier was in one of its versions."""

    DRAFT = "draft"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    RETIRED = "retired"
    DELETED = "deleted"


class IdentifierVersion(Shape, frozen=True, kw_only=True):
    """One version of an identifier."""

    version: int
    state: VersionState
    since: datetime
    until: datetime | None
    """Null for the present one."""


class IdentifierVersions(Page[IdentifierVersion], frozen=True, kw_only=True):
    """A page of versions, the latest first."""


class Act(StrEnum):
    """What became of an identifier."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    """It was so already."""
    DELETED = "deleted"
    REFUSED = "refused"


class Written(Shape, frozen=True, kw_only=True):
    """What a write did."""

    identifier: str
    result: Act
    version: int
    """The version now; the ETag."""


class ItemProblem(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """Why an item was refused: what a request for it alone would be told (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    remedy: str
    retry: bool = False
    pointer: str = ""
    """What in the item is wrong, as a JSON pointer."""


class ItemResult(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one item of a batch."""

    result: Act
    identifier: str | None = None
    """What was registered or changed; missing of an item that was refused before it had a name."""
    version: int | None = None
    problem: ItemProblem | None = None
    """Of an item that was refused."""


class BatchResult(Shape, frozen=True, kw_only=True):
    """What became of the items of a batch, in their order."""

    done: int
    refused: int
    items: list[ItemResult]
