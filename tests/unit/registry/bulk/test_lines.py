"""Lines of a file, whatever the chunks."""

import pytest

from registry.bulk.lines import LineSplitter, OverlongLine


def split(octets: bytes, chunk_octets: int, line_octets_max: int = 100) -> list[bytes]:
    """Feed the octets in chunks of one size."""
    splitter = LineSplitter(line_octets_max)
    lines = []
    for start in range(0, len(octets), chunk_octets):
        lines += splitter.feed(octets[start : start + chunk_octets])
    return lines + splitter.finish()


@pytest.mark.parametrize("chunk_octets", [1, 2, 3, 7, 1000])
def test_chunks_do_not_change_the_lines(chunk_octets: int) -> None:
    assert split(b"\xef\xbb\xbfa,b\r\n\nc\nlast", chunk_octets) == [b"a,b\r", b"", b"c", b"last"]


def test_a_byte_order_mark_is_dropped_at_the_beginning_only() -> None:
    assert split(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", 100) == [b"a", b"\xef\xbb\xbfb"]


def test_nothing_gives_no_line() -> None:
    assert split(b"", 10) == []


@pytest.mark.parametrize("chunk_octets", [1, 5, 64, 1000])
@pytest.mark.parametrize("end", [b"\nnext", b"\nnext\n"])
def test_a_line_over_the_limit_loses_its_end_and_the_next_line_nothing(chunk_octets: int, end: bytes) -> None:
    lines = split(b"first\n" + b"x" * 450 + end, chunk_octets)

    assert [type(line) for line in lines] == [bytes, OverlongLine, bytes]
    assert lines[1] == b"x" * len(lines[1])
    assert (lines[0], lines[2]) == (b"first", b"next")


def test_an_overlong_last_line_is_given_at_the_end() -> None:
    assert [type(line) for line in split(b"x" * 500, 50)] == [OverlongLine]


def test_no_more_than_a_line_is_held() -> None:
    splitter = LineSplitter(1_000)
    for _ in range(1_000):
        assert splitter.feed(b"y" * 1_000) == []
    assert len(splitter._held) <= 2_000
    assert len(splitter.feed(b"\n")[0]) <= 1_000
