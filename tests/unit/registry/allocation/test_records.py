"""What stands in the record of a prefix, and the edits that lead from one state of it to the next."""

import pytest

from protocol.handle import Handle, Prefix
from protocol.site import Site, single_server_site
from protocol.value import DEFAULT_PERMISSIONS, SECRET_PERMISSIONS, HandleValue, ValueList, ValueReference
from protocol.valuetypes import Admin, ValueReferences
from protocol.valuetypes.hs_namespace import Namespace
from registry.allocation.records import (
    STATUS_TTL_S,
    Withholding,
    dropping_keys,
    inactive_document,
    moved_values,
    placing,
    record_values,
    references_in,
    restoring,
    rewriting,
)
from registry.changes import Plan
from registry.initialise import administrator_of
from registry.outcomes import Identity
from registry.record import Refusal, Values, parse_stored

PREFIX = Prefix.parse("88.100.7")
ADMINISTRATOR = administrator_of(PREFIX)
STAMP = b"\x12\x34\x56\x78"
ALICE = Identity(index=300, handle=Handle.parse("88.100/alice"))


def site(address: str = "8.8.8.8") -> Site:
    return single_server_site(
        addresses=(address,), tcp_port=2_641, udp_port=2_641, http_port=8_000, https=False, primary=True
    )


def record(*more: HandleValue) -> Values:
    return parse_stored(ValueList.of([*record_values(site(), ADMINISTRATOR, 3_600), *more]))


def after(plan: Plan) -> dict[int, HandleValue]:
    assert plan.values is not None
    return {index: HandleValue.decode(value) for index, value in plan.values.items()}


def admin(identity: Identity, index: int, rights: int = 0x7F) -> HandleValue:
    reference = ValueReference(identity.handle.octets, identity.index)
    return HandleValue(index=index, type="HS_ADMIN", data=Admin(reference, rights).encode())


def test_a_record_names_who_serves_and_who_administers() -> None:
    values = {value.type: value for value in record_values(site(), ADMINISTRATOR, 60)}
    assert list(values) == ["HS_SITE", "HS_SITE.PREFIX", "HS_ADMIN", "HS_VLIST"]
    assert Site.decode(values["HS_SITE"].data) == Site.decode(values["HS_SITE.PREFIX"].data) == site()
    assert values["HS_SITE"].ttl == 60
    assert str(Admin.decode(values["HS_ADMIN"].data).reference) == "300:88.100.7/ADMIN"


def test_who_has_moved_is_told_by_one_site() -> None:
    (value,) = moved_values(site(), 60)
    assert (value.type, Site.decode(value.data)) == ("HS_SITE", site())


def test_another_site_takes_both_places_and_what_changed_gets_the_time() -> None:
    old = record(HandleValue(index=7, type="EMAIL", data=b"plant@example.org"))
    new = after(placing(site("9.9.9.9"), 3_600, STAMP, alone=False)(old))
    assert Site.decode(new[1].data) == Site.decode(new[2].data) == site("9.9.9.9")
    assert new[1].timestamp == int.from_bytes(STAMP, "big")
    assert new[7].timestamp == new[100].timestamp == 0


def test_the_same_site_changes_nothing() -> None:
    assert not placing(site(), 3_600, STAMP, alone=False)(record()).changes


@pytest.mark.parametrize("alone", [True, False])
def test_mirrors_stay_unless_the_prefix_moves(alone: bool) -> None:
    mirror = HandleValue(index=5, type="hs_site.6", data=site("1.1.1.1").encode())
    service = HandleValue(index=6, type="HS_SERV", data=b"88/SERVICE")
    new = after(placing(site("9.9.9.9"), 3_600, STAMP, alone=alone)(record(mirror, service)))
    assert ({5, 6} & set(new) == set()) is alone


def test_a_suspension_hides_every_place_and_says_why() -> None:
    mirror = HandleValue(index=5, type="hs_site.6", data=site("1.1.1.1").encode())
    service = HandleValue(index=6, type="HS_SERV.PREFIX", data=b"88/SERVICE")
    withholding = Withholding("suspended <since> yesterday & today", STAMP)
    new = after(withholding(record(mirror, service)))

    assert set(withholding.withheld) == {1, 2, 5, 6}
    assert all(new[index].permissions == SECRET_PERMISSIONS for index in (1, 2, 5, 6))
    assert new[100].permissions == DEFAULT_PERMISSIONS
    namespace = Namespace.decode(new[10].data)
    assert (namespace.status, namespace.status_message) == ("inactive", "suspended <since> yesterday & today")
    assert new[10].ttl == STATUS_TTL_S


