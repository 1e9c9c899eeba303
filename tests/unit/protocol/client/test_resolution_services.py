"""Service handles: followed, remembered, and stopped when they lead in circles."""

import pytest

from protocol.client.delegation import Delegation
from protocol.client.resolution import DEFAULT_LIMITS, Ask, Resolution
from protocol.codes import ResponseCode
from protocol.errors import LameService, NoService, PrivateReferral, RecursionLimit
from tests.support.scripted_world import (
    ENTERPRISE,
    ROOT,
    TOP,
    DelegationMemory,
    ScriptedWorld,
    delegate,
    national_hierarchy,
    resolution,
    site,
    url_of,
    value,
)


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


def drive_past_refusals(world: ScriptedWorld, walk: Resolution) -> None:
    """Drive, with nodes that are not responsible for what they do not hold."""
    while isinstance(step := walk.step(), Ask):
        answer = world.put(step)
        if answer.code == ResponseCode.HANDLE_NOT_FOUND:
            walk.failed(LameService("not responsible", node=step.service.name))
        else:
            walk.answered(answer, 0.0)


def test_a_service_handle_behind_that_of_the_root_opens_no_private_network() -> None:
    world = national_hierarchy()
    world.node(TOP).hold(
        "0.NA/88.300", value(1, "HS_SERV", "0.NA/0.NA"), value(2, "HS_SERV", "88.100.1/SERVICE")
    )
    world.node(ENTERPRISE).hold("88.100.1/SERVICE", value(1, "HS_SITE", site("10.0.0.9")))
    world.node("10.0.0.9").hold("88.300/x", value(1, "URL", "https://inside.example/"))
    walk = resolution("88.300/x")

    with pytest.raises(PrivateReferral, match=r"not opened for prefix 88\.300"):
        drive_past_refusals(world, walk)
    assert "10.0.0.9" not in dict(world.asked)


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
