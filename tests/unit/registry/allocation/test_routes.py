"""Routes: what a prefix may be served at, and what the node may be told to speak to."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from protocol.client.selection import Opening
from protocol.handle import Prefix
from protocol.site import Server, Site, single_server_site
from protocol.valuetypes import PublicKey
from registry.allocation import routes
from registry.allocation.routes import RouteRefused, check_host, check_site, check_url, pin_url

PREFIX = Prefix.parse("88.100.7")
KEY = PublicKey(b"RSA_PUB_KEY", (65_537, 1 << 2_047 | 1)).encode()
LOOPBACK = (Opening(network=ip_network("127.0.0.0/8"), prefix=PREFIX),)

REFUSED_ADDRESSES = (
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "239.255.255.255",
    "255.255.255.255",
    "240.0.0.1",
    "198.18.0.1",
    "::",
    "::1",
    "fe80::1",
    "fc00::1",
    "fd12:3456::1",
    "fec0::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:a00:1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::10.0.0.1",
    "2002:7f00:1::",
    "2002:c0a8:101::1",
    "2001::1",
    "2001:db8::1",
)


def site(address: str = "8.8.8.8", key: bytes = KEY) -> Site:
    return single_server_site(
        addresses=(address,),
        tcp_port=2_641,
        udp_port=2_641,
        http_port=8_000,
        https=False,
        primary=True,
        public_key=key,
    )


def with_server(**changes: object) -> Site:
    whole = site()
    return replace(whole, servers=(replace(whole.servers[0], **changes),))  # type: ignore[arg-type]


@pytest.mark.parametrize("address", ["8.8.8.8", "2a00:1450:4001::1"])
def test_a_site_at_a_public_address_is_accepted(address: str) -> None:
    check_site(site(address), PREFIX)


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
def test_a_site_in_a_network_that_is_not_public_is_refused(address: str) -> None:
    octets = Server.pack_address(ip_address(address))
    with pytest.raises(RouteRefused):
        check_site(with_server(address=octets), PREFIX)


def test_a_site_in_a_network_that_the_operator_opened_is_accepted() -> None:
    check_site(site("127.0.0.1"), PREFIX, LOOPBACK)
    check_site(site("127.0.0.1"), Prefix.parse("88.100.7.1"), LOOPBACK)


def test_a_network_opened_for_another_prefix_helps_nobody_else() -> None:
    with pytest.raises(RouteRefused, match="open_networks"):
        check_site(site("127.0.0.1"), Prefix.parse("88.100.8"), LOOPBACK)


def test_every_server_of_a_site_is_looked_at() -> None:
    two = replace(site(), servers=(*site().servers, *site("10.0.0.1").servers))
    with pytest.raises(RouteRefused, match=r"10\.0\.0\.1"):
        check_site(two, PREFIX)


def test_a_second_address_in_an_attribute_is_looked_at() -> None:
    hidden = replace(site(), attributes=((b"alt_addr", b"169.254.169.254"),))
    with pytest.raises(RouteRefused, match=r"169\.254"):
        check_site(hidden, PREFIX)


@pytest.mark.parametrize(
    "key", [b"", b"nonsense", PublicKey(b"RSA_PUB_KEY", (65_537, 1 << 1_023 | 1)).encode()]
)
def test_a_server_without_a_usable_key_is_refused(key: bytes) -> None:
    with pytest.raises(RouteRefused, match="key"):
        check_site(site(key=key), PREFIX)


def test_a_site_nobody_can_ask_is_refused() -> None:
    with pytest.raises(RouteRefused, match="no interface"):
        check_site(with_server(interfaces=()), PREFIX)
    with pytest.raises(RouteRefused, match="servers"):
        check_site(replace(site(), servers=()), PREFIX)


def test_a_site_of_too_many_servers_is_refused() -> None:
    with pytest.raises(RouteRefused, match="servers"):
        check_site(replace(site(), servers=site().servers * (routes.SERVERS_MAX + 1)), PREFIX)


def test_an_interface_at_no_port_is_refused() -> None:
    interfaces = tuple(replace(interface, port=0) for interface in site().servers[0].interfaces)
    with pytest.raises(RouteRefused, match="port 0"):
        check_site(with_server(interfaces=interfaces), PREFIX)


def test_a_mirror_is_no_route() -> None:
    with pytest.raises(RouteRefused, match="primary"):
        check_site(replace(site(), primary=False), PREFIX)


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
def test_a_url_at_an_address_that_is_not_public_is_refused(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(RouteRefused):
        check_url(f"https://{host}/api/v1/node", PREFIX)


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",  # 127.0.0.1 as one number
        "017700000001",
        "0x7f000001",
        "0x7F.1",
        "0177.0.0.1",
        "127.1",
        "127.0.1",
        "10.0.0.010",
        "127.0.0.1.",
        "0x",
        "[fe80::1%25eth0]",
        "１２７.0.0.1",
        "127。0。0。1",
        "ⓛocalhost",
        "%6cocalhost",
        "-bad-.example",
        "a..b",
        "under_score.example",
    ],
)
def test_a_url_with_an_unusual_spelling_of_its_host_is_refused(host: str) -> None:
    with pytest.raises(RouteRefused):
        check_url(f"https://{host}/", PREFIX)


@pytest.mark.parametrize(
    "url",
    [
        "http://node.example/",
        "ftp://node.example/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://user:secret@node.example/",
        "https://node.example@127.0.0.1/",
        "https://node.example/#part",
        "https://node.example:0/",
        "https://node.example:99999/",
        "https://",
        "https:///path",
        "https://node.example/a b",
        "https://node.example\\@127.0.0.1/",
        "https://node.example/\n",
        "https://node.example/" + "x" * 2_000,
        "https://[::1",
    ],
)
def test_a_url_that_is_not_plain_https_is_refused(url: str) -> None:
    with pytest.raises(RouteRefused):
        check_url(url, PREFIX)


def test_a_refusal_repeats_no_credentials() -> None:
    with pytest.raises(RouteRefused) as caught:
        check_url("https://user:sesame@node.example/", PREFIX)
    assert "sesame" not in str(caught.value)


def test_a_url_at_a_public_address_is_pinned_at_once() -> None:
    pinned = check_url("https://8.8.8.8:8443/api", PREFIX)
    assert pinned.addresses == ("8.8.8.8",)
    assert pinned.port == 8_443


def test_a_host_that_the_operator_named_himself_may_be_anywhere() -> None:
    assert check_host("127.0.0.1", None) == ip_address("127.0.0.1")


def pin(*addresses: str, url: str = "https://node.example/api") -> routes.PinnedUrl:
    async def resolve(host: str) -> Sequence[str]:
        assert host == "node.example"
        return addresses

    return asyncio.run(pin_url(url, PREFIX, LOOPBACK[:0], resolve=resolve))


def test_a_name_is_resolved_once_and_pinned() -> None:
    pinned = pin("8.8.8.8", "2a00:1450:4001::1", "8.8.8.8")
    assert pinned.addresses == ("8.8.8.8", "2a00:1450:4001::1")
    assert (pinned.host, pinned.port) == ("node.example", 443)


@pytest.mark.parametrize("address", [*REFUSED_ADDRESSES, "fe80::1%eth0"])
def test_a_name_is_refused_when_one_of_its_addresses_is(address: str) -> None:
    with pytest.raises(RouteRefused, match="resolves to"):
        pin("8.8.8.8", address)


def test_a_name_without_addresses_is_refused() -> None:
    with pytest.raises(RouteRefused, match="no address"):
        pin()


def test_a_name_that_does_not_resolve_is_refused() -> None:
    async def resolve(_: str) -> Sequence[str]:
        raise OSError("no such host")

    with pytest.raises(RouteRefused, match="does not resolve"):
        asyncio.run(pin_url("https://node.example/", PREFIX, resolve=resolve))


def test_settings_open_networks_to_prefixes() -> None:
    class Rule:
        network = "10.0.0.0/8"
        prefixes = ("88.100.7", "*")

    named, everybody = routes.openings_of([Rule()])
    assert named.prefix == PREFIX
    assert everybody.prefix is None
