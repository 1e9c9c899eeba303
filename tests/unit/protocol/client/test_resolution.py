"""The walk from the root to an answer, in a world without sockets."""

from ipaddress import ip_network

import pytest

from protocol.client.answers import Denied, Found, Question, Reply
from protocol.client.delegation import Delegation
from protocol.client.resolution import DEFAULT_LIMITS, Ask, Limits, Purpose, Resolution
from protocol.client.selection import Opening
from protocol.codes import ResponseCode
from protocol.errors import LameService, NoService, PrivateReferral, RecursionLimit, ResolutionFailed
from protocol.handle import Handle, Prefix
from tests.support.scripted_world import (
    ENTERPRISE,
    ROOT,
    SECOND,
    TOP,
    DelegationMemory,
    ScriptedWorld,
    always,
    delegate,
    national_hierarchy,
    referring,
    service,
    site,
    value,
)

PUMP = "88.100.1/pump-7"


def question(name: str, *, types: tuple[str, ...] = (), authoritative: bool = False) -> Question:
    return Question(handle=Handle.parse(name), types=types, authoritative=authoritative)


def resolution(
    name: str,
    memory: DelegationMemory | None = None,
    *,
    limits: Limits = DEFAULT_LIMITS,
    openings: tuple[Opening, ...] = (),
) -> Resolution:
    return Resolution(
        question(name),
        root=service(ROOT),
        known=(memory or DelegationMemory()).known,
        limits=limits,
        openings=openings,
    )


def url_of(reply: Reply) -> str:
    assert isinstance(reply, Found)
    return next(found.data.decode() for found in reply.values if found.type == "URL")


def test_from_nothing_a_four_level_name_takes_four_exchanges() -> None:
    world = national_hierarchy()

    reply = world.drive(resolution(PUMP))

    assert url_of(reply) == "https://plant.example/pump-7"
    assert world.asked == [
        (ROOT, "0.NA/88"),
        (TOP, "0.NA/88.100"),
        (SECOND, "0.NA/88.100.1"),
        (ENTERPRISE, PUMP),
    ]


def test_an_unseen_name_under_a_known_prefix_takes_exactly_one_exchange() -> None:
    world, memory = national_hierarchy(), DelegationMemory()
    world.node(ENTERPRISE).hold("88.100.1/valve", value(1, "URL", "https://plant.example/valve"))
    learned: list[Delegation] = []
    world.drive(resolution(PUMP), learned)
    for delegation in learned:
        memory.learn(delegation)
    world.asked.clear()

    world.drive(resolution("88.100.1/valve", memory))

    assert world.asked == [(ENTERPRISE, "88.100.1/valve")]


def test_a_sibling_prefix_starts_at_the_nearest_known_ancestor() -> None:
    world, memory = national_hierarchy(), DelegationMemory()
    delegate(world.node(SECOND), "88.100.2", home=ENTERPRISE)
    world.node(ENTERPRISE).hold("88.100.2/x", value(1, "URL", "https://other.example/"))
    learned: list[Delegation] = []
    world.drive(resolution(PUMP), learned)
    for delegation in learned:
        memory.learn(delegation)
    world.asked.clear()

    world.drive(resolution("88.100.2/x", memory))

    assert world.asked == [(SECOND, "0.NA/88.100.2"), (ENTERPRISE, "88.100.2/x")]


def test_upper_nodes_never_see_the_suffix() -> None:
    world = national_hierarchy()

    world.drive(resolution(PUMP))

    for address in (ROOT, TOP, SECOND):
        assert all(b"pump" not in octets.lower() for octets in world.node(address).octets)
    assert any(b"pump" in octets for octets in world.node(ENTERPRISE).octets)


def test_each_level_is_told_only_the_prefix_that_it_has_to_delegate() -> None:
    world = national_hierarchy()

    world.drive(resolution(PUMP))

    assert all(b"88.100" not in octets for octets in world.node(ROOT).octets)
    assert all(b"88.100.1" not in octets for octets in world.node(TOP).octets)


def test_a_missing_intermediate_record_does_not_end_the_walk() -> None:
    world = ScriptedWorld()
    delegate(world.node(ROOT), "20.500.12345", home=ENTERPRISE)
    world.node(ENTERPRISE).hold("20.500.12345/abc", value(1, "URL", "https://repository.example/abc"))

    reply = world.drive(resolution("20.500.12345/abc"))

    assert url_of(reply) == "https://repository.example/abc"
    assert [handle for _, handle in world.asked] == [
        "0.NA/20",
        "0.NA/20.500",
        "0.NA/20.500.12345",
        "20.500.12345/abc",
    ]


