"""Handle values and value lists: octets, permissions, TTLs, selection."""

from dataclasses import replace

import pytest

from protocol.errors import InvalidValue, Malformed, TooLarge, Truncated, WireError
from protocol.value import (
    MAX_TTL_S,
    HandleValue,
    Permission,
    TtlType,
    ValueList,
    ValueReference,
    check_index,
    format_permissions,
    parse_permissions,
)
from protocol.wire import Reader

URL = HandleValue(index=1, type="URL", data=b"https://example.org/")
SECRET = HandleValue(index=300, type="HS_SECKEY", data=b"secret", permissions=0x0C)


def test_a_value_has_the_defaults_of_the_field() -> None:
    assert (URL.ttl, URL.ttl_type, URL.permissions, URL.timestamp) == (86_400, TtlType.RELATIVE, 0x0E, 0)


def test_permissions_stand_at_octet_13_and_the_type_at_14() -> None:
    octets = replace(URL, permissions=0x05).encode()
    assert octets[13] == 0x05
    assert octets[14:21] == b"\x00\x00\x00\x03URL"


@pytest.mark.parametrize(
    "value",
    [
        URL,
        replace(URL, data=b""),
        replace(URL, type=""),
        replace(URL, ttl_type=7, ttl=0xFFFF_FFFF, permissions=0xFF, timestamp=0xFFFF_FFFF, index=0),
        replace(URL, references=(ValueReference(b"0.TYPE/DESC", 1), ValueReference(b"", 0))),
        replace(URL, type="\udcff"),
    ],
    ids=["plain", "no data", "no type", "extreme numbers", "references", "type that is no utf-8"],
)
def test_decoding_inverts_encoding(value: HandleValue) -> None:
    assert HandleValue.decode(value.encode()) == value


def test_a_value_cut_at_any_octet_is_refused() -> None:
    octets = replace(URL, references=(ValueReference(b"1/x", 2),)).encode()
    for cut in range(len(octets)):
        with pytest.raises(WireError):
            HandleValue.decode(octets[:cut])
        with pytest.raises(WireError):
            ValueList.decode(Reader(b"\x00\x00\x00\x01" + octets[:cut]))


def test_octets_behind_a_value_are_refused() -> None:
    with pytest.raises(Malformed):
        HandleValue.decode(URL.encode() + b"\x00")


def test_lengths_and_counts_that_lie_are_refused() -> None:
    octets = URL.encode()
    too_long_type = octets[:14] + b"\x00\x00\x08\x01" + octets[18:]
    many_references = octets[:-4] + b"\x00\x03\xff\xff"
    for lie in (too_long_type, many_references):
        with pytest.raises(WireError):
            HandleValue.decode(lie)
        with pytest.raises(WireError):
            ValueList.decode(Reader(b"\x00\x00\x00\x01" + lie))
    with pytest.raises(TooLarge):
        ValueList.decode(Reader(b"\x00\x00\x08\x01" + octets * 2049))
    with pytest.raises(Truncated):
        ValueList.decode(Reader(b"\x00\x00\x00\x02" + octets))


def test_a_value_list_is_a_count_and_values_back_to_back() -> None:
    values = ValueList.of([URL, SECRET])
    assert len(values) == 2
    assert values.octets == URL.encode() + SECRET.encode()
    assert values.encode() == b"\x00\x00\x00\x02" + values.octets
    assert list(values) == [URL, SECRET]
    assert list(values.slices()) == [URL.encode(), SECRET.encode()]


def test_reading_a_value_list_leaves_what_follows() -> None:
    values = ValueList.of([URL, SECRET])
    reader = Reader(values.encode() + b"rest")
    assert ValueList.decode(reader) == values
    assert reader.rest() == b"rest"


def test_2048_values_are_allowed() -> None:
    values = ValueList.of([replace(URL, index=index, data=b"") for index in range(1, 2049)])
    assert ValueList.decode(Reader(values.encode())).count == 2048


