"""How an HTTP target is read: octets, parameters, limits."""

import pytest

from protocol.transport.http_target import (
    MAX_PARAMETERS,
    MAX_TARGET_OCTETS,
    BadTarget,
    parse_target,
    percent_decode,
)
from protocol.value import MAX_INDEX


def test_a_path_is_decoded_once_and_to_octets() -> None:
    assert parse_target("/api/handles/88.1/a%2Fb%2525%FF%00").path == b"/api/handles/88.1/a/b%25\xff\x00"


def test_a_plus_sign_is_itself_in_a_path_and_a_space_in_a_parameter() -> None:
    target = parse_target("/api/handles/88.1/a+b?type=A+B")

    assert target.path == b"/api/handles/88.1/a+b"
    assert target.types() == ("A B",)


def test_characters_outside_ascii_stand_for_their_utf8_octets() -> None:
    assert percent_decode("é") == b"\xc3\xa9"


@pytest.mark.parametrize("text", ["%", "%1", "%zz", "a%2", "%%41", "%u0041", "% 41"])
def test_an_escape_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadTarget, match="percent sign"):
        percent_decode(text)


def test_repeated_parameters_keep_their_order() -> None:
    target = parse_target("/api/handles/88.1/x?index=3&index=1&type=URL&type=EMAIL&&=&lonely")

    assert target.indexes() == (3, 1)
    assert target.types() == ("URL", "EMAIL")
    assert target.parameters["lonely"] == [""]


@pytest.mark.parametrize(
    "text", ["", "abc", "-1", "0", "1.5", "1e3", " 1", "٣", str(MAX_INDEX + 1), "9" * 5_000]
)
def test_what_is_no_index_is_refused(text: str) -> None:
    with pytest.raises(BadTarget, match="index is a number"):
        parse_target(f"/x?index={text.replace(' ', '%20')}").indexes()


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("auth", True),
        ("auth=", True),
        ("auth=true", True),
        ("auth=YES", True),
        ("auth=false", False),
        ("auth=1", False),
        ("auth=no", False),
        ("", False),
        ("auth&auth=false", False),
    ],
)
def test_a_flag_is_true_when_empty_true_or_yes(query: str, value: bool) -> None:
    assert parse_target(f"/x?{query}").flag("auth") is value


def test_an_absent_flag_has_its_default() -> None:
    assert parse_target("/x").flag("overwrite", default=True)
    assert not parse_target("/x?overwrite=false").flag("overwrite", default=True)


@pytest.mark.parametrize(
    "raw",
    [
        "/" + "a" * MAX_TARGET_OCTETS,
        "/x?" + "a=1&" * (MAX_PARAMETERS + 1),
        "/x?type=%ff",
        "/x?%ff=1",
        "/x?type=%zz",
    ],
)
def test_a_target_beyond_the_limits_is_refused(raw: str) -> None:
    with pytest.raises(BadTarget):
        parse_target(raw)


def test_a_type_longer_than_a_name_is_refused() -> None:
    with pytest.raises(BadTarget, match="type"):
        parse_target("/x?type=" + "T" * 2_049).types()