def test_remembered_missing_records_are_not_asked_for_again() -> None:
    world = ScriptedWorld()
    delegate(world.node(ROOT), "20.500.12345", home=ENTERPRISE)
    world.node(ENTERPRISE).hold("20.500.12345/abc", value(1, "URL", "https://repository.example/abc"))
    memory = DelegationMemory(
        Delegation(prefix=Prefix.parse(name), exists=False, ttl_s=30) for name in ("20", "20.500")
    )

    world.drive(resolution("20.500.12345/abc", memory))

    assert [handle for _, handle in world.asked] == ["0.NA/20.500.12345", "20.500.12345/abc"]


def test_a_record_without_delegation_leaves_the_walk_with_the_same_service() -> None:
    world = national_hierarchy()
    world.node(TOP).hold("0.NA/88.200", value(100, "DESC", "hosted here"))
    delegate(world.node(TOP), "88.200.7", home=ENTERPRISE)
    world.node(ENTERPRISE).hold("88.200.7/a", value(1, "URL", "https://hosted.example/"))

    world.drive(resolution("88.200.7/a"))

    assert world.asked[1:] == [(TOP, "0.NA/88.200"), (TOP, "0.NA/88.200.7"), (ENTERPRISE, "88.200.7/a")]


def test_an_unregistered_prefix_is_denied_and_learned_as_missing() -> None:
    world, learned = national_hierarchy(), list[Delegation]()

    reply = world.drive(resolution("88.100.99/x"), learned)

    assert isinstance(reply, Denied)
    assert reply.code == ResponseCode.HANDLE_NOT_FOUND
    assert "88.100.99" in reply.message
    assert learned[-1] == Delegation(prefix=Prefix.parse("88.100.99"), exists=False)
    assert learned[-1].ttl_s == 30


def test_a_remembered_unregistered_prefix_is_denied_without_an_exchange() -> None:
    memory = DelegationMemory([Delegation(prefix=Prefix.parse("88.100.99"), exists=False, ttl_s=30)])

    assert isinstance(resolution("88.100.99/x", memory).step(), Denied)


def test_an_authoritative_question_does_not_trust_a_remembered_denial() -> None:
    world = national_hierarchy()
    memory = DelegationMemory([Delegation(prefix=Prefix.parse("88.100.1"), exists=False, ttl_s=30)])

    reply = world.drive(
        Resolution(question(PUMP, authoritative=True), root=service(ROOT), known=memory.known)
    )

    assert isinstance(reply, Found)


def test_denials_of_the_authority_are_replies_with_its_code_and_words() -> None:
    world = national_hierarchy()

    reply = world.drive(resolution("88.100.1/unknown"))

    assert reply == Denied(
        handle=Handle.parse("88.100.1/unknown"),
        code=ResponseCode.HANDLE_NOT_FOUND,
        message="unknown here",
        authoritative=True,
    )


def test_a_type_that_no_value_has_is_denied_with_values_not_found() -> None:
    world = national_hierarchy()

    reply = world.drive(Resolution(question(PUMP, types=("EMAIL",)), root=service(ROOT)))

    assert isinstance(reply, Denied)
    assert reply.code == ResponseCode.VALUES_NOT_FOUND


def test_the_reply_carries_the_question_as_it_was_spelled() -> None:
    world = national_hierarchy()

    reply = world.drive(resolution("88.100.1/Pump-7"))

    assert str(reply.handle) == "88.100.1/Pump-7"


def test_only_the_last_exchange_is_marked_authoritative() -> None:
    world = national_hierarchy()
    walk = Resolution(question(PUMP, authoritative=True), root=service(ROOT))
    asks = []
    while isinstance(step := walk.step(), Ask):
        asks.append(step)
        walk.answered(world.put(step), 0.0)

    assert [ask.authoritative for ask in asks] == [False, False, False, True]
    assert [ask.purpose for ask in asks] == [Purpose.PREFIX, Purpose.PREFIX, Purpose.PREFIX, Purpose.HANDLE]


# Names that the global service holds.


