"""Pages of lists that are ordered by id: their cursors."""

import re
from collections.abc import Sequence
from typing import Final, Protocol

from registry.api.call import cursor_of, position_of
from registry.problem_types import INVALID_REQUEST, ApiProblem, FieldFault

_ID: Final = re.compile(rb"[a-z]{3}_[a-z2-7]{20}")


class HasId(Protocol):
    """Whatever has an id."""

    @property
    def id(self) -> str:
        """Its id."""


def id_position(cursor: str) -> str:
    """The id after which a page begins; empty for the first one. Raises ApiProblem (400) for another list's cursor."""
    position = position_of(cursor) or b""
    if position and not _ID.fullmatch(position):
        fault = FieldFault("?cursor", "is of another list")
        raise ApiProblem(INVALID_REQUEST, "The cursor is none.", errors=[fault])
    return position.decode()


def id_cursor(found: Sequence[HasId], limit: int) -> str | None:
    """The cursor of the next page, when more than the limit were found."""
    return cursor_of(found[limit - 1].id.encode()) if len(found) > limit else None
