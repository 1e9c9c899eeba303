"""Replies about the API itself."""

from registry.api.schemas.base import Shape


class ProblemTypeView(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """One problem type."""

    type: str
    """Its address, as in the member `type` of a problem."""
    status: int
    title: str
    title_zh: str
    cause: str
    remedy: str
    retry: bool
    """Whether the same request may succeed later, unchanged."""
    response_code: int | None = None
    """What the Handle protocol answers in the same case, where it has a word for it."""


class ResponseCodeView(Shape, frozen=True, kw_only=True):
    """One response code of the Handle protocol."""

    code: int
    name: str
    status: int
    """The HTTP status that goes with it."""
    cause: str
    remedy: str
    retry: bool


class ProblemTypes(Shape, frozen=True, kw_only=True):
    """Every problem type and every response code."""

    items: list[ProblemTypeView]
    response_codes: list[ResponseCodeView]
