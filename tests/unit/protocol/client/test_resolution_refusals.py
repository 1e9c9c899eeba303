"""What a resolution refuses to ask, and what it doubts."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from protocol.client.answers import Denied, Found, Reply
from protocol.client.delegation import Delegation, read_delegation
from protocol.client.resolution import Ask, Resolution
from protocol.client.selection import Opening
from protocol.codes import ResponseCode
from protocol.errors import LameService, NoService, PrivateReferral, Unreachable
from protocol.handle import Prefix
from protocol.value import ValueList
from tests.support.scripted_world import (
    ENTERPRISE,
    PUMP,
    SECOND,
    TOP,
    DelegationMemory,
    ScriptedWorld,
    always,
    delegate,
    national_hierarchy,
    question,
    referring,
    resolution,
    service,
    silent,
    site,
    value,
)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "0.0.0.0",
        "::1",
        "fe80::1",
        "fd00::1",
        "::ffff:10.1.2.3",
        "ff02::1",
    ],
)
def test_a_delegation_to_a_private_address_is_refused_and_never_asked(address: str) -> None:
    world = national_hierarchy()
    delegate(world.node(SECOND), "88.100.1", home=address)

    with pytest.raises(PrivateReferral, match="not routable") as caught:
        world.drive(resolution(PUMP))

    assert "0.NA/88.100.1" in caught.value.node
    assert "open_networks" in caught.value.remedy
    assert len(world.asked) == 3


def test_a_private_network_is_asked_when_it_is_opened_for_the_prefix() -> None:
    world = national_hierarchy()
    delegate(world.node(SECOND), "88.100.1", home="10.1.2.3")
    world.node("10.1.2.3").hold(PUMP, value(1, "URL", "https://plant.example/"))
    opening = Opening(network=ip_network("10.0.0.0/8"), prefix=Prefix.parse("88.100"))

    assert isinstance(world.drive(resolution(PUMP, openings=(opening,))), Found)


def test_an_opening_for_another_prefix_does_not_help() -> None:
    world = national_hierarchy()
    delegate(world.node(SECOND), "88.100.1", home="10.1.2.3")
    opening = Opening(network=ip_network("10.0.0.0/8"), prefix=Prefix.parse("88.200"))

    with pytest.raises(PrivateReferral):
        world.drive(resolution(PUMP, openings=(opening,)))


def test_a_referral_to_a_private_address_is_refused() -> None:
    world = national_hierarchy()
    world.node(ENTERPRISE).always = referring(
        ResponseCode.SERVICE_REFERRAL, value(1, "HS_SITE", site("127.0.0.1"))
    )

    with pytest.raises(PrivateReferral):
        world.drive(resolution(PUMP))


def test_a_public_site_beside_a_private_one_is_used() -> None:
    world = national_hierarchy()
    world.node(SECOND).hold(
        "0.NA/88.100.1", value(1, "HS_SITE", site("10.0.0.1")), value(2, "HS_SITE", site(ENTERPRISE))
    )

    assert isinstance(world.drive(resolution(PUMP)), Found)


def test_the_root_may_be_anywhere_since_the_operator_named_it() -> None:
    world = ScriptedWorld()
    delegate(world.node("127.0.0.1"), "88", home=ENTERPRISE)
    world.node(ENTERPRISE).hold("88/x", value(1, "URL", "https://plant.example/"))

    assert isinstance(world.drive(Resolution(question("88/x"), root=service("127.0.0.1"))), Found)


def test_a_prefix_record_without_a_service_is_named_in_the_failure() -> None:
    world = national_hierarchy()
    world.node(SECOND).hold("0.NA/88.100.1", value(1, "DESC", "nobody"))

    with pytest.raises(NoService, match="names no service") as caught:
        world.drive(resolution(PUMP))
    assert caught.value.node == "0.NA/88.100.1"
    assert "HS_SITE" in caught.value.remedy


def test_a_site_record_that_cannot_be_decoded_does_not_hide_the_others() -> None:
    world = national_hierarchy()
    world.node(SECOND).hold(
        "0.NA/88.100.1", value(1, "HS_SITE", b"\x00\x01garbage"), value(2, "HS_SITE", site(ENTERPRISE))
    )

    assert isinstance(world.drive(resolution(PUMP)), Found)


def test_a_value_that_is_not_public_delegates_nothing() -> None:
    secret = replace(value(1, "HS_SITE", site(ENTERPRISE)), permissions=0x0C)

    read = read_delegation(Prefix.parse("88"), ValueList.of([secret]), wall_s=0.0, empty_ttl_s=30)

    assert read == Delegation(prefix=Prefix.parse("88"))


def lame(world: ScriptedWorld, walk: Resolution, at: str) -> Reply:
    """Drive, with a node that is not responsible, as the client reports it."""
    while isinstance(step := walk.step(), Ask):
        if str(step.service.sites[0].servers[0].ip) == at:
            world.asked.append((at, "lame"))
            walk.failed(LameService("not responsible", node=at))
        else:
            walk.answered(world.put(step), 0.0)
    return step


def test_a_remembered_delegation_to_a_lame_node_is_looked_up_afresh_once() -> None:
    world = national_hierarchy()
    old = Delegation(prefix=Prefix.parse("88.100.1"), sites=(site("20.0.0.66"),), ttl_s=3_600)
    above = Delegation(prefix=Prefix.parse("88.100"), prefix_sites=(site(SECOND),), ttl_s=3_600)

    reply = lame(world, resolution(PUMP, DelegationMemory([old, above])), at="20.0.0.66")

    assert isinstance(reply, Found)
    assert world.asked == [("20.0.0.66", "lame"), (SECOND, "0.NA/88.100.1"), (ENTERPRISE, PUMP)]


def test_a_delegation_that_is_lame_when_fresh_too_fails_as_lame() -> None:
    world = national_hierarchy()
    delegate(world.node(SECOND), "88.100.1", home="20.0.0.66")
    old = Delegation(prefix=Prefix.parse("88.100.1"), sites=(site("20.0.0.66"),), ttl_s=3_600)

    with pytest.raises(LameService):
        lame(world, resolution(PUMP, DelegationMemory([old])), at="20.0.0.66")
    assert [handle for _, handle in world.asked].count("lame") == 1


def test_a_node_that_moved_is_found_before_its_old_record_expires() -> None:
    world = national_hierarchy()
    old = Delegation(prefix=Prefix.parse("88.100.1"), sites=(site("20.0.0.66"),), ttl_s=3_600)
    above = Delegation(prefix=Prefix.parse("88.100"), prefix_sites=(site(SECOND),), ttl_s=3_600)
    learned: list[Delegation] = []

    reply = world.drive(resolution(PUMP, DelegationMemory([old, above])), learned)

    assert isinstance(reply, Found)
    assert world.asked == [(SECOND, "0.NA/88.100.1"), (ENTERPRISE, PUMP)]
    assert learned[-1].sites == (site(ENTERPRISE),)


def test_a_node_that_is_down_costs_its_parent_one_exchange_and_is_named_in_the_failure() -> None:
    world = national_hierarchy()
    world.node(ENTERPRISE).always = silent
    learned: list[Delegation] = []
    with pytest.raises(Unreachable):
        world.drive(resolution(PUMP), learned)
    world.asked.clear()

    with pytest.raises(Unreachable, match=ENTERPRISE):
        world.drive(resolution(PUMP, DelegationMemory(learned)))
    assert world.asked == [(ENTERPRISE, PUMP), (SECOND, "0.NA/88.100.1")]


def test_a_parent_that_is_down_too_does_not_hide_the_failure_of_the_node() -> None:
    world = national_hierarchy()
    learned: list[Delegation] = []
    world.drive(resolution(PUMP), learned)
    for address in (TOP, SECOND, ENTERPRISE):
        world.node(address).always = silent

    with pytest.raises(Unreachable, match=ENTERPRISE):
        world.drive(resolution(PUMP, DelegationMemory(learned)))


def test_a_fresh_delegation_to_a_lame_node_is_not_looked_up_again() -> None:
    world = national_hierarchy()
    world.node(ENTERPRISE).always = always(ResponseCode.SERVER_NOT_RESPONSIBLE)

    with pytest.raises(LameService):
        lame(world, resolution(PUMP), at=ENTERPRISE)
    assert len(world.asked) == 4


MOVED_FROM = "20.0.0.66"


def moved_prefix() -> tuple[ScriptedWorld, DelegationMemory]:
    """A prefix that moved to ENTERPRISE, whose old service, which we remember, refers to the new one."""
    world = national_hierarchy()
    world.node(MOVED_FROM).always = referring(
        ResponseCode.SERVICE_REFERRAL, value(1, "HS_SITE", site(ENTERPRISE))
    )
    old = Delegation(prefix=Prefix.parse("88.100.1"), sites=(site(MOVED_FROM),), ttl_s=3_600)
    above = Delegation(prefix=Prefix.parse("88.100"), prefix_sites=(site(SECOND),), ttl_s=3_600)
    return world, DelegationMemory([old, above])


def test_a_referral_by_a_remembered_service_refreshes_its_delegation_once() -> None:
    world, memory = moved_prefix()
    learned: list[Delegation] = []

    assert isinstance(world.drive(resolution(PUMP, memory), learned), Found)
    assert world.asked == [(MOVED_FROM, PUMP), (SECOND, "0.NA/88.100.1"), (ENTERPRISE, PUMP)]
    assert learned[-1].sites == (site(ENTERPRISE),)


def test_a_referral_is_followed_when_the_fresh_delegation_is_the_old_one() -> None:
    world, memory = moved_prefix()
    delegate(world.node(SECOND), "88.100.1", home=MOVED_FROM)

    assert isinstance(world.drive(resolution(PUMP, memory)), Found)
    assert world.asked == [(MOVED_FROM, PUMP), (SECOND, "0.NA/88.100.1"), (ENTERPRISE, PUMP)]


def test_a_suspended_prefix_denies_in_the_words_of_its_record() -> None:
    world = national_hierarchy()
    text = "suspended by the operator since 2026-11-20T00:00:00Z: unpaid"
    document = f"<namespace><status>inactive</status><statusmsg>{text}</statusmsg></namespace>"
    world.node(SECOND).hold("0.NA/88.100.1", value(3, "HS_NAMESPACE", document.encode()))
    learned: list[Delegation] = []

    reply = world.drive(resolution(PUMP), learned)

    assert isinstance(reply, Denied)
    assert (reply.code, reply.message) == (ResponseCode.VALUES_NOT_FOUND, text)
    assert learned[-1].ttl_s <= 30
