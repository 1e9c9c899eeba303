"""What a problem type is, and the exception that tells a client of one (RFC 9457)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from protocol.codes import ResponseCode
from protocol.errors import HandleError

PROBLEMS_PATH: Final = "/api/v1/problems/"
"""Below it every problem type has a page; its address is the `type` of a problem."""
DETAIL_CHARACTERS_MAX: Final = 4_000
"""What a detail is cut to: it may quote names of 2,048 octets, and no client shows more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemType:
    """One way in which a request can fail, the same for every request that fails so."""

    slug: str
    """Its name in addresses, such as identifier-exists; never changed once it was given out."""
    status: int
    """The HTTP status."""
    title: str
    title_zh: str
    cause: str
    """Why it happens, for whoever reads the table of problems."""
    remedy: str
    """What the client can do."""
    retry: bool = False
    """Whether the same request may succeed later, unchanged."""
    response_code: ResponseCode | None = None
    """What the Handle protocol answers in the same case, where it has a word for it."""

    @property
    def uri(self) -> str:
        """The address of its page, which is the member `type` of a problem."""
        return PROBLEMS_PATH + self.slug


@dataclass(frozen=True, slots=True)
class FieldFault:
    """What is wrong with one field of a request."""

    pointer: str
    """JSON pointer into the body, such as /values/0/type; of a parameter, its name after `?`, as in ?limit."""
    detail: str


class ApiProblem(HandleError):
    """A request to the API that gets no for an answer; everything in it is safe to send to the client."""

    def __init__(
        self,
        type: ProblemType,  # noqa: A002 - the word of RFC 9457
        detail: str,
        *,
        remedy: str | None = None,
        errors: Sequence[FieldFault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Describe a refusal.

        detail: what is wrong in this very case. remedy: what helps in this very case; else that of the type.
        headers: further fields of the answer, such as Retry-After.
        """
        super().__init__(detail)
        self.type = type
        self.detail = detail if len(detail) <= DETAIL_CHARACTERS_MAX else detail[:DETAIL_CHARACTERS_MAX] + "…"
        self.remedy = type.remedy if remedy is None else remedy
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        if type.response_code is not None:
            self.code = type.response_code
