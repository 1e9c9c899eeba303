"""Which connections may carry credentials."""

import pytest

from registry.plain_http import PlainHttpRule, is_loopback, refusal_of_plain_http


@pytest.mark.parametrize(
    ("is_tls", "peer_host", "rule", "accepted"),
    [
        (True, "192.0.2.1", "refuse", True),
        (False, "127.0.0.1", "refuse", False),
        (False, "127.0.0.1", "loopback", True),
        (False, "::1", "loopback", True),
        (False, "192.0.2.1", "loopback", False),
    ],
)
def test_a_password_travels_over_tls_or_within_the_host(
    is_tls: bool, peer_host: str, rule: PlainHttpRule, accepted: bool
) -> None:
    reason = refusal_of_plain_http(is_tls=is_tls, peer_host=peer_host, rule=rule)

    assert (reason is None) is accepted
    if reason is not None:
        assert "plain HTTP" in reason
        assert "https://" in reason


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::1%lo", True),
        ("192.0.2.1", False),
        ("::ffff:192.0.2.1", False),
        ("localhost", False),
        ("", False),
    ],
)
def test_loopback_is_recognised_in_every_spelling(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
