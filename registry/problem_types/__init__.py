"""Every problem type of the API, in one place: the table, the reference and the clients are made from it.

Those that any request can meet are exported here; those of one area are in its module.
"""

from typing import Final

from registry.problem_types import accounts, allocation, audit, common, identifiers, peers
from registry.problem_types.base import PROBLEMS_PATH, ApiProblem, FieldFault, ProblemType
from registry.problem_types.common import (
    CONFLICT,
    CREDENTIAL_IN_TARGET,
    FORBIDDEN,
    HTTPS_REQUIRED,
    IN_PROGRESS,
    INTERNAL,
    INVALID_REQUEST,
    KEY_REUSED,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    OVERLOADED,
    PRECONDITION_FAILED,
    PRECONDITION_REQUIRED,
    QUOTA_EXCEEDED,
    REQUEST_TIMEOUT,
    STORE_UNAVAILABLE,
    TEST_KEY,
    TOO_LARGE,
    TOO_MANY_REQUESTS,
    UNAUTHENTICATED,
    UNPROCESSABLE,
    UNSUPPORTED_MEDIA_TYPE,
)

ALL: Final = tuple(
    dict.fromkeys(
        value
        for module in (common, accounts, allocation, peers, identifiers, audit)
        for value in vars(module).values()
        if isinstance(value, ProblemType)
    )
)
"""Every problem type, those of one area together, in the order in which they are written down."""

__all__ = [
    "ALL",
    "CONFLICT",
    "CREDENTIAL_IN_TARGET",
    "FORBIDDEN",
    "HTTPS_REQUIRED",
    "INTERNAL",
    "INVALID_REQUEST",
    "IN_PROGRESS",
    "KEY_REUSED",
    "METHOD_NOT_ALLOWED",
    "NOT_FOUND",
    "OVERLOADED",
    "PRECONDITION_FAILED",
    "PRECONDITION_REQUIRED",
    "PROBLEMS_PATH",
    "QUOTA_EXCEEDED",
    "REQUEST_TIMEOUT",
    "STORE_UNAVAILABLE",
    "TEST_KEY",
    "TOO_LARGE",
    "TOO_MANY_REQUESTS",
    "UNAUTHENTICATED",
    "UNPROCESSABLE",
    "UNSUPPORTED_MEDIA_TYPE",
    "ApiProblem",
    "FieldFault",
    "ProblemType",
]