@pytest.mark.parametrize("name", ["0.TYPE/URL", "0/STATUS", "0.NA/0.NA", "0.NA/88", "88"])
def test_global_names_are_asked_of_the_root_at_once(name: str) -> None:
    world = national_hierarchy()
    step = resolution(name).step()

    assert isinstance(step, Ask)
    assert step.service == service(ROOT)
    assert step.purpose is Purpose.HANDLE
    assert step.handle == Handle.parse(name)
    assert b"/" in step.handle.octets
    assert world.put(step).code in (ResponseCode.SUCCESS, ResponseCode.HANDLE_NOT_FOUND)


@pytest.mark.parametrize("name", ["0.NA/88.100.1", "88.100.1"])
def test_a_prefix_record_is_asked_of_the_node_that_allocated_it(name: str) -> None:
    world = national_hierarchy()

    reply = world.drive(resolution(name))

    assert isinstance(reply, Found)
    assert str(reply.handle) == name
    assert world.asked == [(ROOT, "0.NA/88"), (TOP, "0.NA/88.100"), (SECOND, "0.NA/88.100.1")]


def test_a_prefix_record_that_does_not_exist_is_denied_by_the_nearest_service() -> None:
    world = national_hierarchy()

    reply = world.drive(resolution("0.NA/88.100.77"))

    assert isinstance(reply, Denied)
    assert world.asked[-1] == (SECOND, "0.NA/88.100.77")


@pytest.mark.parametrize(
    "name", ["/x", "a..b/c", ".a/b", "0.NA/a/b", "0.NA/", "\ud800/x".encode("utf-8", "surrogatepass")]
)
def test_odd_names_are_denied_and_never_crash(name: str | bytes) -> None:
    world = national_hierarchy()
    walk = Resolution(Question(handle=Handle.parse(name)), root=service(ROOT))

    assert isinstance(world.drive(walk), Denied)


# Service handles.


def test_a_service_handle_leads_to_the_sites_that_its_record_names() -> None:
    world = national_hierarchy()
    world.node(TOP).hold("0.NA/88.300", value(1, "HS_SERV", "88.100.1/SERVICE", ttl=600))
    world.node(ENTERPRISE).hold("88.100.1/SERVICE", value(1, "HS_SITE", site("20.0.0.9"), ttl=60))
    world.node("20.0.0.9").hold("88.300/x", value(1, "URL", "https://served.example/"))
    learned: list[Delegation] = []

    reply = world.drive(resolution("88.300/x"), learned)

    assert url_of(reply) == "https://served.example/"
    memory = DelegationMemory(learned)
    assert memory.delegations[b"88.300"].sites == (site("20.0.0.9"),)
    assert memory.delegations[b"88.300"].ttl_s == 60
    world.asked.clear()
    world.drive(resolution("88.300/x", memory))
    assert world.asked == [("20.0.0.9", "88.300/x")]


def test_a_prefix_service_handle_holds_the_records_below() -> None:
    world = national_hierarchy()
    world.node(ROOT).hold("0.NA/77", value(1, "HS_SERV.PREFIX", "88.100.1/SERVICE"))
    world.node(ENTERPRISE).hold("88.100.1/SERVICE", value(1, "HS_SITE", site("20.0.0.9")))
    delegate(world.node("20.0.0.9"), "77.5", home="20.0.0.10")
    world.node("20.0.0.10").hold("77.5/x", value(1, "URL", "https://below.example/"))

    assert url_of(world.drive(resolution("77.5/x"))) == "https://below.example/"
    assert ("20.0.0.9", "0.NA/77.5") in world.asked


def test_the_service_handle_of_the_root_means_the_root_itself() -> None:
    world = ScriptedWorld()
    world.node(ROOT).hold("0.NA/10", value(1, "HS_SERV", "0.NA/0.NA"))
    world.node(ROOT).hold("10/x", value(1, "URL", "https://root.example/"))

    assert url_of(world.drive(resolution("10/x"))) == "https://root.example/"
    assert len(world.asked) == 2


def test_the_second_service_handle_is_followed_when_the_first_leads_nowhere() -> None:
    world = national_hierarchy()
    world.node(TOP).hold(
        "0.NA/88.300", value(1, "HS_SERV", "88.999/GONE"), value(2, "HS_SERV", "88.100.1/SERVICE")
    )
    world.node(ENTERPRISE).hold("88.100.1/SERVICE", value(1, "HS_SITE", site("20.0.0.9")))
    world.node("20.0.0.9").hold("88.300/x", value(1, "URL", "https://served.example/"))

    assert url_of(world.drive(resolution("88.300/x"))) == "https://served.example/"


