"""Settings: every fault at once, with file, key and what would be right."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Meta

from protocol.errors import SettingsError
from protocol.runtime.configuration import SecretText, hide_passwords, load_settings, show
from protocol.runtime.listen_settings import ListenSettings


class Sample(ListenSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data_dir: Path
    negative_ttl_s: Annotated[int, Meta(ge=0)] = 30
    token: SecretText = ""
    token_or_none: SecretText | None = None
    database: str = ""
    forward: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)

    def faults(self) -> list[str]:
        return super().faults() + (["negative_ttl_s: 13 is unlucky"] if self.negative_ttl_s == 13 else [])


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "node.toml"
    path.write_text(text, encoding="utf-8")
    return path


def faults_of(path: Path | None, **environment: str) -> str:
    with pytest.raises(SettingsError) as raised:
        load_settings(path, "resolver", Sample, environment)
    return "\n".join(raised.value.faults)


def test_defaults_file_and_environment_are_laid_over_each_other(tmp_path: Path) -> None:
    path = write(
        tmp_path, '[resolver]\ndata_dir = "data"\nhandle_port = 2642\nname = "plant"\n[registry]\nx = 1\n'
    )
    settings = load_settings(
        path,
        "resolver",
        Sample,
        {
            "HANDLEGRID_RESOLVER_HANDLE_PORT": "2643",
            "HANDLEGRID_RESOLVER_ALLOW_NETWORKS": "10.0.0.0/8, fd00::/8",
            "HANDLEGRID_RESOLVER_FORWARD": '{"88.100": ["10.0.0.1:2641"]}',
            "HANDLEGRID_REGISTRY_NONSENSE": "1",
            "HANDLEGRID_HOME": "/var/lib/handlegrid",
        },
    )
    assert settings.name == "plant"
    assert settings.handle_port == 2643
    assert settings.http_port == 8000
    assert settings.data_dir == tmp_path / "data"
    assert settings.allow_networks == ("10.0.0.0/8", "fd00::/8")
    assert settings.forward == {"88.100": ("10.0.0.1:2641",)}


def test_every_fault_is_told_at_once_with_what_would_be_right(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '[resolver]\nhandel_port = 1\nhttp_port = 70000\nlog_level = "loud"\nadmin_port = "x"\n[registri]\n',
    )
    told = faults_of(path, HANDLEGRID_RESOLVER_NEGATIV_TTL_S="1", HANDLEGRID_RESOLVER_NEGATIVE_TTL_S="-1")
    assert f"{path}: [resolver] handel_port: is not known; did you mean handle_port?" in told
    assert f"{path}: [registri]: is not known; did you mean registry?" in told
    assert "http_port: expected `int` <= 65535, not 70000" in told
    assert "log_level: " in told
    assert "admin_port: expected `int`" in told
    assert "data_dir: is missing" in told
    assert "HANDLEGRID_RESOLVER_NEGATIV_TTL_S: is not known; did you mean negative_ttl_s?" in told
    assert "HANDLEGRID_RESOLVER_NEGATIVE_TTL_S: expected `int` >= 0" in told


def test_rules_across_fields_are_told_together(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '[resolver]\ndata_dir = "."\nnegative_ttl_s = 13\nlisten_addresses = ["localhost"]\n'
        'deny_networks = ["10.0.0.1/8"]\ntls_key_file = "k.pem"\n',
    )
    told = faults_of(path)
    for part in ("unlucky", "'localhost' is no IPv4", "10.0.0.1/8", "tls_certificate_file and tls_key_file"):
        assert part in told


def test_a_certificate_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    path = write(
        tmp_path, '[resolver]\ndata_dir = "."\ntls_certificate_file = "c.pem"\ntls_key_file = "k.pem"\n'
    )
    assert "No such file" in faults_of(path)
    (tmp_path / "c.pem").write_text("no certificate")
    (tmp_path / "k.pem").write_text("no key")
    assert "cannot be used" in faults_of(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "there is no such file"), (b"[resolver", "is not TOML"), (b"\xff", "is not UTF-8")],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "node.toml"
    if content is not None:
        path.write_bytes(content)
    assert told in faults_of(path)
    assert str(path) in faults_of(path)


def test_a_table_that_is_none_and_a_folder_for_a_file_are_told(tmp_path: Path) -> None:
    assert "must be a table" in faults_of(write(tmp_path, "resolver = 1"))
    assert "cannot be read" in faults_of(tmp_path)


def test_secrets_are_neither_shown_nor_told(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '[resolver]\ndata_dir = "."\ntoken = "hunter2"\ntoken_or_none = "hunter3"\n'
        'database = "postgresql://me:hunter4@db/x"\n',
    )
    shown = show(load_settings(path, "resolver", Sample, {}))
    assert 'token = "***"' in shown
    assert 'token_or_none = "***"' in shown
    assert "postgresql://me:***@db/x" in shown
    assert "negative_ttl_s = 30" in shown
    assert "hunter" not in shown
    assert "hunter" not in faults_of(write(tmp_path, '[resolver]\ntoken = ["hunter2"]'))


def test_passwords_leave_database_addresses() -> None:
    assert hide_passwords("host=db password='a b' user=x") == "host=db password=*** user=x"
    assert hide_passwords("postgresql://u:p%40@h:5432/d") == "postgresql://u:***@h:5432/d"
    assert hide_passwords("postgresql:///d?host=/run") == "postgresql:///d?host=/run"


@given(
    st.dictionaries(
        st.sampled_from([field.name for field in msgspec.structs.fields(Sample)]) | st.text(max_size=8),
        st.none() | st.integers() | st.text(max_size=8) | st.lists(st.text(max_size=8), max_size=2),
    )
)
@example({"tls_certificate_file": "~nobody-of-that-name/x"})
def test_any_environment_gives_settings_or_a_settings_error(values: dict[str, object]) -> None:
    environment = {f"HANDLEGRID_RESOLVER_{name.upper()}": str(value) for name, value in values.items()}
    with suppress(SettingsError):
        load_settings(None, "resolver", Sample, environment)


def test_rules_across_fields_are_told_together_with_values_that_cannot_be_used(tmp_path: Path) -> None:
    text = 'data_dir = "d"\nnegative_ttl_s = 13\nhttp_port = 70000\n'
    text += 'listen_addresses = ["localhost"]\nadmin_address = 7\n'
    faults = faults_of(write(tmp_path, f"[resolver]\n{text}"))

    assert "http_port: expected" in faults
    assert "negative_ttl_s: 13 is unlucky" in faults
    assert "listen_addresses: 'localhost' is no" in faults
    assert faults.count("admin_address") == 1
