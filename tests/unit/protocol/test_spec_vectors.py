"""Vectors V01 to V38 of the protocol digest.

V01, V06, V09, V10, V11, V15 to V22, V25 to V30, V32, V34, V37 and V38 stand beside the modules that they are about, V35
and V36 beside the registry's: credentials over HTTP and templates.
"""

import hashlib
from pathlib import Path

import pytest

from protocol.bodies import (
    ErrorBody,
    ReferralBody,
    ResolutionRequest,
    ResolutionResponse,
    SiteInfoRequest,
    SiteInfoResponse,
)
from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag, ResponseCode
from protocol.handle import Handle
from protocol.message import Message, Version, decode_message
from protocol.packets import split
from protocol.site import Site
from protocol.value import HandleValue, Permission, TtlType, ValueList, ValueReference
from protocol.valuetypes import Admin
from protocol.wire import Reader
from tests.support.tree import ROOT
from tests.support.vectors import spec, spec_octets

ABC = Handle.parse("20.500.999/abc")
EXPIRATION = 1_700_043_200
WALL_S = EXPIRATION - 43_200
U = HandleValue(index=1, timestamp=1_700_000_000, type="URL", data=b"https://example.org/")
MESSAGES = sorted(
    name for name, text in spec().items() if isinstance(text, str) and len(text) > 88 and text[:3] == "020"
)


def request(
    body: bytes, *, request_id: int, flags: int = DEFAULT_FLAGS, op: OpCode = OpCode.RESOLUTION
) -> Message:
    return Message.request(op, body, request_id=request_id, expiration=EXPIRATION, flags=flags)


@pytest.mark.parametrize("name", MESSAGES)
def test_every_message_reencodes(name: str) -> None:
    assert decode_message(spec_octets(name)).encode() == spec_octets(name)


def test_there_are_messages() -> None:
    assert len(MESSAGES) >= 25


def test_every_vector_stands_in_a_test() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    used = tests + (ROOT / "tests/support/keys.py").read_text(encoding="utf-8")
    assert [name for name in spec() if f'"{name}"' not in used] == []


def test_v02_a_published_request_of_version_2_1() -> None:
    message = Message.request(
        OpCode.RESOLUTION,
        ResolutionRequest(handle=Handle.parse("10022/AC:T:862")).encode(),
        request_id=0,
        expiration=0x4A6189CF,
        flags=0x1800_0000,
        version=(2, 1),
    )
    assert message.encode()[:2] + bytes(2) + message.encode()[4:] == spec_octets("public_cul_request")
    assert decode_message(spec_octets("public_cul_request")).envelope.suggested == (0, 0)


def test_v03_a_request_for_all_values() -> None:
    assert request(ResolutionRequest(handle=ABC).encode(), request_id=1).encode() == spec_octets("res_req")


def test_v04_a_request_for_some_values() -> None:
    body = ResolutionRequest(handle=ABC, indexes=(1, 100), types=("URL", "HS_ADMIN"))
    flags = (DEFAULT_FLAGS | OpFlag.AUTH | OpFlag.CERT | OpFlag.RRDG) & ~OpFlag.PUBL
    assert request(body.encode(), request_id=2, flags=flags).encode() == spec_octets("res_req2")


def test_v05_a_value() -> None:
    assert U.encode() == spec_octets("val_url")
    assert HandleValue.decode(spec_octets("val_url")) == U


def test_v06_an_administrator_as_a_value() -> None:
    data = Admin(ValueReference(b"0.NA/20.500.999", 300), 0x0FF3).encode()
    value = HandleValue(index=100, timestamp=1_700_000_000, type="HS_ADMIN", data=data)
    assert value.encode() == spec_octets("val_admin")
    assert Admin.decode(data + bytes(2)).encode() == data + bytes(2)


def test_v07_a_value_with_an_absolute_ttl_and_a_reference() -> None:
    value = HandleValue(
        index=7,
        timestamp=1_700_000_000,
        ttl_type=TtlType.ABSOLUTE,
        ttl=1_800_000_000,
        permissions=Permission.ADMIN_READ | Permission.ADMIN_WRITE,
        type="DESC",
        data="hé".encode(),
        references=(ValueReference(b"0.TYPE/DESC", 1),),
    )
    assert value.encode() == spec_octets("val_ref")
    assert HandleValue.decode(spec_octets("val_ref")) == value


