"""Patterns: what can be written, what becomes of it, and that nobody mistypes a check character unnoticed."""

from datetime import date

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from registry.identifiers.names import check_name
from registry.identifiers.patterns import (
    ALPHABET,
    PatternRefused,
    check_character,
    parse_pattern,
)

DAY = date(2026, 1, 2)

literals = st.text("ABCdef-._ 0123456789水", min_size=0, max_size=8)
fields = st.sampled_from(["{yyyy}", "{yy}", "{mm}", "{dd}"])


def draw(characters: int) -> str:
    """Random characters that are none."""
    return "R" * characters


@pytest.mark.parametrize(
    ("pattern", "counter", "suffix"),
    [
        ("PUMP-{yyyy}-{seq:6}", "PUMP-2026-{seq:6}", "PUMP-2026-000007"),
        ("{yy}{mm}{dd}{seq:3}", "260102{seq:3}", "260102007"),
        ("random", "{random:16}", "R" * 16),
        ("L1.{random:8}.x", "L1.{random:8}.x", "L1.RRRRRRRR.x"),
        ("P{seq:4}{check:mod37}", "P{seq:4}{check:mod37}", "P0007" + check_character("P0007")),
        ("{seq:2}-{random:9}", "{seq:2}-{random:9}", "07-RRRRRRRRR"),
    ],
)
def test_a_pattern_makes_suffixes_that_differ_in_number_and_chance(
    pattern: str, counter: str, suffix: str
) -> None:
    series = parse_pattern(pattern).on(DAY)
    assert series.text == counter
    assert series.suffix(7, draw) == suffix


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("", "0 characters"),
        ("PUMP", "one suffix only"),
        ("{yyyy}", "one suffix only"),
        ("{seq}", "no field"),
        ("{seq:0}", "no field"),
        ("{seq:16}", "no field"),
        ("{random:4}", "no field"),
        ("{random:999}", "no field"),
        ("{check:mod11}{seq:3}", "no field"),
        ("{hour}{seq:3}", "no field"),
        ("{seq:3}{seq:3}", "more than one"),
        ("{check:mod37}{seq:3}", "comes last"),
        ("{{seq:3}}", "brace"),
        ("{SEQ:3}{random:8}", "brace"),
        ("{seq:3}\u200b", "invisible"),
        (" {seq:3}", "blank"),
        ("{seq:3}\x00", "control"),
        ("{seq:3}" + "x" * 200, "207 characters"),
    ],
)
def test_a_pattern_that_makes_no_sense_is_refused_with_the_reason(pattern: str, reason: str) -> None:
    with pytest.raises(PatternRefused) as refused:
        parse_pattern(pattern)
    assert reason in str(refused.value)


def test_sequences_of_different_days_count_separately() -> None:
    pattern = parse_pattern("{yyyy}{mm}-{seq:4}")
    assert pattern.on(date(2026, 1, 2)).text == pattern.on(date(2026, 1, 31)).text
    assert pattern.on(date(2026, 1, 2)).text != pattern.on(date(2026, 2, 1)).text


def test_only_a_pattern_whose_number_alone_changes_has_an_extent() -> None:
    assert parse_pattern("PUMP-{yyyy}-{seq:6}-X").on(DAY).extent == ("PUMP-2026-", "-X")
    assert parse_pattern("{seq:6}{check:mod37}").on(DAY).extent is None
    assert parse_pattern("random").on(DAY).extent is None


@given(
    st.tuples(literals, fields, literals).map("".join),
    st.integers(1, 9),
    st.tuples(literals, st.sampled_from(["", "{check:mod37}"])).map("".join),
    st.integers(0, 10**9 - 1),
)
def test_every_number_makes_a_suffix_of_its_own_that_may_be_registered(
    start: str, digits: int, end: str, number: int
) -> None:
    text = start + f"{{seq:{digits}}}" + end
    try:
        series = parse_pattern(text).on(DAY)
    except PatternRefused:
        assume(False)
    number %= 10**digits
    suffix = series.suffix(number, draw)
    check_name("88.100.1/" + suffix)
    assert suffix != series.suffix((number + 1) % 10**digits, draw)
    if series.extent is not None:
        head, tail = series.extent
        assert suffix == f"{head}{number:0{digits}d}{tail}"


def test_the_check_character_is_that_of_the_standard() -> None:
    assert check_character("A12425GABC1234002") == "M"
    assert check_character("A1-2425G-ABC1234002-") == "M"


@given(st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=20), st.data())
def test_one_wrong_character_is_always_noticed(text: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(
        st.sampled_from([c for c in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c != text[place]])
    )
    wrong = text[:place] + other + text[place + 1 :]
    assert check_character(wrong) != check_character(text)


def test_random_characters_are_not_mistaken_for_each_other() -> None:
    assert len(ALPHABET) == 32
    assert not set("ILOU") & set(ALPHABET)
