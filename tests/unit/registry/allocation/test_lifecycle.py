"""Life of a prefix: which act leads from which state to which, and what is refused."""

import pytest

from registry.allocation.lifecycle import (
    APPLICATION_TRANSITIONS,
    PREFIX_TRANSITIONS,
    ApplicationAct,
    ApplicationState,
    IllegalTransition,
    PrefixAct,
    PrefixState,
    change,
    decide,
    possible_acts,
)

Applied = ApplicationState


@pytest.mark.parametrize(
    ("state", "act", "then"),
    [
        (Applied.APPLIED, ApplicationAct.APPROVE, Applied.APPROVED),
        (Applied.APPLIED, ApplicationAct.REJECT, Applied.REJECTED),
        (Applied.APPLIED, ApplicationAct.WITHDRAW, Applied.WITHDRAWN),
        (Applied.APPROVED, ApplicationAct.WITHDRAW, Applied.WITHDRAWN),
        (Applied.APPROVED, ApplicationAct.ALLOCATE, Applied.ALLOCATED),
    ],
)
def test_an_application_goes_its_way(
    state: ApplicationState, act: ApplicationAct, then: ApplicationState
) -> None:
    assert decide(state, act) is then


@pytest.mark.parametrize("state", ApplicationState)
@pytest.mark.parametrize("act", ApplicationAct)
def test_an_application_does_nothing_else(state: ApplicationState, act: ApplicationAct) -> None:
    if state in APPLICATION_TRANSITIONS[act].sources:
        return
    with pytest.raises(IllegalTransition, match=f"is {state}"):
        decide(state, act)


@pytest.mark.parametrize(
    ("state", "act", "then"),
    [
        (PrefixState.ACTIVE, PrefixAct.SUSPEND, PrefixState.SUSPENDED),
        (PrefixState.SUSPENDED, PrefixAct.RESUME, PrefixState.ACTIVE),
        (PrefixState.ACTIVE, PrefixAct.CHANGE_ROUTE, PrefixState.ACTIVE),
        (PrefixState.ACTIVE, PrefixAct.MOVE, PrefixState.ACTIVE),
        (PrefixState.ACTIVE, PrefixAct.TRANSFER, PrefixState.ACTIVE),
        (PrefixState.ACTIVE, PrefixAct.REVOKE, PrefixState.REVOKED),
        (PrefixState.SUSPENDED, PrefixAct.REVOKE, PrefixState.REVOKED),
        (PrefixState.REVOKED, PrefixAct.PURGE, PrefixState.REVOKED),
        (PrefixState.REVOKED, PrefixAct.ALLOCATE, PrefixState.ACTIVE),
    ],
)
def test_a_prefix_goes_its_way(state: PrefixState, act: PrefixAct, then: PrefixState) -> None:
    assert change(state, act) is then


@pytest.mark.parametrize("state", PrefixState)
@pytest.mark.parametrize("act", PrefixAct)
def test_a_prefix_does_nothing_else(state: PrefixState, act: PrefixAct) -> None:
    if state in PREFIX_TRANSITIONS[act].sources:
        return
    with pytest.raises(IllegalTransition) as caught:
        change(state, act, prefix="88.100.7")
    assert caught.value.state == state
    assert caught.value.possible == possible_acts(state)


def test_a_refusal_names_the_state_and_what_is_possible() -> None:
    with pytest.raises(IllegalTransition) as caught:
        change(PrefixState.SUSPENDED, PrefixAct.TRANSFER, prefix="88.100.7")
    assert str(caught.value) == "88.100.7 is suspended: transfer is not possible; possible: resume, revoke"


def test_a_final_state_says_so() -> None:
    with pytest.raises(IllegalTransition, match="nothing changes that any more"):
        decide(ApplicationState.REJECTED, ApplicationAct.APPROVE)
