"""Problem types and response codes in the form in which they are listed."""

from protocol.codes import ResponseCode, http_status, rc_name
from registry.api.response_codes import EXPLANATIONS, Explanation
from registry.api.schemas.meta import ProblemTypes, ProblemTypeView, ResponseCodeView
from registry.problem_types import ALL, ProblemType


def problem_types() -> ProblemTypes:
    """Every problem type by status and name, and every response code."""
    return ProblemTypes(
        items=[problem_view(kind) for kind in sorted(ALL, key=lambda kind: (kind.status, kind.slug))],
        response_codes=[_code_view(code, explained) for code, explained in EXPLANATIONS.items()],
    )


def problem_view(kind: ProblemType) -> ProblemTypeView:
    """One problem type."""
    return ProblemTypeView(
        type=kind.uri,
        status=kind.status,
        title=kind.title,
        title_zh=kind.title_zh,
        cause=kind.cause,
        remedy=kind.remedy,
        retry=kind.retry,
        response_code=None if kind.response_code is None else int(kind.response_code),
    )


def _code_view(code: ResponseCode, explained: Explanation) -> ResponseCodeView:
    return ResponseCodeView(
        code=int(code),
        name=rc_name(code),
        status=http_status(code),
        cause=explained.cause,
        remedy=explained.remedy,
        retry=explained.retry,
    )
