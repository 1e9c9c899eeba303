"""Site records: octets, addresses, and which server of a site is responsible."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from protocol.errors import InvalidValue, Malformed, TooLarge, WireError
from protocol.handle import Handle
from protocol.site import HashOption, Interface, InterfaceProtocol, Server, Site, selection_hash
from tests.support.vectors import keys, spec, spec_octets

TCP = Interface(admin=True, query=True, protocol=InterfaceProtocol.TCP, port=2641)
SERVER = Server(server_id=1, address=Server.pack_address(IPv4Address("192.0.2.1")), interfaces=(TCP,))
SITE = Site(serial=3, attributes=((b"desc", b"Test"),), servers=(SERVER,))


def test_v11_a_site_record() -> None:
    site = Site.decode(spec_octets("site"))
    assert site.encode() == spec_octets("site")
    assert (site.serial, site.primary, site.multi_primary, site.hash_option) == (
        3,
        True,
        False,
        HashOption.WHOLE,
    )
    assert site.attribute(b"desc") == b"Test"
    assert site.attribute(b"path") is None
    (server,) = site.servers
    assert (server.server_id, server.ip) == (1, IPv4Address("192.0.2.1"))
    assert server.public_key == spec_octets("rsa_pub")
    assert [(i.kind, i.protocol, i.port) for i in server.interfaces] == [
        (2, 0, 2641),
        (3, 1, 2641),
        (3, 2, 8000),
    ]


def test_the_record_of_a_deployed_server_decodes() -> None:
    assert keys()["siteinfo_json"]["servers"][0]["address"] == "127.0.0.1"


@pytest.mark.parametrize("flags", range(256))
def test_every_flag_octet_survives(flags: int) -> None:
    octets = SITE.encode()
    changed = octets[:6] + bytes((flags, flags)) + octets[8:]
    site = Site.decode(changed)
    assert site.encode() == changed
    assert (site.primary, site.multi_primary) == (bool(flags & 0x80), bool(flags & 0x40))


@pytest.mark.parametrize("kind", range(256))
def test_every_interface_type_survives(kind: int) -> None:
    octets = SITE.encode()[:-6] + bytes((kind, 9)) + b"\x00\x01\xff\xff"
    interface = Site.decode(octets).servers[0].interfaces[0]
    assert Site.decode(octets).encode() == octets
    assert (interface.admin, interface.query, interface.kind) == (bool(kind & 1), bool(kind & 2), kind)


@pytest.mark.parametrize(
    "address",
    ["192.0.2.1", "127.0.0.1", "0.0.0.2", "::1", "::", "2001:db8::1", "::ffff:192.0.2.1", "fe80::1"],
)
def test_an_address_is_sixteen_octets_and_ipv4_stands_right(address: str) -> None:
    packed = Server.pack_address(ip_address(address))
    assert len(packed) == 16
    assert replace(SERVER, address=packed).ip == ip_address(address)
    assert packed[:12] == bytes(12) or isinstance(ip_address(address), IPv6Address)


def test_a_record_cut_at_any_octet_and_one_with_surplus_octets_are_refused() -> None:
    octets = spec_octets("site")
    for cut in range(len(octets)):
        with pytest.raises(WireError):
            Site.decode(octets[:cut])
    with pytest.raises(Malformed):
        Site.decode(octets + b"\x00")


def test_another_format_is_refused() -> None:
    with pytest.raises(Malformed):
        Site.decode(b"\x00\x02" + SITE.encode()[2:])


def test_counts_are_bounded() -> None:
    head = SITE.encode()[:12]
    with pytest.raises(TooLarge):
        Site.decode(head + b"\x00\x00\x01\x01" + bytes(8 * 257))
    with pytest.raises(TooLarge):
        Site.decode(head + bytes(4) + b"\x00\x00\x04\x01" + bytes(28 * 1025))


@pytest.mark.parametrize("name", sorted(spec()["hash"]))
@pytest.mark.parametrize("option", [HashOption.PREFIX, HashOption.SUFFIX, HashOption.WHOLE])
def test_v30_the_selection_hash(name: str, option: HashOption) -> None:
    assert selection_hash(Handle.parse(name), option) == spec()["hash"][name][option]


def test_the_hash_gives_a_position_in_the_list_and_no_server_id() -> None:
    servers = tuple(replace(SERVER, server_id=100 - position) for position in range(5))
    site = replace(SITE, servers=servers, hash_option=HashOption.WHOLE)
    assert site.responsible_server(Handle.parse("10.1000/182")) is servers[4]
    assert site.responsible_server(Handle.parse("20.500.999/abc")) is servers[3]


def test_a_single_server_is_responsible_for_everything() -> None:
    assert SITE.responsible_server(Handle.parse("1/x")) is SERVER
    with pytest.raises(InvalidValue):
        replace(SITE, servers=()).responsible_server(Handle.parse("1/x"))