def test_v08_the_first_of_the_shipped_global_values() -> None:
    octets = bytes.fromhex(
        "00000064566752e500000151800e0000000848535f41444d494e0000001b"
        "0fff00000011302e41444d494e2f41444d494e4c495354000000c800000000"
    )
    value = HandleValue.decode(octets)
    assert value.encode() == octets
    admin = Admin.decode(value.data)
    assert (value.index, str(admin.reference), admin.permissions) == (100, "200:0.ADMIN/ADMINLIST", 0x0FFF)


def test_v12_an_answer_with_a_value() -> None:
    message = decode_message(spec_octets("res_req")).answer(
        ResponseCode.SUCCESS,
        ResolutionResponse(handle=ABC, values=ValueList.of([U])).encode(),
        authoritative=True,
        site_serial=3,
        wall_s=WALL_S,
    )
    assert message.encode() == spec_octets("res_resp")


def test_v13_an_answer_with_a_digest() -> None:
    message = decode_message(spec_octets("res_req2")).answer(
        ResponseCode.SUCCESS,
        ResolutionResponse(handle=ABC, values=ValueList.of([U])).encode(),
        authoritative=True,
        site_serial=3,
        wall_s=WALL_S,
    )
    assert message.encode() == spec_octets("res_resp_digest")


def test_v14a_a_denial_with_a_text() -> None:
    message = decode_message(spec_octets("res_req")).answer(
        ResponseCode.HANDLE_NOT_FOUND,
        ErrorBody(message="HANDLE NOT FOUND").encode(),
        authoritative=False,
        site_serial=3,
        wall_s=WALL_S,
    )
    assert message.encode() == spec_octets("err100")


def _versioned(name: str, version: Version) -> Message:
    octets = spec_octets(name)
    return decode_message(bytes(version) + octets[2:3] + bytes((version[1],)) + octets[4:])


def test_v14b_an_old_peer_reads_maintenance_as_303() -> None:
    message = _versioned("res_req", (2, 4)).answer(
        ResponseCode.SERVER_BACKUP,
        ErrorBody(message="x").encode(),
        authoritative=False,
        site_serial=0xFFFF,
        wall_s=WALL_S,
    )
    assert message.encode() == spec_octets("err7_v24")


def test_v23_site_information() -> None:
    message = request(SiteInfoRequest().encode(), request_id=9, op=OpCode.GET_SITE_INFO)
    assert message.encode() == spec_octets("gsi")
    body = decode_message(spec_octets("gsi_resp")).body
    assert SiteInfoResponse.decode(body).site == Site.decode(spec_octets("site"))
    assert SiteInfoResponse(site=Site.decode(spec_octets("site"))).encode() == body


def test_v24_referrals() -> None:
    service = ReferralBody.decode(decode_message(spec_octets("ref302")).body)
    assert service == ReferralBody(handle=Handle.parse("0.NA/20.500"))
    prefix = ReferralBody.decode(decode_message(spec_octets("ref303")).body)
    assert prefix.handle is None
    assert prefix.values is not None
    assert [(value.type, value.data) for value in prefix.values] == [("HS_SERV.PREFIX", b"10.SERV/X")]


def test_v31_a_signature_covers_a_value_from_octet_8_on() -> None:
    assert hashlib.sha256(U.encode()[8:]).digest() == spec_octets("valdigest")


def test_v33_a_message_of_1080_octets_in_packets() -> None:
    value = HandleValue(index=1, timestamp=1_700_000_000, type="DESC", data=b"A" * 1000)
    message = decode_message(spec_octets("res_req")).answer(
        ResponseCode.SUCCESS,
        ResolutionResponse(handle=ABC, values=ValueList.of([value])).encode(),
        authoritative=True,
        site_serial=3,
        wall_s=WALL_S,
    )
    packets = split(message.encode())
    assert [packet[:20].hex() for packet in packets] == [
        f"020b220b00000000000000010000000{sequence}00000438" for sequence in range(3)
    ]


def test_values_of_a_vector_are_read_as_a_list() -> None:
    reader = Reader(
        b"\x00\x00\x00\x03" + spec_octets("val_url") + spec_octets("val_admin") + spec_octets("val_ref")
    )
    assert [value.index for value in ValueList.decode(reader)] == [1, 100, 7]
