"""Ranges: a suffix is taken apart in the way it was put together."""

from hypothesis import given
from hypothesis import strategies as st

from registry.identifiers.ranges import Extent
from registry.reservations import apart

texts = st.binary(max_size=6)


@given(texts, texts, st.integers(1, 9), st.integers(0, 10**9 - 1))
def test_a_number_comes_back_from_its_key(head: bytes, tail: bytes, digits: int, number: int) -> None:
    extent = Extent(prefix=b"88.1", head=head, tail=tail, digits=digits)
    number %= 10**digits
    key = extent.key(number)
    assert extent.number(key) == number
    assert apart(key, len(b"88.1/"), (len(head), digits, len(tail))) == (head, number, tail)


@given(texts, texts, st.integers(1, 4), st.binary(max_size=16))
def test_no_other_key_is_taken_for_one_of_the_range(
    head: bytes, tail: bytes, digits: int, suffix: bytes
) -> None:
    extent = Extent(prefix=b"88.1", head=head, tail=tail, digits=digits)
    key = b"88.1/" + suffix
    number = extent.number(key)
    assert number is None or extent.key(number) == key
    parts = apart(key, len(b"88.1/"), (len(head), digits, len(tail)))
    assert (parts is not None and parts[0] == head and parts[2] == tail) == (number is not None)


def test_digits_of_other_scripts_are_no_numbers() -> None:
    extent = Extent(prefix=b"88.1", head=b"", tail=b"", digits=6)
    assert extent.number(b"88.1/" + "٣٣٣".encode()) is None
    assert apart(b"88.1/" + "٣٣٣".encode(), 5, (0, 6, 0)) is None
