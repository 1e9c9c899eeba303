"""The sample catalogue: a thousand products, each with a name of its own, in rows that an import accepts."""

import csv
from pathlib import Path

from deploy.local.sample import FIRST_PRODUCT, HEADER, INDUSTRIES, PREFIX, catalogue, write_catalogue


def test_it_has_a_thousand_products_of_three_industries_with_different_names() -> None:
    names = [row[0] for industry in INDUSTRIES for row in catalogue(industry)]
    assert len(INDUSTRIES) == 3
    assert len(names) == len(set(names)) == 1000
    assert FIRST_PRODUCT in {f"{PREFIX}/{name}" for name in names}


def test_it_is_the_same_every_time(tmp_path: Path) -> None:
    first = [path.read_bytes() for _, path in write_catalogue(tmp_path)]
    second = [path.read_bytes() for _, path in write_catalogue(tmp_path)]
    assert first == second


def test_every_row_is_complete_in_both_languages(tmp_path: Path) -> None:
    for _, path in write_catalogue(tmp_path):
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        assert tuple(rows[0]) == HEADER
        for row in rows[1:]:
            assert len(row) == len(HEADER)
            assert all(row)
            assert row[1].startswith("https://")
            assert "{" not in "".join(row)
            assert row[2].isascii() or "°" in row[2] or "²" in row[2]
            assert any("一" <= letter <= "鿿" for letter in row[3])
