"""Reader and Writer: every step is checked against what is left."""

from collections.abc import Callable

import pytest

from protocol.errors import Malformed, TooLarge, Truncated
from protocol.wire import Reader, Writer, encode_text, text


def test_integers_are_big_endian() -> None:
    octets = Writer().u8(1).u16(0x0203).u32(0x04050607).u64(0x08090A0B0C0D0E0F).octets()
    assert octets == bytes(range(1, 16))
    reader = Reader(octets)
    assert (reader.u8(), reader.u16(), reader.u32(), reader.u64()) == (
        1,
        0x0203,
        0x04050607,
        0x08090A0B0C0D0E0F,
    )
    reader.expect_end()


def test_v01_a_counted_string_and_an_integer() -> None:
    assert Writer().counted("foobār".encode()).octets().hex() == "00000007666f6f62c48172"
    assert Writer().u32(1_624_567_378).octets().hex() == "60d4ee52"
    assert Reader(bytes.fromhex("00000007666f6f62c48172")).counted() == "foobār".encode()


@pytest.mark.parametrize(
    ("read", "octets"),
    [(Reader.u8, 1), (Reader.u16, 2), (Reader.u32, 4), (Reader.u64, 8), (lambda r: r.take(5), 5)],
)
def test_a_field_that_is_cut_raises_truncated_and_moves_nothing(
    read: Callable[[Reader], object], octets: int
) -> None:
    for cut in range(octets):
        reader = Reader(bytes(cut))
        with pytest.raises(Truncated):
            read(reader)
        assert reader.remaining == cut


def test_a_length_that_lies_is_refused_before_anything_is_copied() -> None:
    with pytest.raises(TooLarge):
        Reader(b"\xff\xff\xff\xff").counted()
    with pytest.raises(TooLarge):
        Reader(b"\x00\x00\x00\x05hello").counted(4)
    with pytest.raises(Truncated):
        Reader(b"\x00\x00\x00\x05hell").counted()
    assert Reader(b"\x00\x00\x00\x05hello").counted(5) == b"hello"
    assert Reader(b"\x00\x00\x00\x00").counted(0) == b""


def test_a_count_that_the_octets_cannot_hold_is_refused_before_memory_is_taken() -> None:
    with pytest.raises(TooLarge):
        Reader(b"\x00\x10\x00\x01").count(1_048_576, 1)
    with pytest.raises(Truncated):
        Reader(b"\x00\x00\x00\x02" + bytes(7)).count(10, 4)
    assert Reader(b"\x00\x00\x00\x02" + bytes(8)).count(10, 4) == 2
    assert Reader(b"\x00\x00\x00\x00").count(0, 4) == 0


def test_surplus_octets_are_malformed_where_an_end_is_expected() -> None:
    reader = Reader(b"ab")
    with pytest.raises(Malformed):
        reader.expect_end()
    assert reader.rest() == b"ab"
    reader.expect_end()
    assert reader.rest() == b""


@pytest.mark.parametrize("octets", [b"", b"abc", "é€😀".encode(), b"\xff\xfe", b"\xed\xa0\x80", b"\xc3"])
def test_text_gives_the_same_octets_back_even_when_they_are_no_utf8(octets: bytes) -> None:
    assert encode_text(text(octets)) == octets
