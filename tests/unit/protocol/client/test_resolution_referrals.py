"""Referrals: followed to another service, and stopped when they do not end."""

import pytest

from protocol.client.answers import Found
from protocol.client.resolution import DEFAULT_LIMITS, Limits
from protocol.codes import ResponseCode
from protocol.errors import RecursionLimit, ResolutionFailed
from tests.support.scripted_world import (
    ENTERPRISE,
    PUMP,
    ROOT,
    TOP,
    ScriptedWorld,
    delegate,
    national_hierarchy,
    referring,
    resolution,
    site,
    url_of,
    value,
)


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


def test_the_values_of_a_prefix_referral_that_name_the_service_below_come_first() -> None:
    world = ScriptedWorld()
    world.node(ROOT).scripts[b"0.NA/88"] = referring(
        ResponseCode.PREFIX_REFERRAL,
        value(1, "HS_SITE", site("20.0.0.7")),
        value(2, "HS_SITE.PREFIX", site("20.0.0.8")),
    )

    delegate(world.node("20.0.0.8"), "88", home=TOP)

    world.drive(resolution("0.NA/88"))

    assert world.asked == [(ROOT, "0.NA/88"), ("20.0.0.8", "0.NA/88")]
