"""Request and response bodies: octets, tolerance where deployed peers need it, strictness elsewhere."""

import pytest

from protocol.bodies import (
    ErrorBody,
    ReferralBody,
    ResolutionRequest,
    ResolutionResponse,
    SiteInfoRequest,
    SiteInfoResponse,
)
from protocol.errors import HandleError, Malformed, TooLarge, WireError
from protocol.handle import Handle
from protocol.site import Site
from protocol.value import HandleValue, ValueList

ABC = Handle.parse("20.500.999/abc")
VALUES = ValueList.of([HandleValue(index=1, type="URL", data=b"https://example.org/")])


def test_a_resolution_request_names_handle_indexes_and_types() -> None:
    request = ResolutionRequest(handle=ABC, indexes=(1, 100), types=("URL", "HS_ADMIN"))
    assert ResolutionRequest.decode(request.encode()) == request


def test_what_follows_the_types_is_kept() -> None:
    octets = ResolutionRequest(handle=ABC).encode() + b"\x00\x00\x00\x04auth"
    request = ResolutionRequest.decode(octets)
    assert request.extension == b"\x00\x00\x00\x04auth"
    assert request.encode() == octets


def test_names_and_types_that_are_no_utf8_come_back_as_they_came() -> None:
    octets = b"\x00\x00\x00\x03\xff/\xfe" + bytes(4) + b"\x00\x00\x00\x01\x00\x00\x00\x01\xc3"
    assert ResolutionRequest.decode(octets).encode() == octets


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x00\x00\x08\x01" + b"x" * 2049 + bytes(8),
        b"\x00\x00\x00\x01x\x7f\xff\xff\xff",
        b"\x00\x00\x00\x01x" + bytes(4) + b"\x00\x00\x08\x01" + bytes(4 * 2049),
        b"\x00\x00\x00\x01x" + bytes(4) + b"\x00\x00\x00\x01\x00\x00\x08\x01" + bytes(2049),
        b"\x00\x00\x00\x01x" + bytes(3),
    ],
)
def test_a_request_that_lies_is_refused(octets: bytes) -> None:
    with pytest.raises(WireError):
        ResolutionRequest.decode(octets)


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(HandleError):
        ResolutionRequest.decode(bytes(12))


def test_a_resolution_response_echoes_the_handle_and_ends_with_its_values() -> None:
    response = ResolutionResponse(handle=ABC, values=VALUES)
    assert ResolutionResponse.decode(response.encode()) == response
    with pytest.raises(Malformed):
        ResolutionResponse.decode(response.encode() + b"\x00")


def test_a_request_for_site_information_names_the_blank_handle() -> None:
    assert SiteInfoRequest().encode() == b"\x00\x00\x00\x01/"
    assert SiteInfoRequest.decode(b"\x00\x00\x00\x01/") == SiteInfoRequest()


def test_site_information_is_bare_but_a_length_in_front_is_read() -> None:
    site = Site(serial=7)
    bare = SiteInfoResponse(site=site).encode()
    assert bare == site.encode()
    assert SiteInfoResponse.decode(bare).site == site
    assert SiteInfoResponse.decode(len(bare).to_bytes(4, "big") + bare).site == site
    for broken in (b"", b"\x00\x00", len(bare).to_bytes(4, "big") + bare + b"\x00", bare + b"\x00"):
        with pytest.raises(WireError):
            SiteInfoResponse.decode(broken)


@pytest.mark.parametrize(
    ("octets", "body"),
    [
        (b"", ErrorBody(absent=True)),
        (bytes(4), ErrorBody()),
        (b"\x00\x00\x00\x01x", ErrorBody(message="x")),
        (b"\x00\x00\x00\x01x" + bytes(4), ErrorBody(message="x", indexes=())),
        (b"\x00\x00\x00\x01x\x00\x00\x00\x01\x00\x00\x00\x05", ErrorBody(message="x", indexes=(5,))),
        (b"\x00\x00\x00\x01\xff", ErrorBody(message="\udcff")),
    ],
)
def test_an_error_has_a_message_and_perhaps_indexes_and_perhaps_nothing(
    octets: bytes, body: ErrorBody
) -> None:
    assert ErrorBody.decode(octets) == body
    assert body.encode() == octets


@pytest.mark.parametrize("octets", [bytes(3), b"\x00\x00\x00\x02x", bytes(4) + b"\x00", bytes(8) + b"\x00"])
def test_a_broken_error_is_refused(octets: bytes) -> None:
    with pytest.raises(WireError):
        ErrorBody.decode(octets)


@pytest.mark.parametrize(
    "body",
    [
        ReferralBody(handle=Handle.parse("0.NA/20.500")),
        ReferralBody(values=VALUES),
        ReferralBody(handle=ABC, values=VALUES),
        ReferralBody(),
        ReferralBody(values=ValueList.of([])),
    ],
    ids=["handle", "values", "both", "neither", "no values"],
)
def test_a_referral_names_a_handle_or_brings_values(body: ReferralBody) -> None:
    assert ReferralBody.decode(body.encode()) == body


def test_a_long_referral_name_is_refused() -> None:
    with pytest.raises(TooLarge):
        ReferralBody.decode(b"\x00\x00\x08\x01" + b"x" * 2049)
