"""The JSON form of values, records and sites."""

import json
from typing import Any

import pytest

from protocol.errors import InvalidValue
from protocol.handle import Handle
from protocol.jsonform import (
    data_from_json,
    record_to_json,
    site_from_json,
    site_reply,
    site_to_json,
    value_from_json,
    value_to_json,
    values_from_json,
)
from protocol.site import Interface, Server, Site
from protocol.value import HandleValue, TtlType, ValueList, ValueReference
from tests.support.vectors import http_recordings, keys, spec_octets

V34 = [
    '{"index":1,"type":"URL","data":{"format":"string","value":"https://example.org/"},"ttl":86400,"timestamp":"2023-11-14T22:13:20Z"}',
    '{"index":100,"type":"HS_ADMIN","data":{"format":"admin","value":{"handle":"0.NA/20.500.999","index":300,"permissions":"111111110011"}},"ttl":86400,"timestamp":"2023-11-14T22:13:20Z"}',
    '{"index":7,"type":"DESC","data":{"format":"string","value":"hé"},"permissions":"1100","ttl":"2027-01-15T08:00:00Z","timestamp":"2023-11-14T22:13:20Z","references":[{"handle":"0.TYPE/DESC","index":1}]}',
    '{"index":5,"type":"HS_VLIST","data":{"format":"vlist","value":[{"handle":"20.500.999/u1","index":300},{"handle":"20.500.999/u2","index":301}]},"ttl":86400}',
    '{"index":6,"type":"URL","data":{"format":"base64","value":"wyg="},"ttl":86400}',
]
V34_VALUES = [
    HandleValue.decode(spec_octets("val_url")),
    HandleValue.decode(spec_octets("val_admin")),
    HandleValue.decode(spec_octets("val_ref")),
    HandleValue(index=5, type="HS_VLIST", data=spec_octets("vlist")),
    HandleValue(index=6, type="URL", data=b"\xc3\x28"),
]


@pytest.mark.parametrize(("form", "value"), list(zip(V34, V34_VALUES, strict=True)))
def test_v34_a_value_has_its_json_form_to_the_letter(form: str, value: HandleValue) -> None:
    assert json.dumps(value_to_json(value), ensure_ascii=False, separators=(",", ":")) == form


@pytest.mark.parametrize(("form", "value"), list(zip(V34, V34_VALUES, strict=True)))
def test_v34_a_json_form_gives_its_value_without_the_timestamp(form: str, value: HandleValue) -> None:
    read = value_from_json(json.loads(form))
    assert read.timestamp == 0
    assert read.encode()[8:] == value.encode()[8:]
    assert read.index == value.index


@pytest.mark.parametrize(
    "name",
    ["get_found", "get_typed_all", "get_case", "get_nonascii", "get_restricted_default", "get_admin_key"],
)
def test_a_recorded_record_is_read_and_written_alike(name: str) -> None:
    (pair,) = [pair for pair in http_recordings() if pair["name"] == name]
    reply = json.loads(pair["response"]["body"])
    for form in reply["values"]:
        written = value_to_json(value_from_json(form))
        form.pop("timestamp", None)
        assert written == form
    values = [value_from_json(form) for form in reply["values"]]
    assert record_to_json(1, Handle.parse(reply["handle"]), values=ValueList.of(values)) == reply


def test_a_recorded_site_is_read_and_written_alike() -> None:
    (pair,) = [pair for pair in http_recordings() if pair["name"] == "get_site"]
    form = json.loads(pair["response"]["body"])
    form = form.get("site", form)
    form.pop("responseCode", None)
    site = site_from_json(form)
    assert site_to_json(site) == form
    assert Site.decode(site.encode()) == site


def test_the_key_of_a_site_survives_as_the_same_octets() -> None:
    blob = bytes.fromhex(keys()["server_rsa_public_key_hex"])
    site = Site(servers=(Server(server_id=1, address=bytes(12) + b"\x7f\0\0\1", public_key=blob),))
    assert site_from_json(site_to_json(site)).servers[0].public_key == blob


def test_a_key_in_no_known_form_stays_as_base64() -> None:
    site = Site(servers=(Server(server_id=1, address=bytes(15) + b"\2", public_key=b"\xff"),))
    form = site_to_json(site)["servers"][0]
    assert form["publicKey"] == {"format": "base64", "value": "/w=="}
    assert site_from_json(site_to_json(site)) == site


def test_an_interface_of_an_unknown_protocol_shows_as_its_number() -> None:
    interface = Interface(admin=False, query=True, protocol=9, port=1)
    site = Site(servers=(Server(server_id=1, address=bytes(16), interfaces=(interface,)),))
    assert site_to_json(site)["servers"][0]["interfaces"][0]["protocol"] == "9"


@pytest.mark.parametrize(
    ("name", "data", "form"),
    [
        ("DESC", b"tab\tline\n", {"format": "string", "value": "tab\tline\n"}),
        ("DESC", b"bell\x07", {"format": "base64", "value": "YmVsbAc="}),
        ("DESC", b"\x7f", {"format": "base64", "value": "fw=="}),
        ("DESC", b"", {"format": "string", "value": ""}),
        ("HS_ADMIN", b"no admin", {"format": "base64", "value": "bm8gYWRtaW4="}),
        ("HS_SITE", b"", {"format": "base64", "value": ""}),
        ("HS_PUBKEY", b"x", {"format": "base64", "value": "eA=="}),
        ("HS_VLIST", b"x", {"format": "base64", "value": "eA=="}),
        ("X", b"\xff\xfe", {"format": "base64", "value": "//4="}),
    ],
)
def test_data_that_cannot_be_shown_as_text_fall_back_to_base64(
    name: str, data: bytes, form: dict[str, str]
) -> None:
    shown = value_to_json(HandleValue(index=1, type=name, data=data))["data"]
    assert shown == form
    assert data_from_json(shown) == data


