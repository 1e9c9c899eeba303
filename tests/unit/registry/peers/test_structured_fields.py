"""Structured fields: what is written is read back, and anything else is refused without another error."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.peers.structured_fields import (
    Component,
    FieldUnreadable,
    InnerList,
    format_octets,
    parse_lists,
    parse_octets,
)

_keys = st.from_regex(r"\A[a-z*][a-z0-9_\-.*]{0,15}\Z")
_texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30)
_bares = _texts | st.integers(-999_999_999_999_999, 999_999_999_999_999) | st.just(True)
_parameters = st.dictionaries(_keys, _bares, max_size=4)
_components = st.builds(Component, _texts, _parameters)
_lists = st.builds(InnerList, st.lists(_components, max_size=4).map(tuple), _parameters)


@given(st.dictionaries(_keys, _lists, min_size=1, max_size=3))
def test_a_dictionary_of_lists_is_read_as_it_was_written(members: dict[str, InnerList]) -> None:
    field = ", ".join(f"{name}={member}" for name, member in members.items())

    assert parse_lists(field) == members
    assert {name: str(member) for name, member in parse_lists(field).items()} == {
        name: str(member) for name, member in members.items()
    }


@given(st.dictionaries(_keys, st.binary(max_size=40), min_size=1, max_size=4))
def test_a_dictionary_of_octets_is_read_as_it_was_written(members: dict[str, bytes]) -> None:
    field = ",".join(f"{name}={format_octets(octets)}" for name, octets in members.items())

    assert parse_octets(field) == members


@given(st.text(max_size=200) | st.text(st.sampled_from('abn=():;," -*1'), max_size=60))
def test_any_text_is_read_or_refused(field: str) -> None:
    for parse in (parse_lists, parse_octets):
        with suppress(FieldUnreadable):
            parse(field)


@pytest.mark.parametrize(
    "field",
    [
        'a=("b""c")',
        'a=("b" ',
        "a=()x",
        "a=(),",
        "a=(),a=()",
        "a",
        "a=?1",
        "a=();b=1.5",
        'a=("\x00")',
        'a=("é")',
        "a=();b=1234567890123456",
        ", ".join(f"a{number}=()" for number in range(9)),
        "a=(" + '"x" ' * 33 + ")",
        "a=()" + " " * 4_096 + ",b=()",
    ],
)
def test_a_field_that_breaks_the_grammar_is_refused(field: str) -> None:
    with pytest.raises(FieldUnreadable):
        parse_lists(field)


@pytest.mark.parametrize("field", ["a=:?:", "a=:YQ", "a=YQ==", "a=:YQ=:", "a=:Y:"])
def test_octets_that_are_no_base64_are_refused(field: str) -> None:
    with pytest.raises(FieldUnreadable):
        parse_octets(field)


def test_an_empty_field_has_no_members() -> None:
    assert parse_lists("") == {}
    assert parse_octets("  ") == {}
