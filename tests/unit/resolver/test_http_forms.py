"""The pure half of the HTTP interface: targets, headers, locations and pages."""

from math import nextafter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import WireError
from protocol.handle import Handle
from protocol.transport.http_target import BadTarget, parse_target, percent_decode
from protocol.value import HandleValue, ValueList
from resolver.cache.policy import Record
from resolver.cache.records import Clocks
from resolver.http_headers import TimedHeaders, entity_tag, freshness, matches, wants_json, work_told
from resolver.pages import Pages
from resolver.recursor import Origin
from resolver.scheme import strip_scheme
from resolver.targets import local_path, redirect_target, safe_location

ENTRY = Record(values=ValueList(b"", 0), stored_s=100.0, expires_s=160.0)


def headers(now_s: float, origin: Origin = Origin.HIT, *, authoritative: bool = False) -> dict[str, str]:
    clocks = Clocks(now_s=now_s, wall_s=0.0)
    return freshness(ENTRY, origin, authoritative=authoritative, node='my "node"', clocks=clocks)


def url(data: str | bytes, kind: str = "URL", index: int = 1) -> HandleValue:
    return HandleValue(index=index, type=kind, data=data.encode() if isinstance(data, str) else data)


@given(st.floats(100.0, 159.0))
def test_the_headers_of_a_cached_answer_are_those_of_a_hit_until_they_change(now_s: float) -> None:
    timed = TimedHeaders(ENTRY.stored_s, ENTRY.expires_s, work_told('my "node"', Origin.HIT))

    told, until_s = timed(now_s)

    assert told | {"Vary": "Accept"} == headers(now_s)
    if until_s > now_s:
        assert timed(nextafter(until_s, now_s))[0] == told
    assert until_s <= now_s + 1
    assert timed.until_s == ENTRY.expires_s - 1


def test_age_and_life_add_up_to_the_whole_life() -> None:
    assert headers(110.0) == {
        "Cache-Control": "public, max-age=60",
        "Age": "10",
        "Vary": "Accept",
        "Cache-Status": '"my \\"node\\""; hit; ttl=50',
    }


@pytest.mark.parametrize(
    ("origin", "work"),
    [(Origin.FETCHED, "fwd=uri-miss; stored"), (Origin.SHARED, "fwd=uri-miss; stored; collapsed")],
)
def test_cache_status_tells_whose_work_it_was(origin: Origin, work: str) -> None:
    assert headers(100.0, origin)["Cache-Status"].endswith(f"; {work}; ttl=60")


def test_what_is_over_or_authoritative_is_not_stored() -> None:
    assert headers(160.0)["Cache-Control"] == "no-store"
    assert headers(100.0, authoritative=True)["Cache-Status"].endswith("; fwd=request")


@pytest.mark.parametrize(
    ("accept", "json"),
    [
        ("application/json", True),
        ("application/json, */*;q=0.1", True),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        ("*/*", False),
        ("", False),
        ("text/html;q=0.9, application/json;q=0.5", False),
        ("application/json;q=0", False),
        ("application/json;q=banana", False),
        ("APPLICATION/JSON;Q=0.7", True),
    ],
)
def test_json_is_for_those_who_name_it(accept: str, json: bool) -> None:
    assert wants_json(accept) is json


@given(st.text(max_size=200))
def test_no_accept_header_is_too_odd(accept: str) -> None:
    wants_json(accept)


@pytest.mark.parametrize(
    ("header", "same"), [("*", True), ('W/"x", {tag}', True), ('"other"', False), ("", False)]
)
def test_an_entity_tag_is_compared_with_each_of_the_clients(header: str, same: bool) -> None:
    tag = entity_tag(b"body")

    assert matches(header.format(tag=tag), tag) is same


@pytest.mark.parametrize(
    ("raw", "path", "parameters"),
    [
        ("/a%2Fb", b"/a/b", {}),
        ("/a?index=1&index=2&type=URL", b"/a", {"index": ["1", "2"], "type": ["URL"]}),
        ("/a?pretty", b"/a", {"pretty": [""]}),
        ("/a?x=%26+y", b"/a", {"x": ["& y"]}),
        ("/%ff+", b"/\xff+", {}),
    ],
)
def test_a_target_is_decoded_once(raw: str, path: bytes, parameters: dict[str, list[str]]) -> None:
    target = parse_target(raw)

    assert (target.path, target.parameters) == (path, parameters)


@pytest.mark.parametrize("raw", ["/%", "/%g0", "/a?x=%ff", "/?" + "a&" * 300])
def test_a_target_that_cannot_be_read_is_told_so(raw: str) -> None:
    with pytest.raises(BadTarget):
        parse_target(raw)


@given(st.text(max_size=100))
def test_any_text_decodes_or_is_a_bad_target(text: str) -> None:
    try:
        percent_decode(text)
    except (WireError, UnicodeEncodeError):  # a lone surrogate never comes out of an HTTP parser
        return


@pytest.mark.parametrize("name", [b"doi:1/x", b" HDL:1/x ", b"info:doi/1/x", b"urn:hdl:1/x", b"1/x"])
def test_schemes_and_blanks_are_dropped(name: bytes) -> None:
    assert strip_scheme(name) == b"1/x"


def test_the_first_plain_url_goes_before_subtypes() -> None:
    values = ValueList.of([url("https://a.example/", "URL.manual"), url("https://b.example/", "url", 2)])

    assert redirect_target(values) == "https://b.example/"


def test_a_first_url_that_may_not_be_followed_is_not_passed_over() -> None:
    values = ValueList.of([url("javascript:alert(1)"), url("https://b.example/", index=2)])

    assert redirect_target(values) is None


def test_a_location_of_unusual_length_is_none() -> None:
    assert safe_location(b"https://x.example/" + b"a" * 9_000) is None


@given(st.binary(max_size=60).map(lambda tail: b"https://x.example/" + tail))
def test_a_location_is_printable_ascii_whatever_the_value_holds(data: bytes) -> None:
    location = safe_location(data)

    assert location is None or (location.isascii() and location.isprintable() and " " not in location)


@pytest.mark.parametrize(("name", "path"), [("1/x y", "/1/x%20y"), ("//evil.example", "/%2F/evil.example")])
def test_a_local_path_never_leaves_the_host(name: str, path: str) -> None:
    assert local_path(Handle.parse(name)) == path


@given(st.binary(min_size=1, max_size=60), st.text(max_size=60))
def test_whatever_a_record_holds_the_page_is_escaped_and_encodable(data: bytes, kind: str) -> None:
    values = ValueList.of([HandleValue(index=1, type=kind.encode("utf-8", "replace").decode(), data=data)])
    handle = Handle.parse(b"1/<b>" + data)

    page = Pages(node="<i>").record(handle, values, fetched_wall_s=1, expires_wall_s=2)

    page.encode("utf-8")
    assert "<b>" not in page
    assert "<i>" not in page


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("suspended by the operator of node 88.100 since 2026-11-20T23:22:47Z: arrears", "暂停解析"),
        ("retired since 2026-11-20T23:22:47Z: replaced", "已停用"),
        ("revoked since 2026-11-20T23:22:47Z", "已被收回"),
    ],
)
def test_a_status_is_told_in_words_and_nobody_looks_for_a_misprint(message: str, said: str) -> None:
    page = Pages(node="n").denied(Handle.parse("88.100/a"), message=message, exists=True)
    assert said in page
    assert message in page
    assert "逐字核对" not in page
    assert "未找到" not in page
