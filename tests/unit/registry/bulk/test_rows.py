"""Rows of CSV and JSON Lines files as records."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.handle import Prefix
from protocol.value import HandleValue
from protocol.valuetypes import Admin
from registry.bulk.columns import HeaderUnusable
from registry.bulk.lines import LineSplitter, OverlongLine
from registry.bulk.report import FileFormat, ImportOptions
from registry.bulk.rows import ROW_LINES_MAX, CsvParser, JsonLinesParser, RejectedRow, Row, parser_for

HEADER = b"handle,URL,DESC"


def rows_of(*lines: bytes, options: ImportOptions | None = None) -> list[Row | RejectedRow]:
    """Parse the lines of a CSV file at once."""
    return list(CsvParser(options or ImportOptions()).feed(lines, last=True))


def only(*lines: bytes) -> Row:
    """Parse a CSV file of one good row."""
    (row,) = rows_of(*lines)
    assert isinstance(row, Row)
    return row


def rejection(*lines: bytes) -> RejectedRow:
    """Parse a CSV file of one bad row."""
    (row,) = rows_of(*lines)
    assert isinstance(row, RejectedRow)
    return row


def test_cells_become_values() -> None:
    row = only(HEADER, b"88.100.1/pump-7,https://plant.example/7,Pumpe gro\xc3\x9f\r")

    assert row.line == 2
    assert str(row.creation.handle) == "88.100.1/pump-7"
    assert list(row.creation.values) == [
        HandleValue(index=1, type="URL", data=b"https://plant.example/7"),
        HandleValue(index=2, type="DESC", data="Pumpe groß".encode()),
    ]


def test_an_empty_cell_is_no_value() -> None:
    assert [value.index for value in only(HEADER, b"88/x,,text").creation.values] == [2]


def test_a_quoted_cell_may_hold_commas_quotes_and_lines() -> None:
    row = only(HEADER, b'88/x,,"one, ""two""', b'three"')
    assert [value.data for value in row.creation.values] == [b'one, "two"\nthree']


def test_a_quote_inside_a_plain_cell_is_text() -> None:
    assert [value.data for value in only(HEADER, b'88/x,,pipe 5" wide').creation.values] == [b'pipe 5" wide']


def test_a_whole_handle_in_a_column_of_suffixes_is_rejected() -> None:
    options = ImportOptions(prefix=Prefix.parse("88.100.1"))
    (row,) = rows_of(b"suffix,URL", b"88.100.1/pump-7,https://x", options=options)
    assert isinstance(row, RejectedRow)
    assert "column `handle`" in row.reason


def test_suffixes_are_joined_to_the_prefix() -> None:
    options = ImportOptions(prefix=Prefix.parse("88.100.1"), default_ttl_s=60)
    (row,) = rows_of(b"suffix,URL", b"a/b,u", options=options)
    assert isinstance(row, Row)
    assert str(row.creation.handle) == "88.100.1/a/b"
    assert [value.ttl for value in row.creation.values] == [60]


@pytest.mark.parametrize("name", [b"88/x ", b" 88/x", b"88/x\t", "88/x\u3000".encode()])
def test_blanks_at_the_ends_of_a_handle_are_a_slip(name: bytes) -> None:
    (row,) = rows_of(b"handle,URL", name + b",u")
    assert isinstance(row, RejectedRow)
    assert "blanks" in row.reason


def test_an_administrator_is_written_as_index_and_handle() -> None:
    (value,) = only(b"handle,HS_ADMIN", b"88/x,300:88/ADMIN").creation.values
    admin = Admin.decode(value.data)
    assert (str(admin.reference), value.index) == ("300:88/ADMIN", 100)


def test_blank_lines_are_passed_over_and_counted() -> None:
    assert only(b"", HEADER, b"", b"\r", b"88/x,u,d").line == 5


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"88/x,u", "2 cells, the header 3"),
        (b"88/x,u,d,", "4 cells"),
        (b",u,d", "handle is empty"),
        (b"88/" + b"x" * 2048 + b",u,d", "2048 are allowed"),
        (b"88/x,u,\xff", "not UTF-8"),
        (b'88/x,u,"d', "never closed"),
        (b'88/x,u,"d"x', "expected after"),
        (b"88/x,u\rv,d", "new-line character"),
        (OverlongLine(b"88/x,u"), "longer than"),
    ],
)
def test_a_row_that_is_no_record_is_rejected_with_its_line_and_reason(line: bytes, reason: str) -> None:
    row = rejection(HEADER, line)
    assert row.line == 2
    assert reason in row.reason


@pytest.mark.parametrize("cell", [b"ADMIN", b"9999999999:88/ADMIN", b"1:"])
def test_an_administrator_that_names_no_key_is_rejected(cell: bytes) -> None:
    rejection(b"handle,HS_ADMIN", b"88/x," + cell)


def test_a_quote_that_never_closes_costs_one_line_and_no_row_behind_it() -> None:
    lines = [b'88/bad,"u,d'] + [b"88/%d,u,d" % number for number in range(3 * ROW_LINES_MAX)]

    rows = rows_of(HEADER, *lines)

    assert [type(row) for row in rows[:2]] == [RejectedRow, Row]
    assert [row.line for row in rows] == list(range(2, 3 * ROW_LINES_MAX + 3))
    assert sum(isinstance(row, RejectedRow) for row in rows) == 1


def test_every_line_behind_a_bad_one_keeps_its_number() -> None:
    rows = rows_of(HEADER, b'88/1,"a', b'b",d', b"88/2,\xff,d", b'88/3,"', b"88/4,u,d")
    assert [(row.line, type(row)) for row in rows] == [(2, Row), (4, RejectedRow), (5, RejectedRow), (6, Row)]


def test_a_large_cell_is_left_to_the_limit_of_the_record() -> None:
    assert len(only(HEADER, b"88/x,," + b"d" * 250_000).creation.values.octets) > 250_000


def test_a_header_that_cannot_be_split_ends_the_import() -> None:
    with pytest.raises(HeaderUnusable, match="line 1"):
        rows_of(b'handle,"URL', b"88/x,u")


@pytest.mark.parametrize("chunk_octets", [1, 2, 5, 17])
def test_chunks_do_not_change_the_rows(chunk_octets: int) -> None:
    octets = b'handle,URL,DESC\n88/1,"a\nb\n\nc",d\r\n88/2,u,\n\n88/3,"never\n88/4,u,d\n'
    parser, splitter = CsvParser(ImportOptions()), LineSplitter()
    rows: list[Row | RejectedRow] = []
    for start in range(0, len(octets), chunk_octets):
        rows += parser.feed(splitter.feed(octets[start : start + chunk_octets]))
    rows += parser.feed(splitter.finish(), last=True)

    assert rows == rows_of(*octets.split(b"\n"))
    assert [(row.line, type(row)) for row in rows] == [(2, Row), (6, Row), (8, RejectedRow), (9, Row)]


@given(st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line), max_size=20))
def test_any_lines_give_rows_or_rejections_and_nothing_else(lines: list[bytes]) -> None:
    for file_format, begin in ((FileFormat.CSV, [HEADER]), (FileFormat.JSONL, [])):
        parser = parser_for(file_format, ImportOptions())
        numbers = [row.line for row in parser.feed([*begin, *lines], last=True)]
        assert numbers == sorted(set(numbers))


def test_quotes_at_random_lose_no_good_row_in_front_of_them() -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    for _ in range(200):
        lines = [b"88/first,u,d"] + [
            b"".join(chance.choices([b"a", b",", b'"', b"\xff", b"\r"], k=6)) for _ in range(8)
        ]
        first = rows_of(HEADER, *lines)[0]
        assert isinstance(first, Row), f"seed {seed}"


def json_rows(*lines: bytes) -> list[Row | RejectedRow]:
    """Parse the lines of a JSON Lines file."""
    return list(JsonLinesParser().feed(lines, last=True))


def test_a_json_record_becomes_values_in_the_order_of_their_indexes() -> None:
    record = {
        "handle": "88/x",
        "responseCode": 1,
        "values": [
            {"index": 7, "type": "DESC", "data": "bare", "permissions": "1100"},
            {"index": 1, "type": "URL", "data": {"format": "string", "value": "u"}, "ttl": 60},
        ],
    }
    (row,) = json_rows(json.dumps(record).encode())
    assert isinstance(row, Row)
    assert list(row.creation.values) == [
        HandleValue(index=1, type="URL", data=b"u", ttl=60),
        HandleValue(index=7, type="DESC", data=b"bare", permissions=0x0C),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "truncated"),
        (b"[]", "JSON object"),
        (b"{}", "`handle`"),
        (b'{"handle":7,"values":[]}', "`handle`"),
        (b'{"handle":"88/x"}', "`values`"),
        (b'{"handle":"88/x","values":[1]}', ""),
        (b'{"handle":"88/x","values":[{"index":0,"type":"URL","data":"u"}]}', ""),
        (b'{"handle":"88/x","values":' + b"[" * 100_000, ""),
        (b'{"handle":"\xff"}', ""),
        (b'{"handle":"\\ud800","values":[]}', ""),
        (OverlongLine(b"{"), "longer than"),
    ],
)
def test_a_json_line_that_is_no_record_is_rejected_with_its_line_and_reason(line: bytes, reason: str) -> None:
    good = b'{"handle":"88/x","values":[{"index":1,"type":"URL","data":"u"}]}'
    rows = json_rows(b"", line, good)
    assert [(row.line, type(row)) for row in rows] == [(2, RejectedRow), (3, Row)]
    assert isinstance(rows[0], RejectedRow)
    assert reason in rows[0].reason
