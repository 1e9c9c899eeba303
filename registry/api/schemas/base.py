"""What bodies, parameters and replies are made of, and the parts that many of them share."""

from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta

PAGE_ITEMS_DEFAULT = 50
PAGE_ITEMS_MAX = 200
"""Items of one page: what a person scrolls through, and a few hundred kilobytes at most."""
CURSOR_CHARACTERS_MAX = 4_096
"""A cursor may hold the key of a handle, 2,048 octets, as base64."""

Item = TypeVar("Item")

Cursor = Annotated[str, Meta(max_length=CURSOR_CHARACTERS_MAX, pattern="^[A-Za-z0-9_-]*$")]
"""Where a page begins; opaque, from `next` of the page before."""
Limit = Annotated[int, Meta(ge=1, le=PAGE_ITEMS_MAX)]


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a request: a field that is not described is refused."""


class Query(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parameters after the question mark: one that is not described is refused."""


class Paging(Query, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parameters of a list."""

    limit: Limit = PAGE_ITEMS_DEFAULT
    """Items of one page at most."""
    cursor: Cursor = ""
    """`next` of the page before; nothing for the first page."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a reply, or a part of one; later versions may add fields."""


class Page(Shape, Generic[Item], frozen=True, kw_only=True):
    """A page of a list."""

    items: list[Item]
    next: str | None
    """The cursor of the following page; null on the last one."""


class FieldError(Shape, frozen=True, kw_only=True):
    """What is wrong with one field of a request."""

    pointer: str
    """JSON pointer into the body; of a parameter, its name after `?`."""
    detail: str


class ProblemBody(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """A refusal (RFC 9457), sent as application/problem+json."""

    type: str
    """The address of the problem type's page, such as /api/v1/problems/not-found."""
    title: str
    status: int
    detail: str
    instance: str
    """urn:request: and the request id."""
    request_id: str
    remedy: str
    """What the client can do."""
    retry: bool
    """Whether the same request may succeed later, unchanged."""
    response_code: int | None = None
    """What the Handle protocol answers in the same case, where it has a word for it."""
    errors: list[FieldError] = []
    """The fields that are wrong."""