def test_service_handles_are_followed_when_no_site_of_the_record_answers() -> None:
    world = national_hierarchy()
    world.node(TOP).hold(
        "0.NA/88.300", value(1, "HS_SITE", site("20.9.9.9")), value(2, "HS_SERV", "88.100.1/SERVICE")
    )
    world.node(ENTERPRISE).hold("88.100.1/SERVICE", value(1, "HS_SITE", site("20.0.0.9")))
    world.node("20.0.0.9").hold("88.300/x", value(1, "URL", "https://served.example/"))

    assert url_of(world.drive(resolution("88.300/x"))) == "https://served.example/"


def test_service_handles_that_need_themselves_end_as_a_loop() -> None:
    world = national_hierarchy()
    world.node(TOP).hold("0.NA/88.300", value(1, "HS_SERV", "88.300/SERVICE"))

    with pytest.raises(RecursionLimit, match="service loop"):
        world.drive(resolution("88.300/x"))
    assert len(world.asked) < 5


def test_service_handles_that_name_each_other_end_as_a_loop() -> None:
    world = national_hierarchy()
    world.node(TOP).hold("0.NA/88.300", value(1, "HS_SERV", "88.100.1/A"))
    world.node(ENTERPRISE).hold("88.100.1/A", value(1, "HS_SERV", "88.100.1/B"))
    world.node(ENTERPRISE).hold("88.100.1/B", value(1, "HS_SERV", "88.100.1/A"))

    with pytest.raises(RecursionLimit, match="service loop"):
        world.drive(resolution("88.300/x"))


def test_a_deep_chain_of_service_handles_ends_with_its_named_limit() -> None:
    world = national_hierarchy()
    world.node(TOP).hold("0.NA/88.300", value(1, "HS_SERV", "88.100.1/S0"))
    for number in range(40):
        world.node(ENTERPRISE).hold(f"88.100.1/S{number}", value(1, "HS_SERV", f"88.100.1/S{number + 1}"))

    with pytest.raises(RecursionLimit, match="service_depth_max"):
        world.drive(resolution("88.300/x"))


def test_a_deep_chain_of_prefixes_that_need_each_other_ends_with_a_named_limit() -> None:
    world = ScriptedWorld()
    for number in range(60):
        world.node(ROOT).hold(f"0.NA/{number}", value(1, "HS_SERV", f"{number + 1}/S"))

    with pytest.raises(RecursionLimit, match=r"service_depth_max|exchanges_max"):
        world.drive(resolution("1/x"))
    assert len(world.asked) <= DEFAULT_LIMITS.exchanges_max


def test_a_service_handle_without_sites_is_named_in_the_failure() -> None:
    world = national_hierarchy()
    world.node(TOP).hold("0.NA/88.300", value(1, "HS_SERV", "88.100.1/pump-7"))

    with pytest.raises(NoService, match=r"88\.100\.1/pump-7"):
        world.drive(resolution("88.300/x"))


# Referrals.


def test_a_prefix_referral_with_values_is_followed() -> None:
    world = national_hierarchy()
    world.node(ROOT).scripts[b"0.NA/88"] = referring(
        ResponseCode.PREFIX_REFERRAL, value(1, "HS_SITE.PREFIX", site("20.0.0.8"))
    )
    delegate(world.node("20.0.0.8"), "88", home=TOP, below=TOP)

    assert url_of(world.drive(resolution(PUMP))) == "https://plant.example/pump-7"
    assert world.asked[:2] == [(ROOT, "0.NA/88"), ("20.0.0.8", "0.NA/88")]


def test_a_service_that_a_referral_named_is_asked_for_the_next_prefix_too() -> None:
    world = ScriptedWorld()
    world.node(ROOT).always = referring(
        ResponseCode.PREFIX_REFERRAL, value(1, "HS_SITE.PREFIX", site("20.0.0.8"))
    )
    world.node("20.0.0.8").hold("0.NA/88", value(1, "DESC", "nothing to say"))
    delegate(world.node("20.0.0.8"), "88.100", home=ENTERPRISE)
    world.node(ENTERPRISE).hold("88.100/x", value(1, "URL", "https://plant.example/"))

    world.drive(resolution("88.100/x"))

    assert [handle for address, handle in world.asked if address == ROOT] == ["0.NA/88"]


