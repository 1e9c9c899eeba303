"""The predefined value types: octets, rules, and what must never get through."""

import pytest

from protocol.errors import InvalidValue, Malformed, WireError
from protocol.handle import Handle
from protocol.value import HandleValue, ValueReference
from protocol.valuetypes import (
    ALL_PERMISSIONS,
    PREDEFINED_TYPES,
    Admin,
    AdminPermission,
    HandleName,
    Locations,
    Namespace,
    PublicKey,
    SecretKey,
    Site,
    Text,
    Url,
    ValueReferences,
    check_data,
    decode_typed,
)
from protocol.valuetypes.hs_admin import format_mask, parse_mask
from protocol.valuetypes.hs_pubkey import DSA, RSA, encode_number
from tests.support.vectors import keys, spec, spec_octets

ADMIN_DATA = bytes.fromhex("0ff30000000f302e4e412f32302e3530302e3939390000012c")
NAMESPACE = (
    b"<namespace><contact>a@b.c</contact><status>Inactive</status>"
    b"<statusmsg>moved</statusmsg><locs>1/l</locs></namespace>"
)
LOCATIONS = b'<locations chooseby="Country, weighted"><location href="http://a" weight="2"/><location href="http://b"/></locations>'


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("URL", b"https://example.org/", Url),
        ("email", b"a@example.org", Text),
        ("DESC", "hé".encode(), Text),
        ("HS_ALIAS", b"1/x", HandleName),
        ("HS_SERV", b"1/service", HandleName),
        ("HS_SERV.PREFIX", b"1/service", HandleName),
        ("HS_ADMIN", ADMIN_DATA, Admin),
        ("HS_ADMIN", ADMIN_DATA + b"\x00\x00", Admin),
        ("HS_SITE", spec_octets("site"), Site),
        ("HS_SITE.6", spec_octets("site"), Site),
        ("HS_SITE.PREFIX", spec_octets("site"), Site),
        ("HS_NA_DELEGATE", spec_octets("site"), Site),
        ("HS_VLIST", spec_octets("vlist"), ValueReferences),
        ("HS_PUBKEY", spec_octets("rsa_pub"), PublicKey),
        ("HS_SECKEY", b"\x00\xffsecret", SecretKey),
        ("HS_NAMESPACE", NAMESPACE, Namespace),
        ("10320/loc", LOCATIONS, Locations),
    ],
)
def test_a_predefined_type_is_understood_and_gives_its_octets_back(
    name: str, data: bytes, kind: type[object]
) -> None:
    typed = decode_typed(name, data)
    assert typed is not None
    assert isinstance(typed, kind)
    assert typed.encode() == data
    assert name.upper() in PREDEFINED_TYPES


@pytest.mark.parametrize("name", ["X", "#HS_SITE", "URL.LEGACY", "", "Hſ_ADMIN", "HS_SITE "])
def test_another_type_is_opaque(name: str) -> None:
    assert decode_typed(name, b"\xff") is None


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("URL", b"\xff"),
        ("DESC", b"\xc3"),
        ("HS_ALIAS", b""),
        ("HS_SERV", b"x" * 2049),
        ("HS_ADMIN", ADMIN_DATA[:-1]),
        ("HS_ADMIN", ADMIN_DATA + b"\x00"),
        ("HS_ADMIN", ADMIN_DATA + b"\x00\x00\x00"),
        ("HS_VLIST", spec_octets("vlist") + b"\x00"),
        ("HS_VLIST", b"\xff\xff\xff\xff"),
        ("HS_PUBKEY", b"\x00\x00\x00\x03ECC\x00\x00"),
        ("HS_SITE", b""),
        ("HS_NAMESPACE", b"<a>"),
        ("10320/loc", b"<!DOCTYPE a><a/>"),
    ],
)
def test_data_that_break_the_rules_of_their_type_are_refused(name: str, data: bytes) -> None:
    with pytest.raises(WireError):
        decode_typed(name, data)
    with pytest.raises(InvalidValue, match=r"^value 7 of type"):
        check_data(HandleValue(index=7, type=name, data=data))


def test_v06_an_administrator() -> None:
    admin = Admin.decode(ADMIN_DATA)
    assert admin.reference == ValueReference(b"0.NA/20.500.999", 300)
    assert admin.permissions == 0x0FF3
    assert format_mask(admin.permissions) == "111111110011"
    assert parse_mask("111111110011") == 0x0FF3
    assert str(admin.reference) == "300:0.NA/20.500.999"


def test_v38_an_administrator_of_the_public_sample() -> None:
    admin = Admin(ValueReference(b"0.NA/4263537", 200), parse_mask("011111111111"))
    assert admin.encode().hex() == "07ff0000000c302e4e412f34323633353337000000c8"


@pytest.mark.parametrize("digits", ["", "2", "1" * 17, "0b1", "-1", " 1", "１"])
def test_administrator_rights_are_binary_digits(digits: str) -> None:
    with pytest.raises(InvalidValue):
        parse_mask(digits)


