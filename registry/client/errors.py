"""What a call of the client raises: a refusal by the API, no answer at all, or an answer that is none of the API's.

ClientError
├── Refused            the API said no; the problem says why, and what to do
├── NoAnswer           no answer came: repeating the call may help
└── UnexpectedAnswer   what answered is no registry node, or one of another version

No text of these holds a credential: should an answer repeat it, it is blotted out.
"""

from collections.abc import Mapping
from typing import Final

from protocol.errors import HandleError
from registry.api.schemas.base import FieldError, ProblemBody
from registry.problem_types import PROBLEMS_PATH, ProblemType

DETAIL_CHARACTERS_MAX: Final = 8_000
"""What is kept of a text in an answer; the API's own are half as long at most."""


class ClientError(HandleError):
    """A call that did not end as it should."""


class Refused(ClientError):
    """The API refused the request (RFC 9457)."""

    def __init__(
        self, problem: ProblemBody, *, retry_after_s: float | None = None, idempotency_key: str | None = None
    ) -> None:
        """Take over what the answer says.

        retry_after_s: how long the answer asks to wait before the request is repeated. idempotency_key: that of the
        write, with which it is safe to repeat.
        """
        super().__init__(problem.detail)
        self.idempotency_key = idempotency_key
        self.problem = problem
        self.retry_after_s = retry_after_s

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem.status

    @property
    def slug(self) -> str:
        """Name of the problem type, such as identifier-exists."""
        return self.problem.type.removeprefix(PROBLEMS_PATH)

    @property
    def detail(self) -> str:
        """What is wrong in this very case."""
        return self.problem.detail

    @property
    def remedy(self) -> str:
        """What the client can do about it."""
        return self.problem.remedy

    @property
    def retry(self) -> bool:
        """Whether the same request may succeed later, unchanged."""
        return self.problem.retry

    @property
    def request_id(self) -> str:
        """Under which the node's log and audit know the request."""
        return self.problem.request_id

    @property
    def errors(self) -> tuple[FieldError, ...]:
        """The fields that are wrong."""
        return tuple(self.problem.errors)

    def is_(self, kind: ProblemType) -> bool:
        """Whether the problem is of this type."""
        return self.problem.type == kind.uri

    def explain(self) -> str:
        """All of it for a person: a line for the case, one for each further field, the remedy, the request id."""
        lines = [f"{self.problem.title}: {self.detail}"]
        if not self._is_told_by_detail():
            lines += [f"  {error.pointer or 'the body'}: {error.detail}" for error in self.errors]
        if self.remedy:
            lines.append(f"What to do: {self.remedy}")
        if self.retry and self.idempotency_key is not None:
            lines.append(f"The Idempotency-Key of this write: {self.idempotency_key}")
        lines.append(f"(HTTP {self.status}, {self.slug}, request {self.request_id})")
        return "\n".join(lines)

    def _is_told_by_detail(self) -> bool:
        """Whether the text of the case repeats that of the only field that is wrong."""
        return len(self.errors) == 1 and self.errors[0].detail in self.detail


class NoAnswer(ClientError):
    """No answer came, or none that was whole; whether a write was made is not known."""

    def __init__(self, url: str, cause: str, *, remedy: str = "", idempotency_key: str | None = None) -> None:
        """Say who was asked, and what happened.

        url: scheme, host and port. idempotency_key: that of the write, with which it is safe to repeat.
        """
        fate = ""
        if idempotency_key is not None:
            fate = (
                "; whether the write was made is not known, and repeating it with the Idempotency-Key "
                f"{idempotency_key} is safe for 24 hours"
            )
        super().__init__(f"{url}: {cause}{fate}" + (f". {remedy}" if remedy else ""))
        self.cause = cause
        self.remedy = remedy
        self.idempotency_key = idempotency_key


class UnexpectedAnswer(ClientError):
    """An answer that the API does not give; the address may be that of something else."""

    def __init__(self, url: str, cause: str) -> None:
        super().__init__(f"{url}: {cause}")
        self.cause = cause


def blotted(problem: ProblemBody, secret: str | None) -> ProblemBody:
    """The problem with its texts bounded, and without the credential, should they repeat it."""

    def blot(text: str) -> str:
        return blot_text(text[:DETAIL_CHARACTERS_MAX], secret)

    return ProblemBody(
        type=blot(problem.type),
        title=blot(problem.title),
        status=problem.status,
        detail=blot(problem.detail),
        instance=blot(problem.instance),
        request_id=blot(problem.request_id),
        remedy=blot(problem.remedy),
        retry=problem.retry,
        response_code=problem.response_code,
        errors=[
            FieldError(pointer=blot(error.pointer), detail=blot(error.detail)) for error in problem.errors
        ],
    )


def blot_text(text: str, secret: str | None) -> str:
    """A text without the credential."""
    return text.replace(secret, "***") if secret else text


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """How long Retry-After asks to wait; None without it, or for a date, which no node of ours sends."""
    value = headers.get("Retry-After", "").strip()
    return float(value) if value.isascii() and value.isdigit() and len(value) < 8 else None
