"""States of an identifier: which follows which, and what becomes of its values on the way. Pure.

What the world is told in each state is ARCHITECTURE §3.14: a draft is unknown, a suspended identifier answers that it
is suspended, a retired one answers for good that it is retired and, if it has one, what succeeds it.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from protocol.handle import Handle
from protocol.statuses import Status, StatusText
from protocol.value import SECRET_PERMISSIONS, HandleValue, Permission
from protocol.valuetypes import AdminPermission
from registry.changes import Edit, Plan
from registry.record import HS_ADMIN, Values, permissions_of, stamp_octets, type_of
from registry.writing import State

BY_REGISTRANT: Final = "its registrant"
"""Who suspends and retires through the API, in the words that everybody is told; the audit log knows the account."""
DESCRIPTION_INDEX: Final = 1
ALIAS_INDEX: Final = 2
ADMIN_INDEX_MIN: Final = 100
"""Where an administrator goes whose index a retired record needs itself."""
_PERMISSIONS_AT: Final = 13


class IdentifierState(StrEnum):
    """What an identifier is; one that is deleted does not exist."""

    DRAFT = "draft"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    RETIRED = "retired"


STORED_AS: Final[Mapping[IdentifierState, State]] = {
    IdentifierState.DRAFT: State.DRAFT,
    IdentifierState.ACTIVE: State.STORED,
    IdentifierState.SUSPENDED: State.SUSPENDED,
    IdentifierState.RETIRED: State.RETIRED,
}
STATE_OF: Final[Mapping[int, IdentifierState]] = {int(stored): state for state, stored in STORED_AS.items()}

TRANSITIONS: Final[Mapping[IdentifierState, tuple[IdentifierState, ...]]] = {
    IdentifierState.DRAFT: (IdentifierState.ACTIVE,),
    IdentifierState.ACTIVE: (IdentifierState.SUSPENDED, IdentifierState.RETIRED),
    IdentifierState.SUSPENDED: (IdentifierState.ACTIVE, IdentifierState.RETIRED),
    IdentifierState.RETIRED: (),
}
"""What may follow. Everything but a retired identifier may also be deleted."""

ACTS: Final[Mapping[tuple[IdentifierState, IdentifierState], str]] = {
    (IdentifierState.DRAFT, IdentifierState.ACTIVE): "identifier.activate",
    (IdentifierState.ACTIVE, IdentifierState.SUSPENDED): "identifier.suspend",
    (IdentifierState.SUSPENDED, IdentifierState.ACTIVE): "identifier.resume",
    (IdentifierState.ACTIVE, IdentifierState.RETIRED): "identifier.retire",
    (IdentifierState.SUSPENDED, IdentifierState.RETIRED): "identifier.retire",
}
"""What each transition is called in the audit log."""
NEEDS_REASON: Final = frozenset({IdentifierState.SUSPENDED, IdentifierState.RETIRED})


class TransitionRefused(ValueError):
    """A change of state that the present one does not allow; the text says which ones it does."""


def check_transition(old: IdentifierState, new: IdentifierState) -> None:
    """Raises TransitionRefused unless new may follow old."""
    following = TRANSITIONS[old]
    if new in following:
        return
    if not following:
        raise TransitionRefused("a retired identifier stays retired: nothing follows")
    possible = " or ".join(following)
    raise TransitionRefused(
        f"a {old} identifier becomes {possible}, not {new}"
        if old is not new
        else f"the identifier is {old} already; it may become {possible}"
    )


def status_change(state: State) -> Edit:
    """Change the state and leave the values as they are."""

    def edit(old: Values) -> Plan:
        return Plan(old, AdminPermission.MODIFY_VALUE, state=state)

    return edit


def retirement(*, now_s: float, since_s: int, reason: str, successor: Handle | None, redirect: bool) -> Edit:
    """Let a record say for good that it is retired; its values until then stay readable as an earlier version.

    now_s, since_s: Unix seconds of the change, and since when it holds. redirect: whether who asks is sent on to the
    successor (HS_ALIAS).
    """
    text = StatusText(
        status=Status.RETIRED,
        since_s=since_s,
        reason=reason,
        by=BY_REGISTRANT,
        successor="" if successor is None else _one_word(successor),
    )
    timestamp = stamp_octets(now_s)
    told = [HandleValue(index=DESCRIPTION_INDEX, type="DESC", data=str(text).encode())]
    if redirect and successor is not None:
        told.append(HandleValue(index=ALIAS_INDEX, type="HS_ALIAS", data=successor.octets))
    public = {value.index: _stamped(value.encode(), timestamp) for value in told}

    def edit(old: Values) -> Plan:
        rights = AdminPermission.MODIFY_VALUE | AdminPermission.ADD_VALUE | AdminPermission.REMOVE_VALUE
        return Plan(public | _hidden_administrators(old, timestamp), rights, state=State.RETIRED)

    return edit


def _one_word(handle: Handle) -> str:
    """A handle in the text of a status, where a blank would end it."""
    name = str(handle)
    return handle.percent_encode() if any(character.isspace() for character in name) else name


def _hidden_administrators(old: Values, timestamp: bytes) -> Values:
    """The HS_ADMIN values of a record, none of them readable by the public, past the indexes that are taken."""
    kept: Values = {}
    for index, value in sorted(old.items()):
        if type_of(value) != HS_ADMIN:
            continue
        place = index if index > ALIAS_INDEX else ADMIN_INDEX_MIN
        while place in kept or (place != index and place in old):
            place += 1
        hidden = (
            permissions_of(value) & ~(Permission.PUBLIC_READ | Permission.PUBLIC_WRITE) | SECRET_PERMISSIONS
        )
        head = place.to_bytes(4, "big") + timestamp + value[8:_PERMISSIONS_AT] + bytes([hidden])
        kept[place] = head + value[_PERMISSIONS_AT + 1 :]
    return kept


def _stamped(value: bytes, timestamp: bytes) -> bytes:
    return value[:4] + timestamp + value[8:]