def test_resumption_undoes_a_suspension() -> None:
    hidden = HandleValue(
        index=5, type="HS_SITE", data=site("1.1.1.1").encode(), permissions=SECRET_PERMISSIONS
    )
    namespace = HandleValue(
        index=10, type="HS_NAMESPACE", data=b"<namespace><contact>x</contact></namespace>"
    )
    for old in (
        record(),
        record(hidden),
        record(namespace),
        record(HandleValue(index=10, type="URL", data=b"x")),
    ):
        withholding = Withholding("suspended", STAMP)
        suspended = withholding(old).values
        assert suspended is not None
        resumed = after(restoring(withholding.withheld, withholding.namespace, STAMP)(suspended))
        before = {index: HandleValue.decode(value) for index, value in old.items()}
        assert {index: (value.data, value.permissions, value.type) for index, value in resumed.items()} == {
            index: (value.data, value.permissions, value.type) for index, value in before.items()
        }


def test_a_value_that_vanished_meanwhile_is_not_missed() -> None:
    withholding = Withholding("suspended", STAMP)
    suspended = withholding(record()).values
    assert suspended is not None
    del suspended[2]
    assert set(after(restoring(withholding.withheld, withholding.namespace, STAMP)(suspended))) == {
        1,
        100,
        200,
    }


DEEP = b"<namespace>" + b"<a>" * 3_000 + b"</a>" * 3_000 + b"</namespace>"


@pytest.mark.parametrize("previous", [None, b"<broken", b"<!DOCTYPE x><namespace/>", b"<namespace/>", DEEP])
def test_an_inactive_document_is_readable_whatever_stood_there(previous: bytes | None) -> None:
    namespace = Namespace.decode(inactive_document(previous, "样例: a < b"))
    assert (namespace.active, namespace.status_message) == (False, "样例: a < b")


def test_keys_are_dropped_and_nothing_else() -> None:
    key = HandleValue(index=300, type="hs_seckey", data=b"sesame", permissions=SECRET_PERMISSIONS)
    public = HandleValue(index=301, type="HS_PUBKEY", data=b"x")
    assert set(after(dropping_keys(STAMP)(record(key, public)))) == {1, 2, 100, 200}


def test_references_of_administrators_and_groups_are_found() -> None:
    broken = HandleValue(index=101, type="HS_ADMIN", data=b"?")
    values = record(admin(ALICE, 102), broken).values()
    assert references_in(values) == {(b"88.100.7/ADMIN", 300), (b"88.100/alice", 300)}


def test_a_successor_takes_the_place_of_the_holders_identities() -> None:
    members = (ValueReference(b"88.100/ALICE", 300), ValueReference(b"88.100/carol", 300))
    group = HandleValue(index=201, type="HS_VLIST", data=ValueReferences(members).encode(), ttl=60)
    old = record(admin(ALICE, 102), group)

    new = after(rewriting(lambda handle, _: handle == ALICE.handle, ADMINISTRATOR, STAMP)(old))

    taken = Admin.decode(new[102].data)
    assert (str(taken.reference), taken.permissions) == ("300:88.100.7/ADMIN", 0x7F)
    names = [str(member) for member in ValueReferences.decode(new[201].data).members]
    assert names == ["300:88.100.7/ADMIN", "300:88.100/carol"]
    assert new[201].ttl == 60
    assert new[100].timestamp == 0


def test_a_record_that_names_nobody_of_his_is_left_alone() -> None:
    assert not rewriting(lambda *_: False, ADMINISTRATOR, STAMP)(record(admin(ALICE, 102))).changes


def test_a_record_that_would_fit_no_message_is_refused() -> None:
    large = HandleValue(index=7, type="URL", data=bytes(257_000))
    with pytest.raises(Refusal):
        Withholding("x" * 2_000, STAMP)(record(large))
