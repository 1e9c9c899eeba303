"""Names of prefixes: a pattern for each level, reserved labels, nothing that looks like something else."""

import pytest

from protocol.handle import Prefix
from registry.allocation.rules import (
    DEFAULT_RULES,
    NUMBERS_TRIED_MAX,
    PREFIX_OCTETS_MAX,
    LevelRule,
    NameRefused,
    NameRules,
)

RULES = NameRules(levels=DEFAULT_RULES)
TOP = Prefix.parse("88")
SECONDARY = Prefix.parse("88.100")


@pytest.mark.parametrize(
    ("parent", "label", "prefix"),
    [
        (None, "88", "88"),
        (TOP, "100", "88.100"),
        (TOP, "12345", "88.12345"),
        (SECONDARY, "7", "88.100.7"),
        (SECONDARY, "91440300MA5-x_y", "88.100.91440300MA5-x_y"),
        (Prefix.parse("88.100.7"), "plant-2", "88.100.7.plant-2"),
    ],
)
def test_a_label_of_its_level_makes_a_prefix(parent: Prefix | None, label: str, prefix: str) -> None:
    assert str(RULES.check(parent, label)) == prefix


@pytest.mark.parametrize(
    ("parent", "label"),
    [
        (TOP, "7"),
        (TOP, "123456"),
        (TOP, "abc"),
        (SECONDARY, "a.b"),
        (SECONDARY, "a/b"),
        (SECONDARY, "a b"),
        (SECONDARY, "x" * 129),
        (SECONDARY, ""),
        (SECONDARY, "pump\n"),
        (SECONDARY, "pump\0"),
    ],
)
def test_a_label_that_its_level_does_not_know_is_refused(parent: Prefix, label: str) -> None:
    with pytest.raises(NameRefused):
        RULES.check(parent, label)


@pytest.mark.parametrize("label", ["admin", "ADMIN", "Root", "0", "na", "NA", "test"])
def test_a_reserved_label_is_refused_in_every_case(label: str) -> None:
    with pytest.raises(NameRefused, match="reserved"):
        RULES.check(SECONDARY, label)


@pytest.mark.parametrize(
    "label",
    [
        "a\u200bb",  # zero-width space
        "a\u202eb",  # right-to-left override
        "a\u2066b",  # isolate
        "a\ufeffb",  # byte-order mark
        "a\u00adb",  # soft hyphen
        "１００",  # full-width digits
        "ﬁrm",  # a ligature
        "\udc80",  # half a surrogate pair
    ],
)
def test_a_label_that_hides_something_is_refused_under_any_pattern(label: str) -> None:
    anything = NameRules(levels={3: LevelRule(pattern=".+", number_min=1)})
    with pytest.raises(NameRefused):
        anything.check(SECONDARY, label)


def test_digits_are_ascii_digits_in_a_pattern() -> None:
    digits = NameRules(levels={3: LevelRule(pattern=r"\d+", number_min=1)})
    with pytest.raises(NameRefused):
        digits.check(SECONDARY, "٣٣")


def test_a_level_without_a_rule_is_refused() -> None:
    with pytest.raises(NameRefused, match="level 5"):
        RULES.check(Prefix.parse("1.2.3.4"), "5")


def test_a_long_prefix_is_refused() -> None:
    parent = Prefix.parse("88." + "x" * 100 + "." + "y" * 100)
    with pytest.raises(NameRefused, match=str(PREFIX_OCTETS_MAX)):
        RULES.check(parent, "z" * 100)


def test_numbers_begin_where_the_rule_says_and_end_with_the_pattern() -> None:
    assert next(RULES.numbers(TOP)) == 100
    assert next(RULES.numbers(SECONDARY)) == 1
    assert list(RULES.numbers(TOP, 99_998)) == [99_998, 99_999]


def test_numbers_go_on_from_where_they_are_asked_to() -> None:
    numbers = list(RULES.numbers(SECONDARY, 500))
    assert numbers[0] == 500
    assert len(numbers) == NUMBERS_TRIED_MAX


def test_a_reserved_number_is_left_out() -> None:
    zero = NameRules(levels={3: LevelRule(pattern="[0-9]", number_min=0)})
    assert list(zero.numbers(SECONDARY)) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
