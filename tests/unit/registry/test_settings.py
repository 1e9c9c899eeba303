"""What an operator may set, and how a wrong setting is told."""

from pathlib import Path

import pytest

from protocol.errors import SettingsError
from registry.settings import RegistrySettings, load_registry_settings

MINIMAL = '[registry]\ndata_dir = "data"\nhomes = ["88.100"]\ndatabase = "postgresql:///x"\n'


def load(folder: Path, text: str, environment: dict[str, str] | None = None) -> RegistrySettings:
    path = folder / "node.toml"
    path.write_text(text)
    return load_registry_settings(path, environment or {})


def faults(folder: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(folder, text)
    return "\n".join(caught.value.faults)


def test_three_settings_are_enough(tmp_path: Path) -> None:
    settings = load(tmp_path, MINIMAL)

    assert settings.sealing_key_file() == tmp_path / "data" / "node.key"
    assert [str(prefix) for prefix in settings.home_prefixes()] == ["88.100"]
    assert settings.dsn() == "postgresql:///x"
    assert settings.plain_http_credentials == "refuse"


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    settings = load(tmp_path, MINIMAL, {"HANDLEGRID_REGISTRY_HOMES": "88.1,88.2"})

    assert settings.homes == ("88.1", "88.2")


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    told = faults(
        tmp_path,
        '[registry]\ndata_dir = "data"\nhomes = ["88/1", ""]\ndatabase_connections_min = 20\n'
        'public_addresses = ["0.0.0.0", "node.example"]\n',
    )

    assert told.count("homes:") == 2
    assert told.count("public_addresses:") == 2
    assert "database: set either" in told
    assert "database_connections_min" in told


def test_an_unknown_key_is_answered_with_the_nearest_name(tmp_path: Path) -> None:
    assert "did you mean plain_http_credentials?" in faults(
        tmp_path, MINIMAL + 'plain_http_credential = "loopback"\n'
    )


def test_a_node_without_prefixes_is_refused(tmp_path: Path) -> None:
    assert "homes: name at least one prefix" in faults(
        tmp_path, '[registry]\ndata_dir = "d"\nhomes = []\ndatabase = "postgresql:///x"\n'
    )


def test_a_database_that_is_no_postgres_is_refused_before_it_is_asked(tmp_path: Path) -> None:
    assert "database: must begin with postgresql://" in faults(
        tmp_path, MINIMAL.replace("postgresql:///x", "mysql://u:secret@db/x")
    )


def test_the_dsn_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "dsn").write_text("postgresql://u:secret@db/x\n")
    text = MINIMAL.replace('database = "postgresql:///x"', 'database_file = "dsn"')

    assert load(tmp_path, text).dsn() == "postgresql://u:secret@db/x"


@pytest.mark.parametrize("content", [None, "", "  \n"])
def test_a_file_without_a_dsn_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "dsn").write_text(content)
    settings = load(tmp_path, MINIMAL.replace('database = "postgresql:///x"', 'database_file = "dsn"'))

    with pytest.raises(SettingsError, match="database_file"):
        settings.dsn()


@pytest.mark.parametrize(
    ("lines", "published"),
    [
        ("", ("127.0.0.1",)),
        ('listen_addresses = ["0.0.0.0", "192.0.2.7"]\n', ("192.0.2.7",)),
        ('public_addresses = ["198.51.100.1", "2001:db8::1"]\n', ("198.51.100.1", "2001:db8::1")),
    ],
)
def test_the_site_record_tells_addresses_that_can_be_reached(
    tmp_path: Path, lines: str, published: tuple[str, ...]
) -> None:
    assert load(tmp_path, MINIMAL + lines).published_addresses() == published


def test_what_is_wrong_with_the_rules_of_allocation_is_named(tmp_path: Path) -> None:
    told = faults(
        tmp_path,
        MINIMAL
        + 'open_networks = [{network = "10.0.0.1/8", prefixes = []}, {network = "10.0.0.0/8", prefixes = ["a..b"]}]\n'
        + 'prefix_rules = [{level = 3, pattern = "("}]\n',
    )

    assert "open_networks: '10.0.0.1/8' is no network" in told
    assert "open_networks: 10.0.0.1/8 names no prefixes" in told
    assert "open_networks: 'a..b' is no prefix" in told
    assert "prefix_rules: level 3" in told


def test_secrets_and_what_is_no_type_are_never_searched_for(tmp_path: Path) -> None:
    assert "HS_SECKEY holds secrets" in faults(tmp_path, MINIMAL + 'reverse_lookup_types = ["hs_seckey"]\n')
    assert "is no type" in faults(tmp_path, MINIMAL + 'reverse_lookup_types = [""]\n')
    assert "name at least one type" in faults(
        tmp_path, MINIMAL + 'reverse_lookup = "open"\nreverse_lookup_types = []\n'
    )
    off = load(tmp_path, MINIMAL)
    assert (off.reverse_lookup, bool(off.lookups())) == ("off", False)
    on = load(tmp_path, MINIMAL + 'reverse_lookup = "authenticated"\n')
    assert on.lookups().folded == {b"URL", b"CHECKSUM"}
