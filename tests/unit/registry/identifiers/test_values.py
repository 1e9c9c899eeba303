"""Values as JSON: they become what protocol/jsonform makes of them, and are refused with the place of the fault."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.jsonform import value_from_json
from protocol.value import HandleValue, ValueList
from registry.identifiers.values import ValueForm, ValueRefused, encode_values, value_forms

_DECODER = msgspec.json.Decoder(list[ValueForm])


def encoded(*values: dict[str, Any], default_ttl_s: int = 600) -> ValueList:
    """What becomes of values in a request."""
    return encode_values(_DECODER.decode(msgspec.json.encode(values)), default_ttl_s=default_ttl_s)


@pytest.mark.parametrize(
    "value",
    [
        {"index": 1, "type": "URL", "data": "https://www.example.com/"},
        {"index": 1, "type": "URL", "data": {"format": "string", "value": "https://www.example.com/"}},
        {"index": 2, "type": "DESC", "data": "水泵", "ttl": 60, "permissions": "1100"},
        {"index": 2, "type": "DESC", "data": "x", "ttl": "2027-01-15T08:00:00Z"},
        {"index": 3, "type": "X", "data": {"format": "base64", "value": "/wA="}},
        {"index": 3, "type": "X", "data": {"format": "hex", "value": "ff00"}},
        {"index": 4, "type": "X", "data": "x", "references": [{"handle": "0.NA/88", "index": 300}]},
        {
            "index": 100,
            "type": "HS_ADMIN",
            "data": {
                "format": "admin",
                "value": {"handle": "88.1/ADMIN", "index": 300, "permissions": "011111110011"},
            },
        },
    ],
)
def test_a_value_is_encoded_as_the_record_api_encodes_it(value: dict[str, Any]) -> None:
    assert encoded(value) == ValueList.of([value_from_json({"ttl": 600, **value})])


def test_a_value_that_was_read_can_be_sent_back_as_it_is() -> None:
    stored = HandleValue(index=1, type="DESC", data=b"x", timestamp=1_800_000_000, ttl=60)
    read = msgspec.json.encode(value_forms([stored]))
    assert b'"timestamp":"2027-01-15T08:00:00Z"' in read
    (back,) = encode_values(_DECODER.decode(read), default_ttl_s=600)
    assert (back.index, back.data, back.ttl, back.timestamp) == (1, b"x", 60, 0)


@pytest.mark.parametrize(
    ("value", "member", "reason"),
    [
        ({"type": "URL", "data": "javascript:alert(1)"}, "data", "no absolute http"),
        ({"type": "url", "data": {"format": "string", "value": "ftp://x/"}}, "data", "no absolute http"),
        ({"type": "URL", "data": {"format": "base64", "value": "amF2YQ=="}}, "", "no absolute http"),
        ({"type": "A\u200b", "data": "x"}, "type", "invisible"),
        ({"type": "X", "data": "x", "permissions": "12"}, "permissions", "four digits"),
        ({"type": "X", "data": "x", "ttl": -1}, "ttl", "number of seconds"),
        ({"type": "X", "data": "x", "ttl": 2**70}, "ttl", "number of seconds"),
        ({"type": "X", "data": "x", "ttl": "tomorrow"}, "", "ttl"),
        ({"type": "X", "data": {"format": "string", "value": 1}}, "", "must be a string"),
        ({"type": "X", "data": {"format": "rot13", "value": "x"}}, "", "is none of"),
        ({"type": "X", "data": {"format": "base64", "value": "%"}}, "", "base64"),
        ({"type": "HS_SITE", "data": {"format": "site", "value": {"servers": 1}}}, "", "must"),
    ],
)
def test_a_value_that_cannot_be_stored_is_refused_where_it_stands(
    value: dict[str, Any], member: str, reason: str
) -> None:
    good = {"index": 1, "type": "X", "data": "x"}
    with pytest.raises(ValueRefused) as refused:
        encoded(good, {"index": 2, **value})
    assert (refused.value.place, refused.value.member) == (1, member)
    assert reason in refused.value.reason


def test_too_many_values_are_refused_before_they_are_encoded() -> None:
    form = ValueForm(index=1, type="X", data="x")
    with pytest.raises(ValueRefused, match="one too many"):
        encode_values([form] * 5_000, default_ttl_s=600)


@given(st.text(min_size=1, max_size=20), st.text(max_size=40), st.integers(1, 2**31 - 1))
def test_any_text_is_stored_octet_for_octet_or_refused(type_: str, text: str, index: int) -> None:
    try:
        (value,) = encode_values([ValueForm(index=index, type=type_, data=text)], default_ttl_s=600)
    except ValueRefused:
        return
    assert (value.index, value.type, value.data) == (index, type_, text.encode())
