"""The one rule of permission, and what each change takes."""

import pytest

from protocol.handle import Handle
from protocol.value import HandleValue
from protocol.valuetypes import AdminPermission as May
from registry.outcomes import Identity
from registry.permission import (
    Need,
    difference,
    grants_in,
    is_granted,
    names,
    needs_to_replace,
    right_to_create,
    right_to_remove,
)
from tests.unit.registry.values import ALICE, BOB, admin, record, value

PUMP = Handle.parse("88.1/pump")


def test_all_needed_rights_stand_in_one_administrator_value() -> None:
    grants = grants_in(record(admin(ALICE, May.ADD_VALUE, 1), admin(ALICE, May.MODIFY_VALUE, 2)).values())

    assert is_granted(May.ADD_VALUE, grants, names(ALICE))
    assert is_granted(May.MODIFY_VALUE, grants, names(ALICE))
    assert not is_granted(May.ADD_VALUE | May.MODIFY_VALUE, grants, names(ALICE))
    assert not is_granted(May.ADD_VALUE, grants, names(BOB))


def test_needing_nothing_is_granted_to_everybody() -> None:
    assert is_granted(May(0), (), names(BOB))


@pytest.mark.parametrize(
    ("granted", "asking", "allowed"),
    [
        ("300:88.1/alice", "300:88.1/alice", True),
        ("300:88.1/alice", "300:88.1/ALICE", True),
        ("300:88.1/alice", "301:88.1/alice", False),
        ("0:88.1/alice", "301:88.1/alice", True),
        ("300:88.1/alice", "300:88.1/bob", False),
    ],
)
def test_an_administrator_is_named_by_index_and_handle(granted: str, asking: str, allowed: bool) -> None:
    def identity(text: str) -> Identity:
        index, _, name = text.partition(":")
        return Identity(index=int(index), handle=Handle.parse(name))

    grants = grants_in(record(admin(identity(granted))).values())

    assert is_granted(May.ADD_VALUE, grants, names(identity(asking))) is allowed


def test_an_administrator_value_that_does_not_decode_grants_nothing() -> None:
    assert grants_in(record(value(100, "HS_ADMIN", b"\x0f\xff")).values()) == ()
    assert len(grants_in(record(value(100, "hs_admin", admin(ALICE).data)).values())) == 1


def test_creating_a_prefix_record_takes_another_right_than_a_handle() -> None:
    assert right_to_create(PUMP) == May.ADD_HANDLE
    assert right_to_create(Handle.parse("0.NA/88.1.2")) == May.ADD_DERIVED_PREFIX
    assert right_to_create(Handle.parse("88.1.2")) == May.ADD_DERIVED_PREFIX


PUBLIC_WRITE = 0x0F


@pytest.mark.parametrize(
    ("old", "new", "rights"),
    [
        (value(1), value(1, data=b"y"), May.MODIFY_VALUE),
        (value(1, permissions=PUBLIC_WRITE), value(1, data=b"y"), May(0)),
        (value(1, permissions=PUBLIC_WRITE), value(1, "HS_PUBKEY"), May.MODIFY_VALUE),
        (value(1, permissions=PUBLIC_WRITE), value(1, "hs_vlist"), May.MODIFY_VALUE),
        (value(1, "HS_SECKEY", permissions=PUBLIC_WRITE), value(1), May.MODIFY_VALUE),
        (admin(ALICE), admin(BOB), May.MODIFY_ADMIN),
        (admin(ALICE, index=1), value(1), May.REMOVE_ADMIN | May.MODIFY_VALUE),
        (value(1), admin(ALICE, index=1), May.MODIFY_VALUE | May.ADD_ADMIN),
        (value(1), value(1, timestamp=99), May(0)),
    ],
)
def test_modifying_takes_what_the_kinds_of_values_say(
    old: HandleValue, new: HandleValue, rights: May
) -> None:
    assert difference(record(old), record(new)).rights == rights


def test_adding_and_removing_tell_administrators_from_values() -> None:
    both = record(value(1), admin(ALICE))

    assert difference({}, both).rights == May.ADD_VALUE | May.ADD_ADMIN
    assert difference(both, {}).rights == May.REMOVE_VALUE | May.REMOVE_ADMIN
    assert right_to_remove([both[1]]) == May.REMOVE_VALUE
    assert not difference({}, both).overwritten
    assert difference(both, {}).overwritten


def test_a_changed_value_without_admin_write_is_protected() -> None:
    old = record(value(1, permissions=0x0A), value(2))

    assert difference(old, record(value(1, data=b"y"), value(2))).protected == (1,)
    assert difference(old, record(value(1, permissions=0x0A), value(2, data=b"y"))).protected == ()


def test_replacing_a_record_has_three_ways() -> None:
    change = difference(record(value(1)), record(value(1, data=b"y")))

    assert needs_to_replace(PUMP, change) == (
        Need(May.MODIFY_VALUE),
        Need(May.ADD_ADMIN),
        Need(May.DELETE_HANDLE, May.ADD_HANDLE),
    )


def test_replacing_may_not_add_an_administrator_by_the_rights_of_the_difference() -> None:
    change = difference(record(value(1)), record(value(1), admin(ALICE)))

    assert Need(change.rights) == Need(May.ADD_ADMIN)
    assert needs_to_replace(PUMP, change) == (Need(May.ADD_ADMIN), Need(May.DELETE_HANDLE, May.ADD_HANDLE))


def test_a_record_with_a_protected_value_is_replaced_by_deleting_only() -> None:
    change = difference(record(value(1, permissions=0x0A)), record(value(1, data=b"y")))

    assert needs_to_replace(PUMP, change) == (Need(May.DELETE_HANDLE, May.ADD_HANDLE),)


@pytest.mark.parametrize(
    ("stored", "rights"),
    [
        (value(1, permissions=0x0C), May.MODIFY_VALUE),
        (admin(ALICE, index=1), May(0)),
        (value(1), May(0)),
        (value(1, permissions=0x0D), May(0)),
    ],
)
def test_repeating_a_restricted_value_takes_what_changing_it_takes(stored: HandleValue, rights: May) -> None:
    other = value(2, permissions=PUBLIC_WRITE)
    change = difference(record(stored, other), record(stored, value(2, data=b"y", permissions=PUBLIC_WRITE)))

    assert change.rights == rights
