"""How the body of a PUT is read."""

import json

import pytest

from protocol.codes import ResponseCode
from protocol.transport.http_target import BadTarget, parse_target
from protocol.wire import MAX_VALUES
from registry.rest.problem import Problem
from registry.rest.values import encode_values, is_about_single_values, parse_values

URL = {"index": 1, "type": "URL", "data": {"format": "string", "value": "https://example.org/"}}


def parse(document: object) -> list[object]:
    return list(parse_values(json.dumps(document).encode(), default_ttl_s=600))


@pytest.mark.parametrize("document", [[URL], {"values": [URL], "handle": "ignored"}, URL])
def test_an_array_an_object_and_one_value_mean_the_same(document: object) -> None:
    (value,) = parse_values(json.dumps(document).encode(), default_ttl_s=600)

    assert (value.index, value.type, value.data, value.ttl) == (1, "URL", b"https://example.org/", 600)


def test_a_bare_string_is_text_and_a_given_ttl_is_kept() -> None:
    (value,) = parse_values(b'[{"index":2,"type":"DESC","data":"a pump","ttl":5}]', default_ttl_s=600)

    assert (value.data, value.ttl) == (b"a pump", 5)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'"text"',
        b"7",
        b"null",
        b"{}",
        b'{"values":{}}',
        b"[1]",
        b'["x"]',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'[{"index":1,"type":"\\ud800"}]',
    ],
)
def test_a_body_that_holds_no_values_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(Problem) as caught:
        parse_values(body, default_ttl_s=600)

    assert caught.value.code is ResponseCode.PROTOCOL_ERROR
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "change",
    [
        {"index": 0},
        {"index": -1},
        {"index": 2**31},
        {"index": 10**400},
        {"index": 1.5},
        {"index": "1"},
        {"index": True},
        {"type": ""},
        {"type": 7},
        {"data": None},
        {"data": {"format": "base64", "value": "***"}},
        {"data": {"format": "nonsense", "value": ""}},
        {"ttl": -1},
        {"ttl": 2**40},
        {"permissions": "9999"},
    ],
)
def test_a_value_that_cannot_be_stored_is_named_by_its_place(change: dict[str, object]) -> None:
    with pytest.raises(Problem, match=r"^values\[1\]") as caught:
        parse([URL, {**URL, "index": 2, **change}])

    assert caught.value.code is ResponseCode.INVALID_VALUE


def test_more_values_than_a_record_may_have_are_refused() -> None:
    with pytest.raises(Problem) as caught:
        parse([URL] * (MAX_VALUES + 1))

    assert caught.value.code is ResponseCode.INVALID_VALUE


@pytest.mark.parametrize(
    ("query", "single"),
    [("", False), ("?index=1", True), ("?index=1&index=1", True), ("?index=various", True)],
)
def test_the_index_parameter_makes_a_put_one_of_single_values(query: str, single: bool) -> None:
    values = parse_values(json.dumps([URL]).encode(), default_ttl_s=600)

    assert is_about_single_values(parse_target("/x" + query), values) is single


def test_indexes_that_differ_from_the_body_are_refused() -> None:
    values = parse_values(json.dumps([URL]).encode(), default_ttl_s=600)

    with pytest.raises(Problem, match="not those of the body"):
        is_about_single_values(parse_target("/x?index=7"), values)
    with pytest.raises(BadTarget):
        is_about_single_values(parse_target("/x?index=seven"), values)


def test_values_are_encoded_in_their_order() -> None:
    values = parse_values(json.dumps([{**URL, "index": 9}, URL]).encode(), default_ttl_s=600)

    assert [value.index for value in encode_values(values)] == [9, 1]
