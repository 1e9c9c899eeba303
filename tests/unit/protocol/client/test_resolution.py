"""The walk from the root to an answer, in a world without sockets."""

import pytest

from protocol.client.answers import Denied, Found, Question
from protocol.client.delegation import Delegation
from protocol.client.resolution import Ask, Purpose, Resolution
from protocol.codes import ResponseCode
from protocol.handle import Handle, Prefix
from tests.support.scripted_world import (
    ENTERPRISE,
    PUMP,
    ROOT,
    SECOND,
    TOP,
    DelegationMemory,
    ScriptedWorld,
    delegate,
    national_hierarchy,
    question,
    resolution,
    service,
    url_of,
    value,
)


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
    "name",
    ["/x", "a..b/c", "88.10..1/x", ".a/b", "0.NA/a/b", "0.NA/", "\ud800/x".encode("utf-8", "surrogatepass")],
)
def test_odd_names_are_denied_and_never_crash(name: str | bytes) -> None:
    world = national_hierarchy()
    walk = Resolution(Question(handle=Handle.parse(name)), root=service(ROOT))

    assert isinstance(world.drive(walk), Denied)


@pytest.mark.parametrize("name", ["/x", "88.10..1/x", ".88/x", "88./x"])
def test_nobody_is_asked_about_a_prefix_with_an_empty_label(name: str) -> None:
    world = national_hierarchy()

    reply = world.drive(resolution(name))

    assert isinstance(reply, Denied)
    assert reply.code == ResponseCode.HANDLE_NOT_FOUND
    assert not world.asked
