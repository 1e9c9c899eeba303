"""The file of rejected rows can be corrected and imported again."""

from pathlib import Path

import pytest

from registry.bulk.rejects import RejectsFile
from registry.bulk.report import FileFormat, ImportOptions
from registry.bulk.rows import RejectedRow, Row, RowParser, parser_for


def reject_all(path: Path, octets: bytes, file_format: FileFormat = FileFormat.CSV) -> bytes:
    """Parse a file and write its rejected rows. Returns what was written."""
    parser = parser_for(file_format, ImportOptions())
    rejects = RejectsFile(path)
    for row in rejected(parser, octets):
        rejects.write(row, parser.columns)
    assert rejects.close() == path
    return path.read_bytes()


def rejected(parser: RowParser, octets: bytes) -> list[RejectedRow]:
    """Return the rejected rows of a file."""
    return [row for row in parser.feed(octets.split(b"\n"), last=True) if isinstance(row, RejectedRow)]


def accepted(octets: bytes, file_format: FileFormat = FileFormat.CSV) -> list[str]:
    """Return the handles of the good rows of a file."""
    parser = parser_for(file_format, ImportOptions())
    return [
        str(row.creation.handle)
        for row in parser.feed(octets.split(b"\n"), last=True)
        if isinstance(row, Row)
    ]


def test_no_rejected_row_makes_no_file(tmp_path: Path) -> None:
    assert RejectsFile(tmp_path / "r.csv").close() is None
    assert list(tmp_path.iterdir()) == []


def test_a_corrected_csv_file_is_imported_as_it_is(tmp_path: Path) -> None:
    written = reject_all(tmp_path / "r.csv", b'handle,1:URL\n88/1,u\n,"u,2"\n88/3,u,v\n')

    header, second, third, end = written.split(b"\n")
    assert header == b"#line,#reason,#text,handle,1:URL"
    assert second == b'3,the handle is empty,,,"u,2"'
    assert third == b'4,"the row has 3 cells, the header 2","88/3,u,v",,'
    assert end == b""
    assert accepted(written.replace(b',,,"u', b',,88/2,"u')) == ["88/2"]


def test_octets_that_are_no_utf8_are_written_as_they_came(tmp_path: Path) -> None:
    assert b"3,the row is not UTF-8,,88/3,caf\xe9" in reject_all(
        tmp_path / "r.csv", b"handle,URL\n88/1,u\n88/3,caf\xe9\n"
    )


def test_a_line_without_cells_stands_whole_in_its_own_column(tmp_path: Path) -> None:
    written = reject_all(tmp_path / "r.csv", b'handle,URL\n88/1,"u\r\n')
    assert written.split(b"\n")[1] == b'2,a quote is opened and never closed,"88/1,""u",,'


def test_marks_of_an_earlier_import_are_replaced(tmp_path: Path) -> None:
    first = reject_all(tmp_path / "1.csv", b'handle,URL\n\n,u\n88/1,"u\n')
    second = reject_all(tmp_path / "2.csv", first)
    assert second.split(b"\n")[:2] == [b"#line,#reason,#text,handle,URL", b"2,the handle is empty,,,u"]
    assert b'"88/1,""u"' in second


def test_a_corrected_json_file_is_imported_as_it_is(tmp_path: Path) -> None:
    written = reject_all(
        tmp_path / "r.jsonl",
        b'{"handle":"","values":[{"index":1,"type":"URL","data":"u"}]}\n{"hand\xff\n[1]\n',
        FileFormat.JSONL,
    )

    assert accepted(written.replace(b'"handle":""', b'"handle":"88/1"'), FileFormat.JSONL) == ["88/1"]
    lines = written.split(b"\n")
    assert lines[0].startswith(b'{"#line":1,"#reason":"a handle has at least one octet","handle":""')
    assert lines[1].endswith(b'"#text":"{\\"hand\\\\xff"}')
    assert lines[2].endswith(b'"#text":"[1]"}')


def test_an_earlier_file_is_kept_beside_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("half corrected")
    reject_all(path, b"handle,URL\n,u\n")
    assert path.with_name("r.csv~").read_text() == "half corrected"


def test_nobody_else_can_read_rejected_secrets(tmp_path: Path) -> None:
    reject_all(tmp_path / "r.csv", b"handle,URL\n,u\n")
    assert (tmp_path / "r.csv").stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_made_is_an_operating_system_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        RejectsFile(tmp_path / "none" / "r.csv").write(RejectedRow(1, "", b""), None)
