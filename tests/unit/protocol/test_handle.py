"""Handle and Prefix: parsing, case rules, derivations, percent-encoding."""

import pytest

from protocol.errors import InvalidHandle
from protocol.handle import Handle, Prefix, fold


def test_only_ascii_letters_fold() -> None:
    assert fold("aZ-äÄ.ß".encode()) == "AZ-äÄ.ß".encode()
    assert fold(b"\xff\x61") == b"\xff\x41"


@pytest.mark.parametrize(
    ("name", "prefix", "suffix"),
    [
        ("20.500.1/pump-7", b"20.500.1", b"pump-7"),
        ("20.500.1/a/b", b"20.500.1", b"a/b"),
        ("20.500.1/", b"20.500.1", b""),
        ("20.500.1", b"0.NA", b"20.500.1"),
        ("0.NA/20.500", b"0.NA", b"20.500"),
        ("/", b"", b""),
    ],
)
def test_a_name_splits_at_its_first_slash(name: str, prefix: bytes, suffix: bytes) -> None:
    handle = Handle.parse(name)
    assert (handle.prefix.octets, handle.suffix) == (prefix, suffix)
    assert str(handle) == name


def test_a_name_has_at_least_one_octet_and_at_most_2048() -> None:
    assert len(Handle.parse(b"1/" + b"x" * 2046).octets) == 2048
    for name in (b"", b"1/" + b"x" * 2047):
        with pytest.raises(InvalidHandle):
            Handle.parse(name)


@pytest.mark.parametrize(
    "name", [b"1/\xff\xfe", b"1/\x00", b"1/\xed\xa0\x80", b"1/ spaced \r\n", b"\xc3/\xc3"]
)
def test_legal_names_need_not_be_printable_utf8(name: bytes) -> None:
    handle = Handle.parse(name)
    assert handle.octets == name
    assert Handle.parse(str(handle)) == handle


def test_a_text_that_no_octets_stand_for_is_an_invalid_handle() -> None:
    with pytest.raises(InvalidHandle):
        Handle.parse("1/\ud800")
    with pytest.raises(InvalidHandle):
        Prefix.parse("1\ud800")


def test_spelling_is_kept_and_comparison_folds() -> None:
    lower, upper = Handle.parse("20.abc/Pump"), Handle.parse("20.ABC/PUMP")
    assert str(lower) == "20.abc/Pump"
    assert lower == upper
    assert hash(lower) == hash(upper)
    assert Handle.parse("20.abc/ä") != Handle.parse("20.abc/Ä")


def test_a_slashless_name_is_its_prefix_record() -> None:
    assert Handle.parse("20.500") == Handle.parse("0.NA/20.500")
    assert Handle.parse("20.500").key == b"0.NA/20.500"
    assert Handle.parse("20.500").resolved.octets == b"0.NA/20.500"
    assert Handle.parse("1/x").resolved.octets == b"1/x"


def test_a_case_sensitive_service_keeps_the_case_of_suffixes_alone() -> None:
    assert Handle.parse("20.abc/Pump").fold(case_sensitive=True) == b"20.ABC/Pump"
    assert Handle.parse("20.abc/Pump").fold() == b"20.ABC/PUMP"
    assert Handle.parse("0.na/abc").fold(case_sensitive=True) == b"0.NA/ABC"
    assert Handle.parse("abc").fold(case_sensitive=True) == b"0.NA/ABC"


@pytest.mark.parametrize(
    ("name", "authority"),
    [
        ("20.500.999/abc", "0.NA/20.500.999"),
        ("0.NA/20.500.999", "0.NA/0.NA"),
        ("20.500.999", "0.NA/0.NA"),
        ("ä.b/ä", "0.NA/ä.B"),
    ],
)
def test_the_authority_of_a_name_is_the_record_of_its_prefix(name: str, authority: str) -> None:
    assert str(Handle.parse(name).authority) == authority


def test_prefix_records_know_what_they_speak_of() -> None:
    assert Handle.parse("0.na/20.500").is_prefix_record
    assert Handle.parse("20.500").is_prefix_record
    assert not Handle.parse("0.NB/20.500").is_prefix_record
    assert Handle.parse("0.NA/20.500").subject == Prefix(b"20.500")
    with pytest.raises(InvalidHandle):
        _ = Handle.parse("0.NA/20/500").subject


@pytest.mark.parametrize(
    ("name", "is_global"),
    [
        ("0.NA/88", True),
        ("0.0/0.0", True),
        ("0/x", True),
        ("88.100", True),
        ("88/x", False),
        ("00.1/x", False),
    ],
)
def test_names_of_the_root_are_global(name: str, is_global: bool) -> None:
    assert Handle.parse(name).is_global is is_global


def test_prefixes_descend_label_by_label() -> None:
    prefix = Prefix.parse("88.100.1")
    assert [str(ancestor) for ancestor in prefix.ancestors()] == ["88.100", "88"]
    assert Prefix.parse("88").parent is None
    assert str(prefix.record) == "0.NA/88.100.1"


def test_a_prefix_lies_within_itself_and_its_ancestors_but_not_within_a_longer_label() -> None:
    prefix = Prefix.parse("88.abc.1")
    assert prefix.is_within(Prefix.parse("88.ABC"))
    assert prefix.is_within(prefix)
    assert not prefix.is_within(Prefix.parse("88.ab"))
    assert not Prefix.parse("88.abc").is_within(prefix)


@pytest.mark.parametrize("name", ["", "88/x", "88..1", ".88", "88.", "x" * 2044])
def test_what_is_no_prefix_is_refused(name: str) -> None:
    with pytest.raises(InvalidHandle):
        Prefix.parse(name)


def test_prefixes_compare_without_regard_to_case() -> None:
    assert Prefix(b"88.abc") == Prefix(b"88.ABC")
    assert hash(Prefix(b"88.abc")) == hash(Prefix(b"88.ABC"))
    assert Prefix(b"88") != "88"
    assert Prefix(b"88.abc").key == b"88.ABC"


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        (b"1/a/b", "1/a/b"),
        (b"1/a b?c#d%", "1/a%20b%3Fc%23d%25"),
        ("1/ä".encode(), "1/%C3%A4"),
        (b"1/\xff", "1/%FF"),
        (b"1/a+b;c=d:e@f", "1/a%2Bb%3Bc%3Dd%3Ae%40f"),
        (b"1/-._~", "1/-._~"),
    ],
)
def test_everything_but_unreserved_letters_and_slashes_is_percent_encoded(name: bytes, encoded: str) -> None:
    assert Handle.parse(name).percent_encode() == encoded
