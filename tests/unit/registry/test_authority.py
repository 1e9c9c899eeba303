"""Whose business a name is, told from the homed prefixes alone."""

import pytest

from protocol.handle import Handle
from registry.authority import LABELS_MAX, BelowHome, Homed, NotOurs, PerhapsDelegated, locate

ROOT = frozenset({b"0.0", b"0.NA"})
TOP = frozenset({b"88"})
SECONDARY = frozenset({b"88.100", b"88.100.7"})


def below(*between: str) -> BelowHome:
    return BelowHome(tuple(Handle.parse(name) for name in between))


@pytest.mark.parametrize("name", ["88.100/x", "88.100/X/y", "88.100.7/", "0.NA/88.100.9", "88.100.9"])
def test_what_the_node_homes_is_its_own_to_answer(name: str) -> None:
    assert locate(Handle.parse(name), SECONDARY) in (Homed(), below())


def test_a_prefix_folds() -> None:
    assert locate(Handle.parse("ab.c/x"), frozenset({b"AB.C"})) == Homed()


def test_a_prefix_record_is_the_parents_not_the_prefixs_own() -> None:
    assert locate(Handle.parse("0.NA/88"), TOP) == NotOurs()
    assert locate(Handle.parse("0.NA/88.100"), TOP) == below()
    assert locate(Handle.parse("0.NA/88"), ROOT) == below()


def test_records_between_may_delegate_nearest_first() -> None:
    assert locate(Handle.parse("0.NA/88.100.5.6"), TOP) == below("0.NA/88.100.5", "0.NA/88.100")
    assert locate(Handle.parse("88.100.5"), ROOT) == below("0.NA/88.100", "0.NA/88")
    assert locate(Handle.parse("0.NA/88.100.7.1"), SECONDARY) == below()


def test_a_handle_below_a_prefix_that_we_may_have_delegated_is_looked_up() -> None:
    assert locate(Handle.parse("88.100.5/x"), TOP) == PerhapsDelegated(Handle.parse("0.NA/88.100.5"))
    assert locate(Handle.parse("88/x"), ROOT) == PerhapsDelegated(Handle.parse("0.NA/88"))


@pytest.mark.parametrize(
    "name", ["99/x", "88/x", "8/x", "880.100/x", "0.NA/99.1", "99", "/x", "./x", "88..1/x"]
)
def test_everything_else_is_not_ours(name: str) -> None:
    assert locate(Handle.parse(name), SECONDARY) == NotOurs()


def test_reserved_records_are_the_roots() -> None:
    assert locate(Handle.parse("0.NA/0.NA"), ROOT) == below("0.NA/0")
    assert locate(Handle.parse("0.0/0.0"), ROOT) == Homed()
    assert locate(Handle.parse("0.NA/"), ROOT) == Homed()
    assert locate(Handle.parse("0.NA/a..b"), SECONDARY) == NotOurs()


def test_a_prefix_of_very_many_labels_costs_no_look_ups() -> None:
    assert locate(Handle.parse(".".join(["88"] * (LABELS_MAX + 1)) + "/x"), TOP) == NotOurs()