def test_a_service_referral_with_values_is_followed() -> None:
    world = national_hierarchy()
    world.node(ENTERPRISE).always = referring(
        ResponseCode.SERVICE_REFERRAL, value(1, "HS_SITE", site("20.0.0.8"))
    )
    world.node("20.0.0.8").hold(PUMP, value(1, "URL", "https://moved.example/"))

    assert url_of(world.drive(resolution(PUMP))) == "https://moved.example/"


def test_a_service_referral_with_a_handle_is_followed() -> None:
    world = national_hierarchy()
    world.node(ENTERPRISE).scripts[b"88.100.1/PUMP-7"] = referring(
        ResponseCode.SERVICE_REFERRAL, handle="88.100.1/SERVICE"
    )
    world.node(ENTERPRISE).hold("88.100.1/SERVICE", value(1, "HS_SITE", site("20.0.0.8")))
    world.node("20.0.0.8").hold(PUMP, value(1, "URL", "https://moved.example/"))

    assert url_of(world.drive(resolution(PUMP))) == "https://moved.example/"


def test_a_prefix_referral_of_a_name_that_is_no_prefix_record_is_refused() -> None:
    world = national_hierarchy()
    world.node(ENTERPRISE).always = referring(
        ResponseCode.PREFIX_REFERRAL, value(1, "HS_SITE.PREFIX", site("20.0.0.8"))
    )

    with pytest.raises(ResolutionFailed, match="303"):
        world.drive(resolution(PUMP))
    assert "20.0.0.8" not in [address for address, _ in world.asked]


def test_a_self_referral_ends_after_one_exchange() -> None:
    world = national_hierarchy()
    world.node(ENTERPRISE).always = referring(
        ResponseCode.SERVICE_REFERRAL, value(1, "HS_SITE", site(ENTERPRISE))
    )

    with pytest.raises(RecursionLimit, match="referral loop"):
        world.drive(resolution(PUMP))
    assert len(world.asked) == 4


def test_two_nodes_that_refer_to_each_other_end_as_a_loop() -> None:
    world = national_hierarchy()
    for address, other in ((ENTERPRISE, "20.0.0.8"), ("20.0.0.8", ENTERPRISE)):
        world.node(address).always = referring(
            ResponseCode.SERVICE_REFERRAL, value(1, "HS_SITE", site(other))
        )

    with pytest.raises(RecursionLimit, match="referral loop"):
        world.drive(resolution(PUMP))
    assert len(world.asked) == 5


def test_a_long_chain_of_referrals_ends_with_its_named_limit() -> None:
    world = national_hierarchy()
    world.node(ENTERPRISE).always = referring(
        ResponseCode.SERVICE_REFERRAL, value(1, "HS_SITE", site("20.1.0.0"))
    )
    for number in range(60):
        world.node(f"20.1.0.{number}").always = referring(
            ResponseCode.SERVICE_REFERRAL, value(1, "HS_SITE", site(f"20.1.0.{number + 1}"))
        )

    with pytest.raises(RecursionLimit, match="referrals_max"):
        world.drive(resolution(PUMP))
    assert len(world.asked) == 4 + DEFAULT_LIMITS.referrals_max


def test_the_exchanges_of_one_resolution_are_limited() -> None:
    world = national_hierarchy()

    with pytest.raises(RecursionLimit, match="exchanges_max"):
        world.drive(resolution(PUMP, limits=Limits(exchanges_max=3)))
    assert len(world.asked) == 3


def test_a_prefix_of_very_many_labels_is_not_walked_label_by_label() -> None:
    world = ScriptedWorld()
    prefix = ".".join(["1"] * 500)
    delegate(world.node(ROOT), prefix, home=ENTERPRISE)
    world.node(ENTERPRISE).hold(f"{prefix}/x", value(1, "URL", "https://deep.example/"))

    assert isinstance(world.drive(resolution(f"{prefix}/x")), Found)
    assert len(world.asked) == DEFAULT_LIMITS.labels_max + 2


# What is refused.


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


# Memory that is out of date.


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


def test_a_fresh_delegation_to_a_lame_node_is_not_looked_up_again() -> None:
    world = national_hierarchy()
    world.node(ENTERPRISE).always = always(ResponseCode.SERVER_NOT_RESPONSIBLE)

    with pytest.raises(LameService):
        lame(world, resolution(PUMP), at=ENTERPRISE)
    assert len(world.asked) == 4
