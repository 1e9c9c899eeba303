"""What may be registered as a name, and where a value may send people."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.identifiers.names import NotAllowed, check_name, check_target, check_type, check_url


@pytest.mark.parametrize(
    "name",
    ["88.100.1/PUMP-7", "88.100.1/pump 7/b", "88.100.1/水泵-7", "88.100.1/é", "88.100.1/%2F?#&'\"<>;--"],
)
def test_a_name_that_people_can_read_is_taken_as_it_is(name: str) -> None:
    assert check_name(name) == name.encode()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("88.100.1", "<prefix>/<suffix>"),
        ("88.100.1/", "<prefix>/<suffix>"),
        ("/PUMP-7", "<prefix>/<suffix>"),
        ("88.100.1/PUMP\x00", "control character (U+0000) at position 14"),
        ("88.100.1/PUMP\n7", "control character"),
        ("88.100.1/\x7f", "control character"),
        ("88.100.1/泵\x85", "control character"),
        ("88.100.1/PUMP\u200b-7", "invisible or direction-changing"),
        ("88.100.1/\u202e7-PMUP", "invisible or direction-changing"),
        ("88.100.1/\u2066x\u2069", "invisible or direction-changing"),
        ("88.100.1/PUMP\ufeff", "invisible or direction-changing"),
        ("88.100.1/\ud800", "half a surrogate pair"),
        ("88.100.1/\ue000", "private-use"),
        ("88.100.1/\U000e0fff", "unassigned"),
        ("88.100.1/a\u2028b", "line separator"),
        ("88.100.1/a\u00a0b", "a blank that is no space"),
        ("88.100.1/PUMP-7 ", "a blank at one of its ends"),
        ("88.100.1/ PUMP-7", "a blank at one of its ends"),
        ("88.100.1/e\u0301", "normal form C"),
        ("88.100.1/" + "x" * 2_040, "2049 octets"),
    ],
)
def test_a_name_that_hides_something_or_looks_like_another_one_is_refused(name: str, reason: str) -> None:
    with pytest.raises(NotAllowed) as refused:
        check_name(name)
    assert reason in str(refused.value)


@given(st.text(max_size=60))
def test_whatever_the_text_a_name_is_taken_or_refused_with_a_reason(text: str) -> None:
    try:
        octets = check_name(text)
    except NotAllowed:
        return
    assert octets.decode() == text
    assert "\0" not in text


@pytest.mark.parametrize(
    "url",
    [
        "https://www.example.com",
        "HTTP://EXAMPLE.COM:8080/a?b=c#d",
        "https://[2001:db8::1]:8443/",
        "http://192.0.2.1/pump?mail=a@b",
        "https://例子.example/水泵",
    ],
)
def test_an_absolute_web_address_is_taken(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,<script>",
        "file:///etc/passwd",
        "ftp://example.com/",
        "//example.com/",
        "/pump-7",
        "https:/example.com",
        "https://",
        "https:///pump-7",
        "https://user:secret@example.com/",
        "https://example.com\\@evil.example/",
        "https://example.com:port/",
        "https://exa mple.com/",
        "https://example.com/\r\nSet-Cookie: a=b",
        "https://example.com/\u202e",
        " https://example.com/",
        "",
        "https://example.com/" + "x" * 5_000,
    ],
)
def test_what_is_no_web_address_or_holds_a_password_is_refused(url: str) -> None:
    with pytest.raises(NotAllowed) as refused:
        check_url(url)
    assert "secret" not in str(refused.value)


@given(st.text(max_size=40), st.sampled_from(["", "http://", "https://a", "https://[", "https://a:"]))
def test_an_address_that_is_taken_can_stand_in_a_header_line(text: str, start: str) -> None:
    try:
        check_url(start + text)
    except NotAllowed:
        return
    assert (start + text).lower().startswith(("http://", "https://"))
    assert not any(character <= " " or character == "\x7f" for character in start + text)


def test_the_places_of_a_list_of_locations_are_web_addresses_too() -> None:
    good = b'<locations><location href="https://example.com/"/></locations>'
    check_target(b"10320/loc", good)
    for bad in (good.replace(b"https:", b"javascript:"), b"<locations", b"\xff"):
        with pytest.raises(NotAllowed):
            check_target(b"10320/LOC", bad)


def test_a_type_is_readable() -> None:
    check_type("VENDOR.数据")
    for bad in ("", "UR\u200bL", "UR\nL", "x" * 201):
        with pytest.raises(NotAllowed):
            check_type(bad)