RECORD = ValueList.of(
    [
        URL,
        HandleValue(index=2, type="email", data=b"a@example.org"),
        HandleValue(index=3, type="URL.LEGACY", data=b"ftp://example.org"),
        HandleValue(index=4, type="URLX", data=b""),
        SECRET,
    ]
)


@pytest.mark.parametrize(
    ("indexes", "types", "expected"),
    [
        ((), (), [1, 2, 3, 4, 300]),
        ((2,), (), [2]),
        ((99,), (), []),
        ((), ("URL",), [1]),
        ((), ("url",), [1]),
        ((), ("EMAIL",), [2]),
        ((), ("URL.",), [1, 3]),
        ((2,), ("URL",), [1, 2]),
        ((), ("URL.LEGACY", "HS_SECKEY"), [3, 300]),
        ((), ("NONE",), []),
        ((1, 1, 1), (), [1]),
    ],
)
def test_indexes_and_types_are_alternatives(
    indexes: tuple[int, ...], types: tuple[str, ...], expected: list[int]
) -> None:
    assert [value.index for value in RECORD.select(indexes, types)] == expected


def test_a_public_reader_never_sees_a_restricted_value_even_when_asking_for_it() -> None:
    assert [value.index for value in RECORD.select(public_only=True)] == [1, 2, 3, 4]
    assert len(RECORD.select((300,), ("HS_SECKEY",), public_only=True)) == 0


def test_values_are_sorted_by_index() -> None:
    shuffled = ValueList.of(list(RECORD)[::-1])
    assert [value.index for value in shuffled.sorted()] == [1, 2, 3, 4, 300]


@pytest.mark.parametrize(
    ("ttls", "expected"),
    [
        ([(0, 600)], 600),
        ([(0, 600), (0, 5)], 5),
        ([(0, 0), (0, 600)], 0),
        ([(0, 10**9)], MAX_TTL_S),
        ([(1, 1_000_300)], 300),
        ([(1, 999_999)], 0),
        ([(1, 0)], 0),
        ([], MAX_TTL_S),
    ],
)
def test_a_list_lives_as_long_as_its_shortest_lived_value(ttls: list[tuple[int, int]], expected: int) -> None:
    values = ValueList.of([replace(URL, ttl_type=kind, ttl=ttl) for kind, ttl in ttls])
    assert values.smallest_ttl_s(1_000_000.5) == expected


@pytest.mark.parametrize("digits", ["0000", "1110", "1100", "1111", "0110", "0001"])
def test_permissions_are_four_digits(digits: str) -> None:
    assert format_permissions(parse_permissions(digits)) == digits


def test_permission_digits_mean_admin_read_admin_write_public_read_public_write() -> None:
    assert parse_permissions("1000") == Permission.ADMIN_READ
    assert parse_permissions("0100") == Permission.ADMIN_WRITE
    assert parse_permissions("0010") == Permission.PUBLIC_READ
    assert parse_permissions("0001") == Permission.PUBLIC_WRITE


@pytest.mark.parametrize("digits", ["", "111", "11100", "1120", "abcd", "１１１０", " 110", "+110"])
def test_other_permissions_are_refused(digits: str) -> None:
    with pytest.raises(InvalidValue):
        parse_permissions(digits)


@pytest.mark.parametrize("index", [0, -1, 2**31, 2**32])
def test_an_index_is_positive_and_fits_31_bits(index: int) -> None:
    with pytest.raises(InvalidValue):
        check_index(index)
    assert check_index(2**31 - 1) == 2**31 - 1


class Searched(tuple[int, ...]):
    """Indexes that count how often they are searched from end to end."""

    __slots__ = ()

    times = 0

    def __contains__(self, index: object) -> bool:
        Searched.times += 1
        return super().__contains__(index)


def test_a_query_for_thousands_of_indexes_is_not_searched_for_each_value() -> None:
    values = ValueList.of(HandleValue(index=index, type="URL", data=b"x") for index in range(1, 101))

    assert values.select(Searched((7, 5_000, 9))).count == 2
    assert Searched.times == 0
