"""Entries and patterns of reverse look-up."""

import re
import time

from hypothesis import given
from hypothesis import strategies as st

from protocol.value import HandleValue, ValueList
from registry.lookups import (
    DATA_OCTETS_MAX,
    ENTRY_OCTETS_MAX,
    LookupTypes,
    Pattern,
    after_prefix,
    fulfils,
    most_telling,
)

TYPES = LookupTypes.of(["Url", "CHECKSUM"])
KEY = b"88.1/PUMP"
few = st.text("ab*", max_size=8).map(str.encode)


def values(*pairs: tuple[str, bytes]) -> ValueList:
    return ValueList.of(
        HandleValue(index=index, type=kind, data=data) for index, (kind, data) in enumerate(pairs, 1)
    )


def test_a_record_has_an_entry_for_each_value_of_the_types_in_any_case() -> None:
    record = values(("url", b"a"), ("URL", b"a"), ("Url", b"A"), ("CHECKSUM", b""), ("EMAIL", b"a"))

    assert TYPES.entries(KEY, record) == {
        (b"URL", b"a", KEY),
        (b"URL", b"A", KEY),
        (b"CHECKSUM", b"", KEY),
    }


def test_values_for_which_an_index_has_no_room_have_no_entry() -> None:
    longest = b"x" * DATA_OCTETS_MAX
    assert TYPES.entries(KEY, values(("URL", longest)))
    assert not TYPES.entries(KEY, values(("URL", longest + b"x")))
    room = ENTRY_OCTETS_MAX - len(longest) - 3
    assert TYPES.entries(b"k" * room, values(("URL", longest)))
    assert not TYPES.entries(b"k" * (room + 1), values(("URL", longest)))


@given(few, st.text("ab*", max_size=12).map(str.encode))
def test_a_pattern_matches_what_the_same_regular_expression_matches(pattern: bytes, data: bytes) -> None:
    expression = re.escape(pattern).replace(rb"\*", b".*")

    assert Pattern.parse(pattern).matches(data) == bool(re.fullmatch(expression, data, re.DOTALL))


def test_a_hostile_pattern_takes_no_longer_than_its_data() -> None:
    pattern = Pattern.parse(b"*a" * 500 + b"b")
    started_s = time.process_time()

    assert not pattern.matches(b"a" * 100_000)

    assert time.process_time() - started_s < 5, "backtracking would take years"


def test_the_condition_that_tells_most_leads() -> None:
    exact, start, middle = Pattern.parse(b"a"), Pattern.parse(b"http*"), Pattern.parse(b"*plant.example*")
    conditions = {b"URL": [middle, start], b"CHECKSUM": [exact]}

    assert most_telling(conditions) == (b"CHECKSUM", exact)
    assert most_telling({b"URL": [middle, start]}) == (b"URL", start)
    assert middle.longest == b"plant.example"
    assert Pattern.parse(b"***").is_everything


def test_every_condition_must_be_fulfilled_by_some_value() -> None:
    record = values(("URL", b"one"), ("url", b"two"), ("CHECKSUM", b"7"))
    one, two, seven = Pattern.parse(b"o*"), Pattern.parse(b"*wo"), Pattern.parse(b"7")

    assert fulfils(record, {b"URL": [one, two], b"CHECKSUM": [seven]})
    assert not fulfils(record, {b"URL": [one, seven]})
    assert not fulfils(record, {b"URL": [one], b"EMAIL": [seven]})


@given(st.binary(max_size=4), st.binary(max_size=6))
def test_what_begins_with_octets_stands_before_their_end(start: bytes, data: bytes) -> None:
    end = after_prefix(start)

    assert data.startswith(start) == (data >= start and (end is None or data < end))