def test_absolute_and_relative_ttls() -> None:
    absolute = value_from_json({"index": 1, "type": "X", "data": "", "ttl": "2027-01-15T08:00:00Z"})
    assert (absolute.ttl_type, absolute.ttl) == (TtlType.ABSOLUTE, 1_800_000_000)
    missing = value_from_json({"index": 1, "type": "X", "data": ""})
    assert (missing.ttl_type, missing.ttl) == (TtlType.RELATIVE, 86_400)
    assert value_from_json({"index": 1, "type": "X", "data": "", "ttl": 0}).ttl == 0


def test_data_may_be_a_bare_string_or_hexadecimal() -> None:
    assert data_from_json("hé") == "hé".encode()
    assert data_from_json({"format": "hex", "value": "00FF"}) == b"\x00\xff"
    assert data_from_json({"format": "STRING", "value": "x"}) == b"x"


def test_permissions_mean_what_they_say() -> None:
    value = value_from_json({"index": 1, "type": "X", "data": "", "permissions": "0110"})
    assert value.permissions == 0x06


def test_references_are_kept() -> None:
    form = {"index": 1, "type": "X", "data": "", "references": [{"handle": "1/x", "index": 0}]}
    assert value_from_json(form).references == (ValueReference(b"1/x", 0),)


GOOD: dict[str, Any] = {"index": 1, "type": "URL", "data": "x"}


@pytest.mark.parametrize(
    ("change", "member"),
    [
        ({"index": 0}, "index"),
        ({"index": -1}, "index"),
        ({"index": 2**31}, "index"),
        ({"index": True}, "index"),
        ({"index": 1.5}, "index"),
        ({"index": "1"}, "index"),
        ({"index": None}, "index"),
        ({"type": ""}, "type"),
        ({"type": 1}, "type"),
        ({"type": "\ud800"}, "type"),
        ({"data": None}, "data"),
        ({"data": {}}, "data"),
        ({"data": {"format": "none", "value": ""}}, "data"),
        ({"data": {"format": "string", "value": 1}}, "data"),
        ({"data": {"format": "string", "value": "\udfff"}}, "data"),
        ({"data": {"format": "base64", "value": "*"}}, "data"),
        ({"data": {"format": "hex", "value": "0"}}, "data"),
        ({"data": {"format": "admin", "value": {"handle": "", "index": 1, "permissions": "1"}}}, "handle"),
        (
            {"data": {"format": "admin", "value": {"handle": "1/x", "index": 1, "permissions": 7}}},
            "permissions",
        ),
        ({"data": {"format": "vlist", "value": {}}}, "data"),
        ({"data": {"format": "key", "value": {"kty": "EC"}}}, "kty"),
        ({"data": {"format": "key", "value": {"kty": "RSA", "e": "AQAB"}}}, "n"),
        ({"data": {"format": "site", "value": {"servers": [{"address": "nowhere"}]}}}, "address"),
        ({"data": {"format": "site", "value": {"protocolVersion": "9" * 5_000 + ".1"}}}, "protocolVersion"),
        ({"data": {"format": "site", "value": {"protocolVersion": "2." + "0" * 5_000}}}, "protocolVersion"),
        ({"ttl": -1}, "ttl"),
        ({"ttl": 2**32}, "ttl"),
        ({"ttl": "soon"}, "ttl"),
        ({"ttl": "9999-12-31T23:59:59Z"}, "ttl"),
        ({"ttl": "0001-01-01T00:00:00"}, "ttl"),
        ({"ttl": None}, "ttl"),
        ({"permissions": "111"}, "permissions"),
        ({"permissions": 1110}, "permissions"),
        ({"references": "1/x"}, "references"),
        ({"references": [{"handle": "x" * 2049, "index": 1}]}, "handle"),
    ],
)
def test_a_wrong_member_is_refused_by_name(change: dict[str, Any], member: str) -> None:
    with pytest.raises(InvalidValue, match=member):
        value_from_json(GOOD | change)


@pytest.mark.parametrize("form", [None, 1, "x", [], True])
def test_what_is_no_object_is_refused(form: object) -> None:
    with pytest.raises(InvalidValue):
        value_from_json(form)
    with pytest.raises(InvalidValue):
        site_from_json(form)


def test_a_body_is_an_array_an_object_with_values_or_one_value() -> None:
    one = value_from_json(GOOD)
    assert values_from_json([GOOD, GOOD]) == [one, one]
    assert values_from_json({"handle": "1/x", "values": [GOOD], "responseCode": 1}) == [one]
    assert values_from_json(GOOD) == [one]
    assert values_from_json({"values": []}) == []


def test_a_reply_holds_what_there_is() -> None:
    assert record_to_json(100, Handle.parse("1/x")) == {"responseCode": 100, "handle": "1/x"}
    assert record_to_json(200, Handle.parse("1/x"), values=[]) == {
        "responseCode": 200,
        "handle": "1/x",
        "values": [],
    }
    assert record_to_json(2, message="down") == {"responseCode": 2, "message": "down"}
    assert record_to_json(1, Handle.parse(b"1/\xff"))["handle"] == "1/\ufffd"
    assert site_reply(Site())["responseCode"] == 1
