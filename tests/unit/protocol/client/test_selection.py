"""Which addresses are never asked, and which server is asked next."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from protocol.client.selection import (
    AVOID_MAX_S,
    AVOID_MIN_S,
    MAX_TARGETS,
    MEASUREMENT_LIFE_S,
    Opening,
    ServerHealth,
    Target,
    is_public,
    is_routable,
    plan_targets,
    routable_sites,
    site_targets,
)
from protocol.handle import Handle, Prefix
from protocol.site import Interface, InterfaceProtocol, Server, Site
from tests.support.scripted_world import site

HANDLE = Handle.parse("88.100.1/pump-7")
PREFIX = Prefix.parse("88.100.1")


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.251",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::10.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.1.2.3",
        "::ffff:0.0.0.0",
        "::ffff:0:10.1.2.3",
        "64:ff9b::10.1.2.3",
        "64:ff9b::127.0.0.1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:a01:203::1",
        "2002:c0a8:101::1",
        "3fff::1",
        "fc00::1",
        "fd12:3456:789a::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    ],
)
def test_an_address_that_is_not_public_is_refused_in_every_spelling(address: str) -> None:
    assert not is_public(ip_address(address))
    assert not is_routable(ip_address(address), PREFIX)


@pytest.mark.parametrize(
    "address",
    [
        "38.100.138.131",
        "132.151.1.179",
        "172.32.0.1",
        "100.128.0.1",
        "::ffff:132.151.1.179",
        "64:ff9b::132.151.1.179",
        "2002:8497:1b3::1",
        "2001:550:100:6::4",
        "2a00:1450::1",
    ],
)
def test_public_addresses_are_routable(address: str) -> None:
    assert is_routable(ip_address(address), PREFIX)


@pytest.mark.parametrize(
    ("prefix", "opened"),
    [
        ("88.100", True),
        ("88.100.1", True),
        ("88.100.1.7", True),
        ("88", False),
        ("88.1001", False),
        ("99", False),
    ],
)
def test_a_network_is_opened_for_a_prefix_and_everything_below_it(prefix: str, *, opened: bool) -> None:
    opening = Opening(network=ip_network("10.0.0.0/8"), prefix=Prefix.parse("88.100"))

    assert is_routable(ip_address("10.1.2.3"), Prefix.parse(prefix), [opening]) is opened


def test_an_opened_prefix_is_compared_without_regard_to_case() -> None:
    opening = Opening(network=ip_network("10.0.0.0/8"), prefix=Prefix.parse("plant"))

    assert is_routable(ip_address("10.1.2.3"), Prefix.parse("PLANT.x"), [opening])


def test_an_opened_network_does_not_open_another_one() -> None:
    opening = Opening(network=ip_network("10.0.0.0/8"), prefix=None)

    assert is_routable(ip_address("10.1.2.3"), PREFIX, [opening])
    assert not is_routable(ip_address("192.168.0.1"), PREFIX, [opening])
    assert not is_routable(ip_address("::1"), PREFIX, [opening])


def test_an_opened_network_covers_the_mapped_spelling_but_no_tunnel() -> None:
    opening = Opening(network=ip_network("10.0.0.0/8"), prefix=None)

    assert is_routable(ip_address("::ffff:10.1.2.3"), PREFIX, [opening])
    assert not is_routable(ip_address("2002:a01:203::1"), PREFIX, [opening])
    assert not is_routable(ip_address("64:ff9b::10.1.2.3"), PREFIX, [opening])


def test_sites_that_the_operator_named_are_asked_wherever_they_are() -> None:
    assert is_routable(ip_address("127.0.0.1"), None)


def test_a_mapped_address_is_spoken_to_as_ipv4() -> None:
    server = Server(
        server_id=1,
        address=ip_address("::ffff:20.0.0.1").packed,
        interfaces=(Interface(admin=False, query=True, protocol=InterfaceProtocol.UDP, port=2641),),
    )

    assert [target.address for target in site_targets(Site(servers=(server,)), HANDLE)] == ["20.0.0.1"]


def test_a_site_is_judged_by_the_server_that_would_be_asked() -> None:
    private, public = site("10.0.0.1").servers[0], site("20.0.0.1").servers[0]
    split = Site(servers=(private, public))
    chosen = split.responsible_server(HANDLE)

    kept = routable_sites([split], HANDLE, PREFIX, [])

    assert bool(kept) is (chosen is public)
    assert not routable_sites([Site(servers=())], HANDLE, PREFIX, [])


def plan(
    sites: list[Site], health: ServerHealth, *, primary_only: bool = False, now_s: float = 0.0
) -> list[str]:
    targets = plan_targets(sites, HANDLE, primary_only=primary_only, health=health, now_s=now_s)
    return [f"{target.address} {target.protocol.name}" for target in targets]


def target_of(address: str, protocol: InterfaceProtocol = InterfaceProtocol.UDP) -> Target:
    chosen = site(address)
    return next(target for target in site_targets(chosen, HANDLE) if target.protocol == protocol)


def test_udp_comes_before_tcp_and_tcp_before_http() -> None:
    assert plan([site("20.0.0.1")], ServerHealth()) == ["20.0.0.1 UDP", "20.0.0.1 TCP", "20.0.0.1 HTTP"]


def test_a_mirror_is_asked_by_udp_before_tcp_of_the_first() -> None:
    planned = plan([site("20.0.0.1"), site("20.0.0.2")], ServerHealth())

    assert planned[:3] == ["20.0.0.1 UDP", "20.0.0.2 UDP", "20.0.0.1 TCP"]


def test_unmeasured_servers_come_first_then_the_nearest() -> None:
    health = ServerHealth()
    health.answered(target_of("20.0.0.1"), 0.200, now_s=0.0)
    health.answered(target_of("20.0.0.2"), 0.010, now_s=0.0)
    sites = [site("20.0.0.1"), site("20.0.0.2"), site("20.0.0.3")]

    planned = plan(sites, health)

    assert planned[:3] == ["20.0.0.3 UDP", "20.0.0.2 UDP", "20.0.0.1 UDP"]


def test_round_trip_times_are_smoothed_and_grow_old() -> None:
    health, target = ServerHealth(), target_of("20.0.0.1")
    health.answered(target, 0.100, now_s=0.0)
    health.answered(target, 0.200, now_s=1.0)

    assert health.round_trip_s(target, now_s=1.0) == pytest.approx(0.125)
    assert health.round_trip_s(target, now_s=2.0 + MEASUREMENT_LIFE_S) is None


def test_an_interface_that_failed_is_asked_last_for_a_while() -> None:
    health = ServerHealth()
    health.failed(target_of("20.0.0.1"), now_s=0.0, wall_s=1_000.0)

    assert plan([site("20.0.0.1")], health)[0] == "20.0.0.1 TCP"
    assert plan([site("20.0.0.1")], health)[-1] == "20.0.0.1 UDP"
    assert plan([site("20.0.0.1")], health, now_s=AVOID_MIN_S + 1)[0] == "20.0.0.1 UDP"


def test_the_while_doubles_up_to_its_limit_and_the_first_failure_is_remembered() -> None:
    health, target = ServerHealth(), target_of("20.0.0.1")
    for count in range(30):
        health.failed(target, now_s=0.0, wall_s=1_000.0 + count)

    assert health.is_avoided(target, AVOID_MAX_S - 1)
    assert not health.is_avoided(target, AVOID_MAX_S + 1)
    assert health.failing_since_wall_s(target) == 1_000.0


def test_an_answer_forgets_the_failures() -> None:
    health, target = ServerHealth(), target_of("20.0.0.1")
    health.failed(target, now_s=0.0, wall_s=1_000.0)
    health.answered(target, 0.1, now_s=1.0)

    assert health.failing_since_wall_s(target) is None
    assert not health.is_avoided(target, 1.0)


def test_the_memory_of_servers_is_bounded() -> None:
    health = ServerHealth(entries_max=2)
    for number in range(1, 5):
        health.answered(target_of(f"20.0.0.{number}"), 0.1, now_s=0.0)

    known = [health.round_trip_s(target_of(f"20.0.0.{number}"), 0.0) for number in range(1, 5)]
    assert known == [None, None, 0.1, 0.1]


def test_an_authoritative_question_goes_to_primaries_only() -> None:
    sites = [site("20.0.0.1", primary=False), site("20.0.0.2")]

    assert {planned.split()[0] for planned in plan(sites, ServerHealth(), primary_only=True)} == {"20.0.0.2"}


def test_an_authoritative_question_asks_all_when_nobody_calls_itself_primary() -> None:
    sites = [site("20.0.0.1", primary=False), site("20.0.0.2", primary=False)]

    assert len(plan(sites, ServerHealth(), primary_only=True)) == 6


def test_the_plan_is_bounded_however_many_sites_a_record_lists() -> None:
    sites = [site(f"20.0.{number}.1") for number in range(200)]

    assert len(plan(sites, ServerHealth())) == MAX_TARGETS


def test_interfaces_that_nobody_could_use_are_left_out() -> None:
    interfaces = (
        Interface(admin=True, query=False, protocol=InterfaceProtocol.UDP, port=2641),
        Interface(admin=False, query=True, protocol=9, port=2641),
        Interface(admin=False, query=True, protocol=InterfaceProtocol.TCP, port=0),
        Interface(admin=False, query=True, protocol=InterfaceProtocol.TCP, port=70_000),
        Interface(admin=False, query=True, protocol=InterfaceProtocol.TCP, port=2641),
        Interface(admin=True, query=True, protocol=InterfaceProtocol.TCP, port=2641),
    )
    server = replace(site("20.0.0.1").servers[0], interfaces=interfaces)

    assert plan([Site(servers=(server,))], ServerHealth()) == ["20.0.0.1 TCP"]


@pytest.mark.parametrize(
    ("spoken", "written"),
    [
        ((2, 11), (2, 11)),
        ((2, 10), (2, 10)),
        ((3, 0), (2, 11)),
        ((2, 6), (2, 4)),
        ((2, 5), (2, 4)),
        ((1, 0), (2, 1)),
    ],
)
def test_requests_are_written_in_what_the_site_speaks(
    spoken: tuple[int, int], written: tuple[int, int]
) -> None:
    chosen = site("20.0.0.1", protocol_major=spoken[0], protocol_minor=spoken[1])

    assert site_targets(chosen, HANDLE)[0].version == written
