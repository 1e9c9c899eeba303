"""Keys from every form into every other, and files that are none."""

import hashlib
import json
import re
from itertools import product
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from deploy.commands.secrets import read_secret, secret_of_variable
from deploy.key_forms import (
    ENCRYPTED_FORMS,
    PrivateForm,
    PublicForm,
    fingerprint,
    read_key,
    read_private_key,
    write_private,
    write_public,
)
from protocol.errors import InvalidValue, SettingsError, UnreadableKey
from protocol.signature import PrivateKey
from tests.support.keys import admin_key, dsa_key
from tests.support.vectors import keys
from tests.unit.deploy.test_command_line import Run, run

__all__ = ["run"]

KEYS: Final[dict[str, PrivateKey]] = {"RSA": admin_key(), "DSA": dsa_key()}
PASSPHRASE = "offen für alle".encode()


def nobody_asked() -> bytes:
    """A passphrase that is not needed."""
    raise AssertionError("asked for a passphrase")


@pytest.mark.parametrize(("form", "name"), list(product(PrivateForm, KEYS)))
def test_a_private_key_is_read_back_from_every_form(form: PrivateForm, name: str) -> None:
    key = KEYS[name]
    if (form, name) == (PrivateForm.JWK, "DSA"):
        with pytest.raises(InvalidValue):
            write_private(key, form)
        return
    assert read_private_key(write_private(key, form), nobody_asked).private_numbers() == key.private_numbers()


@pytest.mark.parametrize(("form", "name"), list(product(sorted(ENCRYPTED_FORMS), KEYS)))
def test_an_encrypted_key_opens_with_its_passphrase_alone(form: PrivateForm, name: str) -> None:
    octets = write_private(KEYS[name], form, PASSPHRASE)
    assert read_private_key(octets, lambda: PASSPHRASE).private_numbers() == KEYS[name].private_numbers()
    for passphrase in (b"", b"another"):
        with pytest.raises(UnreadableKey):
            read_key(octets, lambda given=passphrase: given)  # type: ignore[misc]


def test_forms_without_a_good_encryption_are_not_encrypted() -> None:
    for form in set(PrivateForm) - ENCRYPTED_FORMS:
        with pytest.raises(InvalidValue):
            write_private(admin_key(), form, PASSPHRASE)


@pytest.mark.parametrize(("form", "name"), list(product(PublicForm, KEYS)))
def test_a_public_key_is_read_back_from_every_form_and_is_no_private_one(form: PublicForm, name: str) -> None:
    octets = write_public(KEYS[name], form, index=301)
    assert fingerprint(read_key(octets, nobody_asked)) == fingerprint(KEYS[name])
    with pytest.raises(UnreadableKey, match="public key"):
        read_private_key(octets, nobody_asked)


def test_the_recorded_administrators_key_is_written_as_the_deployed_software_wrote_it() -> None:
    private = bytes.fromhex(keys()["admpriv_bin_hex"])
    key = read_private_key(private, nobody_asked)
    assert write_private(key, PrivateForm.HANDLE) == private
    blob = bytes.fromhex(keys()["admin_rsa"]["hs_pubkey_value_hex"])
    assert write_public(key, PublicForm.BLOB, index=1) == blob
    value = json.loads(write_public(key, PublicForm.VALUE, index=301))
    assert (value["index"], value["type"], value["data"]["format"]) == (301, "HS_PUBKEY", "key")


def test_the_fingerprint_is_the_one_that_other_tools_show() -> None:
    der = admin_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert fingerprint(admin_key()) == hashlib.sha256(der).hexdigest()


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN ",
        _pem(ec.generate_private_key(ec.SECP256R1())),
        b"{}",
        b"{" * 100_000,
        b'{"kty": "RSA"}',
        b'{"kty": "RSA", "e": "AQAB", "n": "AQAB"}',
        b'{"kty": "RSA", "e": "AQAB", "n": "AQAB", "d": 7}',
        b'{"kty": "oct", "k": "AAAA"}',
        b"[]",
        bytes(100_000),
        b"\0\0\0\x0bRSA_PUB_KEY\0\0",
        b"\0\0\0\x0aDH_PUB_KEY\0\0" + 3 * b"\0\0\0\1\7",
    ],
)
def test_what_is_no_key_is_said_to_be_none(octets: bytes) -> None:
    with pytest.raises(UnreadableKey):
        read_key(octets, lambda: b"passphrase")


