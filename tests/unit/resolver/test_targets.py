"""Addresses that a browser may be sent to: what a visitor's text and a handle can make of them, and what not."""

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.handle import Handle
from protocol.transport.http_target import parse_target
from resolver.scheme import strip_scheme
from resolver.targets import LOCATION_CHARACTERS_MAX, Templates, appended, gateway_path, safe_location

SITE = "https://plant.example"


@pytest.mark.parametrize(
    ("location", "text", "whole"),
    [
        (f"{SITE}/a/", "b/c", f"{SITE}/a/b/c"),
        (f"{SITE}/a", "/b", f"{SITE}/a/b"),
        (f"{SITE}/a", "?page=2", f"{SITE}/a?page=2"),
        (f"{SITE}/a", "#part 2", f"{SITE}/a#part%202"),
        (SITE, "?a", f"{SITE}?a"),
        (SITE, "//evil.example", f"{SITE}//evil.example"),
        (f"{SITE}/a?id=", "7", f"{SITE}/a?id=7"),
        (f"{SITE}/a?id=7", "&page=../2", f"{SITE}/a?id=7&page=../2"),
        (f"{SITE}/a?id=7", "#x", f"{SITE}/a?id=7#x"),
        (f"{SITE}/a#/", "泵", f"{SITE}/a#/%E6%B3%B5"),
        (f"{SITE}/a/", "b%2Fc", f"{SITE}/a/b%2Fc"),
    ],
)
def test_a_text_is_put_behind_an_address_that_ends_openly_or_begins_something_below_it(
    location: str, text: str, whole: str
) -> None:
    assert appended(location, text) == whole


@pytest.mark.parametrize(
    ("location", "text"),
    [
        (SITE, ".evil.example"),
        (SITE, "@evil.example"),
        (SITE, ":80@evil.example"),
        (SITE, "\\@evil.example"),
        (f"{SITE}/acme", "-evil"),
        (f"{SITE}/a", ""),
        (f"{SITE}/a?id=1", "0"),
        (f"{SITE}/a#top", "/x"),
        (f"{SITE}/a/", "../b"),
        (f"{SITE}/a/", "b/../../c"),
        (f"{SITE}/a", "/.."),
        (f"{SITE}/a/", "%2e%2e/b"),
        (f"{SITE}/a/", "%252e./b"),
        (f"{SITE}/a/", "..%2fb"),
        (f"{SITE}/a/", "..;x/b"),
        (f"{SITE}/a/", "..\\b"),
        (f"{SITE}/a/", "./b?c"),
        (f"{SITE}/a/", "b" * LOCATION_CHARACTERS_MAX),
    ],
)
def test_a_text_that_would_change_what_the_owner_wrote_is_left_out(location: str, text: str) -> None:
    assert appended(location, text) == location


@given(
    st.sampled_from([SITE, f"{SITE}/a", f"{SITE}/a/", f"{SITE}/a?x=1", f"{SITE}/a?x=", f"{SITE}/a#b"]),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=40)
    | st.text("/\\.@:?#&=%2eEfF;", max_size=20),
)
def test_whatever_is_appended_the_address_stays_with_its_owner(location: str, text: str) -> None:
    whole = appended(location, text)

    before, after = urlsplit(location), urlsplit(whole)
    assert whole.startswith(location)
    assert whole.isascii()
    assert whole.isprintable()
    assert (after.scheme, after.netloc) == (before.scheme, before.netloc)
    assert (after.path + "/").startswith(before.path.rstrip("/") + "/")
    assert not {".", ".."} & set(unquote(after.path).split("/"))
    assert safe_location(whole.encode()) == whole


@pytest.mark.parametrize(
    "template",
    [
        "https://{hdl}/",
        "https://{hdl}.example/",
        "https://x.example{hdl}",
        "https://x.example:{hdl}/",
        "{hdl}",
        "{hdl:path}//x.example/",
        "javascript:{hdl}",
        "https://x.example/" + "{hdl}" * 2_000,
    ],
)
def test_a_handle_is_never_a_host_nor_expanded_without_end(template: str) -> None:
    assert Templates(Handle.parse("evil.example/x")).expand(template) is None


@pytest.mark.parametrize("name", ["1/..", "1/../../x", "1/%2e%2e/x", "1/..%2fx", "1/..\\x"])
@pytest.mark.parametrize("variable", ["{hdl}", "{hdl:path}"])
def test_a_handle_that_climbs_fills_no_template(name: str, variable: str) -> None:
    assert Templates(Handle.parse(name)).expand(f"{SITE}/{variable}") is None


def test_a_handle_cannot_open_a_query_or_forge_a_header() -> None:
    location = Templates(Handle.parse(b"1/a?b#c&d\r\nX: y\xff")).expand(f"{SITE}/{{hdl:path}}")

    assert location == f"{SITE}/1/a%3Fb%23c%26d%0D%0AX%3A%20y%FF"


@pytest.mark.parametrize(("schemes", "there"), [({"http", "https"}, False), ({"https", "ftp"}, True)])
def test_the_operator_decides_which_schemes_are_followed(schemes: set[str], there: bool) -> None:
    assert (safe_location(b"FTP://x.example/", schemes) is not None) is there


@pytest.mark.parametrize(
    "name", ["88.1/x", "api/x", "api", "robots.txt", "doi:1/x", "//evil.example", "hdl:hdl:1/x", "1/x y?"]
)
def test_the_gateways_address_of_a_handle_leads_back_to_it(name: str) -> None:
    path = gateway_path(Handle.parse(name))

    decoded = parse_target(path).path
    assert strip_scheme(decoded[1:]) == name.encode()
    assert not decoded.startswith(b"/api/")
    assert not path.startswith("//")


def test_a_query_is_kept_and_can_forge_nothing() -> None:
    assert gateway_path(Handle.parse("1/x"), "a=%20&b=ü\r\nX: y") == "/1/x?a=%20&b=%C3%BC%0D%0AX:%20y"
