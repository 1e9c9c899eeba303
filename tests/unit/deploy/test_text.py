"""Objects of the API as lines on a terminal."""

from typing import Any

import pytest

from deploy.commands.tables import format_table
from deploy.commands.text import format_fields, one_line


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ({"a": 1, "b": "x y"}, ["a: 1", "b: x y"]),
        ({"a": None, "b": "", "c": [], "d": {}, "e": 0, "f": False}, ["e: 0", "f: no"]),
        ({"a": {"b": {"c": True}}}, ["a:", "  b:", "    c: yes"]),
        ({"a": ["x", "y"], "b": [1]}, ["a: x, y", "b: 1"]),
        ({"a": [{"b": 1, "c": {"d": 2}}, {"b": 3}]}, ["a:", "  - b: 1", "    c:", "      d: 2", "  - b: 3"]),
        ({"a": [{"b": None}, 7]}, ["a:", "  -", "  - 7"]),
        ({"a": ({"b": 1},), "c": ("x", 2), "d": ()}, ["a:", "  - b: 1", "c: x, 2"]),
    ],
)
def test_an_object_is_shown_as_lines_of_fields(content: Any, lines: list[str]) -> None:
    assert format_fields(content).splitlines() == lines


def test_columns_are_aligned_as_a_terminal_shows_them() -> None:
    shown = format_table([("NAME", "N"), ("离心泵", "1"), ("pump", "2")])
    assert shown.splitlines() == ["NAME    N", "离心泵  1", "pump    2"]


def test_what_strangers_wrote_steers_no_terminal() -> None:
    shown = format_fields({"na\x1bme": "a\x1b[2J\nb\u202e", "list": ["\x07"], "more": [{"x": "\r"}]})
    assert all(letter.isprintable() or letter == "\n" for letter in shown)
    assert one_line("a\n\t b\x1b") == "a b�"
    assert one_line(None) == ""
