"""What an operator may write, and what a wrong line is told."""

from pathlib import Path

import pytest

from protocol.errors import SettingsError
from resolver.settings import ResolverSettings, load_resolver_settings, parse_endpoint

WHOLE = """
[resolver]
root_site_file = "root.json"
forwarding = [ { prefix = "88.100", addresses = ["192.0.2.1", "[2001:db8::1]:3000"] } ]

[[resolver.open_networks]]
network = "10.0.0.0/8"
prefixes = ["88", "*"]
"""


def load(tmp_path: Path, text: str, **environment: str) -> ResolverSettings:
    path = tmp_path / "resolver.toml"
    path.write_text(text, encoding="utf-8")
    return load_resolver_settings(path, environment)


def test_a_whole_file_is_accepted(tmp_path: Path) -> None:
    load(tmp_path, WHOLE)


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    settings = load(tmp_path, WHOLE, HANDLEGRID_RESOLVER_NEGATIVE_TTL_S="5")

    assert settings.negative_ttl_s == 5


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("negative_ttl = 3", "did you mean negative_ttl_s"),
        ("negative_ttl_s = -1", "negative_ttl_s"),
        ('open_networks = [ { network = "10.0.0.0/99", prefixes = ["88"] } ]', "no network"),
        ('open_networks = [ { network = "10.0.0.0/8", prefixes = [] } ]', "names no prefixes"),
        ('open_networks = [ { network = "10.0.0.0/8", prefixes = ["88/x"] } ]', "'88/x' is no prefix"),
        ('forwarding = [ { prefix = "", addresses = ["192.0.2.1"] } ]', "is no prefix"),
        ('forwarding = [ { prefix = "88", addresses = [] } ]', "names no addresses"),
        ('forwarding = [ { prefix = "88", addresses = ["node.example:2641"] } ]', "literal IP address"),
        (
            'forwarding = [ { prefix = "a", addresses = ["192.0.2.1"] }, { prefix = "A", addresses = ["192.0.2.2"] } ]',
            "stands in two rules",
        ),
        ('public_addresses = ["0.0.0.0"]', "no address that a client could reach"),
        ('redis_url = "redis://a"\nredis_url_file = "b"', "not both"),
        ('statistics_database = "a"\nstatistics_database_file = "b"', "not both"),
    ],
)
def test_a_wrong_line_is_refused_with_what_would_be_right(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        load(tmp_path, f'[resolver]\nroot_site_file = "root.json"\n{line}\n')


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as raised:
        load(tmp_path, "[resolver]\nlog_level = 'loud'\nnegative_ttl_s = 'x'\n")

    assert len(raised.value.faults) == 3


def test_secrets_come_from_files_too(tmp_path: Path) -> None:
    (tmp_path / "dsn").write_text("postgresql://u:p@h/d\n", encoding="utf-8")
    path = tmp_path / "resolver.toml"
    path.write_text(WHOLE.replace("\nforwarding", '\nstatistics_database_file = "dsn"\nforwarding'), "utf-8")

    assert load_resolver_settings(path, {}).statistics_dsn() == "postgresql://u:p@h/d"
    (tmp_path / "dsn").write_text("", encoding="utf-8")
    with pytest.raises(SettingsError, match="is empty"):
        load_resolver_settings(path, {}).statistics_dsn()


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("192.0.2.1", ("192.0.2.1", 2641)),
        ("192.0.2.1:3000", ("192.0.2.1", 3000)),
        ("2001:db8::1", ("2001:db8::1", 2641)),
        ("[2001:DB8::1]:3000", ("2001:db8::1", 3000)),
        ("[2001:db8::1]", ("2001:db8::1", 2641)),
    ],
)
def test_an_endpoint_is_an_address_with_or_without_a_port(text: str, endpoint: tuple[str, int]) -> None:
    assert parse_endpoint(text) == endpoint


@pytest.mark.parametrize(
    "text", ["", ":2641", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:99999", "[::1]x", "0.0.0.0:1"]
)
def test_anything_else_is_no_endpoint(text: str) -> None:
    with pytest.raises(ValueError, match=r"address"):
        parse_endpoint(text)