@given(st.binary(max_size=200))
def test_any_octets_are_a_key_or_none(octets: bytes) -> None:
    with pytest.raises(UnreadableKey):
        read_key(octets, lambda: b"passphrase")


def test_a_key_is_made_shown_and_never_overwritten(run: Run, tmp_path: Path) -> None:
    private, public = tmp_path / "admpriv.bin", tmp_path / "pubkey.bin"
    code, shown, _ = run("key", "generate", str(private), "--public", str(public))
    assert code == 0
    assert re.fullmatch(r".*admpriv\.bin: private RSA key of 2048 bits, SHA256:[0-9a-f]{64}\n", shown)
    assert private.stat().st_mode & 0o777 == public.stat().st_mode & 0o777 == 0o600
    octets = private.read_bytes()

    code, _, said = run("key", "generate", str(tmp_path / "other.bin"), "--public", str(public))
    assert (code, (tmp_path / "other.bin").exists()) == (2, False)
    assert "--force" in said
    assert run("key", "generate", str(private))[0] == 2
    assert private.read_bytes() == octets

    code, shown, _ = run("key", "show", str(private), "--json")
    facts = json.loads(shown)
    assert (facts["kind"], facts["algorithm"], facts["bits"]) == ("private", "RSA", 2048)
    assert set(facts) == {"file", "kind", "algorithm", "bits", "fingerprint", "blobFingerprint"}
    assert json.loads(run("key", "show", str(public), "--json")[1])["fingerprint"] == facts["fingerprint"]
    assert facts["blobFingerprint"] == hashlib.sha256(public.read_bytes()).hexdigest()
    assert facts["blobFingerprint"] in run("key", "show", str(public))[1]

    target = tmp_path / "admin.pem"
    assert run("key", "convert", str(private), str(target), "--to", "pkcs8")[0] == 0
    assert run("key", "convert", str(public), str(target), "--to", "spki")[0] == 2
    assert run("key", "convert", str(public), str(target), "--to", "spki", "--force")[0] == 0
    assert b"PUBLIC KEY" in target.read_bytes()


def test_an_encrypted_key_takes_its_passphrase_from_a_file_of_its_owner(run: Run, tmp_path: Path) -> None:
    source, target, passphrase = tmp_path / "a.bin", tmp_path / "b.bin", tmp_path / "passphrase"
    source.write_bytes(bytes.fromhex(keys()["admpriv_bin_hex"]))
    source.chmod(0o600)
    passphrase.write_bytes(PASSPHRASE + b"\n")
    words = ("key", "convert", str(source), str(target), "--to", "handle", "--new-passphrase-file")
    code, _, said = run(*words, str(passphrase))
    assert code == 2
    assert "chmod 600" in said
    passphrase.chmod(0o600)
    assert run(*words, str(passphrase))[0] == 0
    assert run("key", "show", str(target), "--passphrase-file", str(passphrase))[0] == 0
    code, _, said = run("key", "show", str(target))
    assert code == 2
    assert "--passphrase-file" in said


def test_private_keys_go_into_files_and_nowhere_else(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "a.bin"
    source.write_bytes(bytes.fromhex(keys()["admpriv_bin_hex"]))
    code, shown, _ = run("key", "convert", str(source), "-", "--to", "jwk")
    assert (code, shown) == (2, "")
    code, shown, _ = run("key", "convert", str(source), "-", "--to", "value")
    assert json.loads(shown)["type"] == "HS_PUBKEY"
    assert "d" not in json.loads(shown)["data"]["value"]


def test_secrets_are_lines_of_files_or_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret"
    file.touch(0o600)
    for octets in (b"", b"\n", b"x" * 5_000):
        file.write_bytes(octets)
        with pytest.raises(SettingsError):
            read_secret(file)
    file.write_bytes(b"s\xe9cret with space \r\nmore")
    assert read_secret(file) == b"s\xe9cret with space "
    with pytest.raises(SettingsError):
        secret_of_variable("HANDLEGRID_NO_SUCH")
    monkeypatch.setenv("HANDLEGRID_TEST_SECRET", "hush")
    assert secret_of_variable("HANDLEGRID_TEST_SECRET") == b"hush"