def test_all_rights_are_the_twelve_that_deployed_servers_know() -> None:
    assert ALL_PERMISSIONS == 0x0FFF
    assert AdminPermission.LIST_DERIVED_PREFIXES not in ALL_PERMISSIONS


def test_v09_a_group() -> None:
    assert ValueReferences.decode(spec_octets("vlist")).members == (
        ValueReference(b"20.500.999/u1", 300),
        ValueReference(b"20.500.999/u2", 301),
    )


def test_v10_an_rsa_key_ends_in_four_zero_octets_that_may_be_missing() -> None:
    blob = spec_octets("rsa_pub")
    key = PublicKey.decode(blob)
    toy = spec()["rsa_toy"]
    assert key.numbers == (65_537, int(toy["p"], 16) * int(toy["q"], 16))
    assert key.encode() == blob
    assert PublicKey.decode(blob[:-4]) == key
    for cut in range(len(blob)):
        if cut != len(blob) - 4:
            with pytest.raises(WireError):
                PublicKey.decode(blob[:cut])


def test_a_real_rsa_key_and_a_real_dsa_key_are_read() -> None:
    rsa = PublicKey.decode(bytes.fromhex(keys()["server_rsa_public_key_hex"]))
    assert rsa.algorithm == RSA
    assert rsa.rsa().key_size == 2048
    assert PublicKey.of_rsa(rsa.rsa()) == rsa
    dsa = PublicKey.decode(bytes.fromhex(keys()["server_dsa_public_key_hex"]))
    assert dsa.algorithm == DSA
    assert len(dsa.numbers) == 4
    with pytest.raises(InvalidValue):
        dsa.rsa()


def test_numbers_that_make_no_key_are_refused() -> None:
    with pytest.raises(InvalidValue):
        PublicKey(RSA, (2, 4)).rsa()


@pytest.mark.parametrize(
    ("number", "octets"), [(0, "00"), (0x7F, "7f"), (0x80, "0080"), (0xFF, "00ff"), (65_537, "010001")]
)
def test_numbers_carry_a_sign(number: int, octets: str) -> None:
    assert encode_number(number).hex() == octets


def test_a_secret_shows_nowhere() -> None:
    assert "lab" not in repr(SecretKey(b"lab-secret"))


def test_a_namespace_tells_contact_state_and_locations() -> None:
    namespace = Namespace.decode(NAMESPACE)
    assert (namespace.contact, namespace.active, namespace.status_message) == ("a@b.c", False, "moved")
    assert namespace.location_handles == ("1/l",)
    assert Namespace.decode(b"<namespace/>").active


def test_locations_tell_how_to_choose() -> None:
    locations = Locations.decode(LOCATIONS)
    assert locations.choose_by == ("country", "weighted")
    assert [dict(location)["href"] for location in locations.locations] == ["http://a", "http://b"]
    assert Locations.decode(b"<locations/>").choose_by[0] == "locatt"


@pytest.mark.parametrize(
    "document",
    [
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        b"<!doctype a><a/>",
        b"<a>&undefined;</a>",
        "<!DOCTYPE a><a/>".encode("utf-16"),
        b'<?xml version="1.0" encoding="utf-7"?><a/>',
        b"<?xml version='1.0' encoding='cp500'?>"
        + "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>".encode("cp500"),
        b"<a></b>",
        b"",
        b"<a>" * 20_000,
        b"<a>" + b" " * 65_536 + b"</a>",
    ],
)
def test_an_xml_document_that_could_harm_is_refused(document: bytes) -> None:
    with pytest.raises(WireError):
        Namespace.decode(document)


def test_deep_documents_are_read_without_a_crash() -> None:
    depth = 9_000
    Namespace.decode(b"<a>" * depth + b"</a>" * depth)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://example.org/a?b=c#d", "https://example.org/a?b=c#d"),
        ("HTTP://example.org", "HTTP://example.org"),
        ("https://例え.jp/é", "https://%E4%BE%8B%E3%81%88.jp/%C3%A9"),
        ("https://example.org/%20", "https://example.org/%20"),
        ("javascript:alert(1)", None),
        ("JAVASCRIPT://example.org/%0aalert(1)", None),
        ("data:text/html,x", None),
        ("ftp://example.org", None),
        ("file:///etc/passwd", None),
        ("//example.org", None),
        ("https:///path", None),
        ("https://example.org/\r\nSet-Cookie: a=b", None),
        ("https://example.org/ x", None),
        ("\thttps://example.org", None),
        ("https://example.org\\@evil.example", None),
        ("https://[::1", None),
        ("", None),
    ],
)
def test_only_plain_http_addresses_become_redirects(url: str, target: str | None) -> None:
    assert Url(url).redirect_target() == target


def test_a_text_that_is_no_utf8_says_where() -> None:
    with pytest.raises(Malformed, match="octet 2"):
        Text.decode(b"ab\xff")


def test_an_alias_names_a_handle() -> None:
    assert HandleName.decode(b"1/x").handle == Handle.parse("1/X")
