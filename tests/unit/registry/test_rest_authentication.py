"""How credentials are read, and which connections may carry them."""

from base64 import b64encode

import pytest

from registry.rest.authentication import MAX_CREDENTIAL_OCTETS, Credentials, parse_authorization
from registry.rest.proof import CredentialsUnreadable


def basic(text: str | bytes) -> str:
    octets = text.encode() if isinstance(text, str) else text
    return "Basic " + b64encode(octets).decode()


def read(header: str) -> Credentials:
    credentials = parse_authorization(header)
    assert isinstance(credentials, Credentials)
    return credentials


def test_the_published_example_is_read() -> None:
    credentials = read("Basic MzAxJTNBMjAuNTAwLjk5OS9BRE1JTjpzZWNyZXQ=")  # vector V35

    assert (credentials.index, credentials.handle.octets, credentials.secret) == (
        301,
        b"20.500.999/ADMIN",
        b"secret",
    )


def test_any_extent_of_percent_encoding_is_read() -> None:
    credentials = read(basic("300%3A88.1%2F%41dmin%3Ax:top:secret"))

    assert credentials.handle.octets == b"88.1/Admin:x"
    assert credentials.secret == b"top:secret"


def test_a_user_name_that_is_not_encoded_at_all_is_cut_at_the_last_colon() -> None:
    credentials = read(basic("300:88.1/ADMIN:secret"))

    assert (credentials.index, credentials.handle.octets, credentials.secret) == (
        300,
        b"88.1/ADMIN",
        b"secret",
    )


def test_index_zero_stands_for_any_value() -> None:
    assert read(basic("0%3A88.1/ADMIN:s")).index == 0


def test_an_empty_password_and_odd_octets_are_read_as_they_are() -> None:
    assert read(basic("300%3A88.1/ADMIN:")).secret == b""
    assert read(basic(b"300%3A88.1/\xff:\x00\xfe")).secret == b"\x00\xfe"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic !!!!",
        "Basic é",
        "Bearer abc",
        basic(""),
        basic("nocolon"),
        basic("300:secret"),
        basic("300"),
        basic("88.1/ADMIN:secret"),
        basic("abc%3A88.1/ADMIN:secret"),
        basic("300%3A:secret"),
        basic("99999999999%3A88.1/ADMIN:secret"),
        basic("4294967295%3A88.1/ADMIN:secret"),
        basic("300%3A88.1%zzADMIN:secret"),
        basic("300%3A88.1/" + "x" * 3_000 + ":secret"),
        basic("x" * MAX_CREDENTIAL_OCTETS),
    ],
)
def test_a_header_that_names_nobody_is_unreadable_and_never_repeated(header: str) -> None:
    with pytest.raises(CredentialsUnreadable) as caught:
        parse_authorization(header)

    assert "secret" not in str(caught.value)
    assert len(str(caught.value)) < 120


def test_a_secret_is_not_shown() -> None:
    assert "hunter2" not in repr(parse_authorization(basic("300%3A88.1/ADMIN:hunter2")))
