"""URLs of nodes and targets of requests."""

import pytest

from protocol.errors import SettingsError
from registry.client.address import checked_url, path_of, query_text


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("https://node.example:8000", "https://node.example:8000"),
        ("https://node.example/", "https://node.example"),
        ("https://[2001:db8::1]:8000", "https://[2001:db8::1]:8000"),
        ("http://127.0.0.1:26420", "http://127.0.0.1:26420"),
        ("http://[::1]:26420", "http://[::1]:26420"),
        ("http://localhost:26420", "http://localhost:26420"),
    ],
)
def test_a_node_is_named_by_scheme_host_and_port(given: str, taken: str) -> None:
    assert checked_url(given, has_credential=True) == taken


@pytest.mark.parametrize(
    "url",
    [
        "",
        "node.example",
        "ftp://node.example",
        "https://",
        "https://node.example/api/v1",
        "https://node.example:99999",
        "https://[::1",
        "https://node.example?key=x",
        "https://user:password@node.example",
    ],
)
def test_anything_else_is_refused(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        checked_url(url, has_credential=False)
    assert "password" not in str(caught.value)


@pytest.mark.parametrize("host", ["node.example", "192.0.2.1", "128.0.0.1", "localhost.example"])
def test_a_key_does_not_travel_in_the_clear(host: str) -> None:
    with pytest.raises(SettingsError, match="https://"):
        checked_url(f"http://{host}", has_credential=True)
    assert checked_url(f"http://{host}", has_credential=False) == f"http://{host}"


@pytest.mark.parametrize(
    ("segments", "path"),
    [
        (("identifiers", "88.100.1/PUMP-7"), "/identifiers/88.100.1%2FPUMP-7"),
        (("identifiers", "88.1/离心泵 ?#"), "/identifiers/88.1%2F%E7%A6%BB%E5%BF%83%E6%B3%B5%20%3F%23"),
        (("organisations", ".."), "/organisations/%2E%2E"),
        (("organisations", "."), "/organisations/%2E"),
        (("organisations", "a/../b"), "/organisations/a%2F..%2Fb"),
        (("organisations", ""), "/organisations/"),
    ],
)
def test_a_segment_is_encoded_by_itself(segments: tuple[str, ...], path: str) -> None:
    assert path_of(*segments) == path


def test_parameters_that_say_nothing_are_left_out() -> None:
    assert query_text({}) == ""
    assert query_text({"a": None, "b": ""}) == ""
    assert query_text({"a": 1, "b": True, "c": False, "d": "x y&z"}) == "?a=1&b=true&c=false&d=x%20y%26z"
