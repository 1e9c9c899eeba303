"""What a measurement says."""

import json
from xml.etree import ElementTree as ET

import pytest

from benchmarks.plot import svg
from benchmarks.report import (
    Bar,
    Line,
    Outcome,
    Plot,
    Spread,
    at_least,
    at_most,
    at_most_above,
    compare,
    markdown,
    to_json,
)

MEMBERS = {"name", "value", "unit", "baseline", "ratio", "aim", "holds", "machine", "commit"}


def test_ratios_are_taken_within_a_round() -> None:
    line = compare("ours", [10, 40, 90], unit="answers/s", beside="theirs", baselines=[10, 20, 30])

    assert line.ratio == Spread(2, 1, 3)
    assert line.value == Spread(40, 10, 90)


@pytest.mark.parametrize(
    ("line", "holds"),
    [
        (compare("ratio", [13], unit="x", baselines=[10], aim=at_least(1.2)), True),
        (compare("ratio", [11], unit="x", baselines=[10], aim=at_least(1.2)), False),
        (compare("value", [0.9], unit="ms", aim=at_most(1)), True),
        (compare("value", [1.1], unit="ms", aim=at_most(1)), False),
        (compare("difference", [11.9], unit="ms", baselines=[10], aim=at_most_above(2)), True),
        (compare("difference", [12.1], unit="ms", baselines=[10], aim=at_most_above(2)), False),
        (compare("no aim", [1], unit="x"), None),
    ],
)
def test_an_aim_is_held_against_the_ratio_the_value_or_the_difference(line: Line, holds: bool | None) -> None:
    assert line.holds is holds


def test_the_results_are_a_list_with_machine_and_commit() -> None:
    first = Outcome(lines=[compare("a", [1], unit="x"), compare("b", [2], unit="x", baselines=[4])])

    results = json.loads(to_json([first, Outcome(lines=[compare("c", [3], unit="x")])]))

    assert [result["name"] for result in results] == ["a", "b", "c"]
    assert all(set(result) >= MEMBERS for result in results)
    assert results[1]["baseline"] == 4
    assert results[1]["ratio"] == 0.5


def test_the_table_shows_a_missed_aim_and_says_each_note_once() -> None:
    line = compare("slow", [1], unit="x", aim=at_least(2), note="why")

    text = markdown([Outcome(lines=[line, line], notes=["skipped", "skipped"])])

    assert "| slow | 1.00 (1.00 – 1.00) | x |  |  |  | ≥ 2 | **no** |" in text
    assert text.count("- slow: why") == 1
    assert text.count("- skipped") == 1


def test_a_plot_is_well_formed_and_escapes_its_text() -> None:
    plot = Plot(
        name="p", title="a < b & c", bars=[Bar("registry", Spread(2, 1, 3)), Bar("<", Spread(0, 0, 0))]
    )

    root = ET.fromstring(svg(plot))  # noqa: S314 - made a line above

    assert next(text.text for text in root.iter("{http://www.w3.org/2000/svg}text")) == "a < b & c"
