"""Life of a prefix: from the application to the allocation, and from the allocation to the revocation.

Pure. Two small state machines: an application is decided once and allocated once; a prefix, once allocated, is active
or suspended until it is revoked. What is not in the tables below is refused, with the states named.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class ApplicationState(StrEnum):
    """How far an application has come."""

    APPLIED = "applied"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    ALLOCATED = "allocated"


class ApplicationAct(StrEnum):
    """What may happen to an application."""

    APPROVE = "approve"
    REJECT = "reject"
    WITHDRAW = "withdraw"
    ALLOCATE = "allocate"


class PrefixState(StrEnum):
    """Whether an allocated prefix is served."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


class PrefixAct(StrEnum):
    """What may happen to an allocated prefix; the words of its history."""

    ALLOCATE = "allocate"
    CHANGE_ROUTE = "change_route"
    MOVE = "move"
    """From this node to the holder's own, or back."""
    TRANSFER = "transfer"
    """To another organisation."""
    SUSPEND = "suspend"
    RESUME = "resume"
    REVOKE = "revoke"
    PURGE = "purge"
    """Delete what is left below a revoked prefix."""


class Hosting(StrEnum):
    """Whose node serves the identifiers of a prefix."""

    HOSTED = "hosted"
    """This node's."""
    DELEGATED = "delegated"
    """The holder's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """From which states an act starts, and where it leads."""

    sources: frozenset[str]
    target: str


def _transition(target: str, *sources: str) -> Transition:
    return Transition(sources=frozenset(sources), target=target)


APPLICATION_TRANSITIONS: Final[Mapping[ApplicationAct, Transition]] = {
    ApplicationAct.APPROVE: _transition(ApplicationState.APPROVED, ApplicationState.APPLIED),
    ApplicationAct.REJECT: _transition(ApplicationState.REJECTED, ApplicationState.APPLIED),
    ApplicationAct.WITHDRAW: _transition(
        ApplicationState.WITHDRAWN, ApplicationState.APPLIED, ApplicationState.APPROVED
    ),
    ApplicationAct.ALLOCATE: _transition(ApplicationState.ALLOCATED, ApplicationState.APPROVED),
}
_ACTIVE: Final = PrefixState.ACTIVE
PREFIX_TRANSITIONS: Final[Mapping[PrefixAct, Transition]] = {
    PrefixAct.ALLOCATE: _transition(_ACTIVE, PrefixState.REVOKED),
    PrefixAct.CHANGE_ROUTE: _transition(_ACTIVE, _ACTIVE),
    PrefixAct.MOVE: _transition(_ACTIVE, _ACTIVE),
    PrefixAct.TRANSFER: _transition(_ACTIVE, _ACTIVE),
    PrefixAct.SUSPEND: _transition(PrefixState.SUSPENDED, _ACTIVE),
    PrefixAct.RESUME: _transition(_ACTIVE, PrefixState.SUSPENDED),
    PrefixAct.REVOKE: _transition(PrefixState.REVOKED, _ACTIVE, PrefixState.SUSPENDED),
    PrefixAct.PURGE: _transition(PrefixState.REVOKED, PrefixState.REVOKED),
}
"""A prefix that was never allocated has no state; ALLOCATE also takes a revoked one again, after its quarantine."""


class IllegalTransition(Exception):
    """An act that the state does not allow; the text says which ones it does."""

    def __init__(self, what: str, state: str, act: str, possible: tuple[str, ...]) -> None:
        self.state = state
        self.act = act
        self.possible = possible
        others = f"possible: {', '.join(possible)}" if possible else "nothing changes that any more"
        super().__init__(f"{what} is {state}: {act} is not possible; {others}")


def decide(state: ApplicationState, act: ApplicationAct) -> ApplicationState:
    """The state of an application after an act. Raises IllegalTransition."""
    transition = APPLICATION_TRANSITIONS[act]
    if state not in transition.sources:
        raise IllegalTransition("the application", state, act, possible_acts(state))
    return ApplicationState(transition.target)


def change(state: PrefixState, act: PrefixAct, *, prefix: str = "the prefix") -> PrefixState:
    """The state of an allocated prefix after an act. Raises IllegalTransition.

    prefix: its name, for the text of the error.
    """
    transition = PREFIX_TRANSITIONS[act]
    if state not in transition.sources:
        raise IllegalTransition(prefix, state, act, possible_acts(state))
    return PrefixState(transition.target)


def possible_acts(state: ApplicationState | PrefixState) -> tuple[str, ...]:
    """The acts that a state allows, in the order of the tables."""
    table: Mapping[ApplicationAct, Transition] | Mapping[PrefixAct, Transition]
    table = APPLICATION_TRANSITIONS if isinstance(state, ApplicationState) else PREFIX_TRANSITIONS
    return tuple(act.value for act, transition in table.items() if state in transition.sources)
