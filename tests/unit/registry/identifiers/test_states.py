"""States: what may follow what, and what a retired record says."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.handle import Handle
from protocol.statuses import Status, parse_status
from protocol.value import HandleValue, Permission, ValueReference
from protocol.valuetypes import Admin, AdminPermission
from registry.identifiers.states import (
    ACTS,
    STATE_OF,
    STORED_AS,
    TRANSITIONS,
    IdentifierState,
    TransitionRefused,
    check_transition,
    retirement,
    status_change,
)
from registry.record import Values
from registry.writing import State

ALLOWED = {
    ("draft", "active"),
    ("active", "suspended"),
    ("suspended", "active"),
    ("active", "retired"),
    ("suspended", "retired"),
}
ADMIN = Admin(ValueReference(b"88.1/ADMIN", 300)).encode()


@pytest.mark.parametrize(("old", "new"), list(product(IdentifierState, IdentifierState)))
def test_a_state_follows_only_where_the_table_says_so(old: IdentifierState, new: IdentifierState) -> None:
    if (old.value, new.value) in ALLOWED:
        check_transition(old, new)
        assert ACTS[old, new].startswith("identifier.")
    else:
        with pytest.raises(TransitionRefused):
            check_transition(old, new)


def test_a_refusal_names_what_is_possible() -> None:
    with pytest.raises(TransitionRefused, match="a draft identifier becomes active, not retired"):
        check_transition(IdentifierState.DRAFT, IdentifierState.RETIRED)
    with pytest.raises(TransitionRefused, match="nothing follows"):
        check_transition(IdentifierState.RETIRED, IdentifierState.ACTIVE)
    with pytest.raises(TransitionRefused, match="is active already; it may become suspended or retired"):
        check_transition(IdentifierState.ACTIVE, IdentifierState.ACTIVE)


def test_every_state_is_stored_as_one_of_its_own() -> None:
    assert (
        {STATE_OF[int(stored)] for stored in STORED_AS.values()} == set(IdentifierState) == set(TRANSITIONS)
    )


def test_suspending_keeps_the_values() -> None:
    old = record(url(1))
    plan = status_change(State.SUSPENDED)(old)
    assert plan.values == old
    assert plan.state is State.SUSPENDED


def test_a_retired_record_tells_why_since_when_and_what_succeeds_it_and_hides_the_rest() -> None:
    successor = Handle.parse("88.1/PUMP-8")
    old = record(
        url(1), value(2, "HS_ADMIN", ADMIN), value(100, "HS_ADMIN", ADMIN), value(300, "HS_SECKEY", b"s")
    )
    plan = retirement(
        now_s=1_800_000_100, since_s=1_800_000_000, reason="end of life", successor=successor, redirect=True
    )(old)
    assert plan.state is State.RETIRED
    values = decoded(plan.values)
    told = [entry for entry in values.values() if entry.permissions & Permission.PUBLIC_READ]
    assert [(entry.index, entry.type) for entry in told] == [(1, "DESC"), (2, "HS_ALIAS")]
    status = parse_status(told[0].data.decode())
    assert status is not None
    assert (status.status, status.since_s, status.reason, status.successor) == (
        Status.RETIRED, 1_800_000_000, "end of life", "88.1/PUMP-8",
    )  # fmt: skip
    assert told[1].data == successor.octets
    hidden = {index: entry for index, entry in values.items() if entry not in told}
    assert {entry.type for entry in hidden.values()} == {"HS_ADMIN"}
    assert sorted(hidden) == [100, 101]
    assert all(entry.data == ADMIN for entry in hidden.values())


def test_a_successor_is_no_redirect_unless_the_owner_wants_it() -> None:
    plan = retirement(now_s=0, since_s=0, reason="x", successor=Handle.parse("88.1/a b"), redirect=False)(
        record(url(1))
    )
    (told,) = decoded(plan.values).values()
    status = parse_status(told.data.decode())
    assert status is not None
    assert status.successor == "88.1/a%20b"


@given(st.dictionaries(st.integers(1, 110), st.sampled_from(["HS_ADMIN", "URL", "HS_SECKEY"]), max_size=12))
def test_no_administrator_is_lost_when_a_record_retires(types: dict[int, str]) -> None:
    old = record(*(value(index, kind, ADMIN) for index, kind in types.items()))
    plan = retirement(now_s=0, since_s=0, reason="x", successor=None, redirect=False)(old)
    kinds = [entry.type for entry in decoded(plan.values).values()]
    assert kinds.count("HS_ADMIN") == list(types.values()).count("HS_ADMIN")
    assert set(kinds) <= {"DESC", "HS_ADMIN"}
    assert plan.rights & AdminPermission.REMOVE_VALUE


def value(index: int, kind: str, data: bytes) -> HandleValue:
    return HandleValue(index=index, type=kind, data=data)


def url(index: int) -> HandleValue:
    return value(index, "URL", b"https://www.example.com/")


def record(*values: HandleValue) -> Values:
    return {entry.index: entry.encode() for entry in values}


def decoded(values: Values | None) -> dict[int, HandleValue]:
    assert values is not None
    return {index: HandleValue.decode(octets) for index, octets in values.items()}
