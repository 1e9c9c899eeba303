"""What a header of a CSV file means."""

import pytest

from protocol.handle import Prefix
from registry.bulk.columns import Columns, HeaderUnusable, read_header


def read(header: str, prefix: str | None = None) -> Columns:
    """Read a header without quotes."""
    return read_header(header.split(","), prefix=Prefix.parse(prefix) if prefix else None, ttl_s=300)


def indexes(header: str) -> dict[str, int]:
    """Type -> index of every value column."""
    return {column.type: column.index for column in read(header).values}


def test_columns_without_an_index_are_numbered_in_their_order() -> None:
    assert indexes("handle,URL,DESC,EMAIL") == {"URL": 1, "DESC": 2, "EMAIL": 3}


def test_the_handle_may_stand_anywhere_and_takes_no_number() -> None:
    assert indexes("URL,Handle,DESC") == {"URL": 1, "DESC": 2}


def test_a_named_index_is_taken_and_not_given_twice() -> None:
    assert indexes("handle,URL,1:DESC,EMAIL") == {"URL": 2, "DESC": 1, "EMAIL": 3}


def test_an_administrator_has_index_100() -> None:
    assert indexes("handle,HS_ADMIN,URL") == {"HS_ADMIN": 100, "URL": 1}


def test_columns_of_a_file_of_rejects_make_no_values() -> None:
    assert indexes("#line,#reason,#text,handle,URL") == {"URL": 1}


def test_value_columns_come_in_the_order_of_their_indexes() -> None:
    assert [column.index for column in read("handle,9:URL,3:DESC,EMAIL").values] == [1, 3, 9]


def test_a_type_may_hold_a_colon() -> None:
    assert indexes("handle,7:a:b") == {"a:b": 7}


def test_suffixes_get_their_prefix() -> None:
    assert read("suffix,URL", prefix="88.100.1").name_start == "88.100.1/"


def test_a_secret_key_is_not_public() -> None:
    assert read("handle,HS_SECKEY").values[0].head[13] == 0x0C


@pytest.mark.parametrize(
    ("header", "prefix", "said"),
    [
        ("name,URL", None, "one column `handle`"),
        ("handle;URL", None, "separated by commas"),
        ("handle,suffix,URL", None, "one column `handle`"),
        ("suffix,URL", None, "--prefix"),
        ("handle,URL", "88", "--prefix"),
        ("handle", None, "0 value columns"),
        ("handle,1:URL,1:DESC", None, "same index"),
        ("handle,0:URL", None, "0:URL"),
        ("handle,9999999999:URL", None, "9999999999"),
        ("handle,URL,", None, "no name"),
        ("handle,5:", None, "no type"),
        ("handle,HS_SITE", None, "JSON Lines"),
        ("\0h\0a,\0U", None, "UTF-16"),
        ("handle,\udcff", None, "UTF-8"),
    ],
)
def test_a_header_that_cannot_be_followed_says_what_would_be_right(
    header: str, prefix: str | None, said: str
) -> None:
    with pytest.raises(HeaderUnusable, match=said):
        read(header, prefix)
