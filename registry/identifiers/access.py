"""Whose identifiers a caller may see and write, and how refusals of the operations are told.

What belongs to somebody else does not exist: the words are the same for both.
"""

from typing import Final

from protocol.codes import ResponseCode
from protocol.handle import Handle
from registry.accounts.roles import Caller
from registry.context import check_homed, check_writable
from registry.identifiers.names import NotAllowed, check_name
from registry.outcomes import Principal, Rejected
from registry.prefixes import PrefixRow, PrefixTable
from registry.problem_types import FORBIDDEN, INTERNAL, NOT_FOUND, ApiProblem, ProblemType
from registry.problem_types.identifiers import (
    IDENTIFIER_EXISTS,
    NAME_REFUSED,
    PREFIX_MOVING,
    PREFIX_NOT_ACTIVE,
    VALUE_PROTECTED,
    VALUE_REFUSED,
)
from registry.record import Refusal

NO_IDENTIFIER: Final = "There is no such identifier."
NO_VALUE: Final = "The identifier has no such value."
NO_PREFIX: Final = "There is no such prefix."
NO_RANGE: Final = "There is no such range."
RETRY_AFTER_S: Final = 5
"""A move freezes a prefix for a few seconds."""

_PROBLEMS: Final[dict[ResponseCode, ProblemType]] = {
    ResponseCode.HANDLE_NOT_FOUND: NOT_FOUND,
    ResponseCode.HANDLE_ALREADY_EXISTS: IDENTIFIER_EXISTS,
    ResponseCode.INVALID_HANDLE: NAME_REFUSED,
    ResponseCode.VALUES_NOT_FOUND: NOT_FOUND,
    ResponseCode.VALUE_ALREADY_EXISTS: VALUE_REFUSED,
    ResponseCode.INVALID_VALUE: VALUE_REFUSED,
    ResponseCode.SERVER_NOT_RESPONSIBLE: PREFIX_NOT_ACTIVE,
    ResponseCode.SERVER_BACKUP: PREFIX_MOVING,
    ResponseCode.INVALID_ADMINISTRATOR: FORBIDDEN,
    ResponseCode.ACCESS_DENIED: VALUE_PROTECTED,
}


def handle_of(name: str) -> Handle:
    """The handle that somebody names. Raises ApiProblem 422."""
    try:
        return Handle(check_name(name))
    except NotAllowed as error:
        raise ApiProblem(NAME_REFUSED, f"The name {error}.") from None


def held_prefix(
    table: PrefixTable, prefix: bytes, caller: Caller, *, words: str = NO_IDENTIFIER
) -> PrefixRow:
    """The folded prefix if it exists for the caller. Raises ApiProblem 404 with these words."""
    row = table.rows.get(prefix)
    if row is None or not caller.sees(row.organisation):
        raise ApiProblem(NOT_FOUND, words)
    if caller.prefixes is not None and prefix not in caller.prefixes:
        raise ApiProblem(NOT_FOUND, words)
    return row


def check_here(table: PrefixTable, handle: Handle, by: Principal | None) -> None:
    """Raises ApiProblem when the prefix of a handle has moved away and, for whom who writes, takes no writes now."""
    try:
        check_homed(handle, table)
        if by is not None:
            check_writable(handle, table, by)
    except Refusal as refusal:
        kind = PREFIX_NOT_ACTIVE if refusal.code is ResponseCode.ACCESS_DENIED else None
        raise problem_of(refusal, kind) from None


def problem_of(refusal: Rejected | Refusal, kind: ProblemType | None = None) -> ApiProblem:
    """How a refusal of an operation is told. kind: when it is not the one that goes with the code."""
    chosen = kind or _PROBLEMS.get(refusal.code, INTERNAL)
    if chosen is NOT_FOUND:
        missing = refusal.code is ResponseCode.VALUES_NOT_FOUND
        return ApiProblem(NOT_FOUND, NO_VALUE if missing else NO_IDENTIFIER)
    headers = {"Retry-After": str(RETRY_AFTER_S)} if chosen is PREFIX_MOVING else {}
    sentence = refusal.message[:1].upper() + refusal.message[1:] + "."
    return ApiProblem(chosen, sentence, headers=headers)
