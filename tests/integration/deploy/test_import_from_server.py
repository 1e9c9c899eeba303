"""`handlegrid import --from-handle-server`: what is typed, what is asked, and how it ends."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from protocol.private_key import encode_private_key
from protocol.value import HandleValue
from protocol.valuetypes import PublicKey
from registry.dump_import.server import fingerprint_of
from tests.integration.deploy.commanding import Ended, run_command
from tests.support.dump_server import HOST, DumpServer, other_key, serving
from tests.support.keys import admin_key

ADMIN: Final = ("--admin", "300:20.500.12345/ADMIN")
PASSPHRASE: Final = "drei Worte reichen"


def one_record() -> dict[bytes, tuple[bytes, ...]]:
    """A record of a server: its administrator's public key."""
    value = HandleValue(index=301, type="HS_PUBKEY", data=PublicKey.of_rsa(admin_key().public_key()).encode())
    return {b"20.500.12345/ADMIN": (value.encode(),)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """The host of a node: its settings file, and whoever types commands there."""

    settings: Path

    async def run(self, *words: str, code: int = 0) -> Ended:
        """Run an import, which must end with this code."""
        where = ("--config", str(self.settings), "--unsafe")
        ended = await asyncio.to_thread(run_command, (*words, *where))
        assert ended.code == code, f"{words}: {ended.code}\n{ended.out}\n{ended.err}"
        return ended


@pytest.fixture
def office(database: str, tmp_path: Path) -> Office:
    """Give the host of a node that has not begun to run."""
    path = tmp_path / "node.toml"
    path.write_text(f'[registry]\ndata_dir = "{tmp_path}"\nhomes = ["88.100"]\ndatabase = "{database}"\n')
    return Office(settings=path)


async def test_everything_comes_over_by_one_command(office: Office, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("geheim\n")
    words = (*ADMIN, "--rejects", str(tmp_path / "rejected"))
    async with serving(DumpServer(records=one_record())) as server:
        at = ("import", "--from-handle-server", f"{HOST}:{server.port}", "--secret-file", str(secret), *words)

        unconfirmed = await office.run(*at, "--json", code=2)
        fingerprint = unconfirmed.json["failure"]["fingerprint"]
        assert (await office.run(*at, "--fingerprint", "00" * 32, code=2)).err.endswith(f"{fingerprint}\n")

        confirmed = (*at, "--fingerprint", fingerprint.upper(), "--home-prefixes")
        tried = await office.run(*confirmed, "--dry-run", "--json")
        assert (tried.json["created"], tried.json["dry_run"]) == (1, True)

        done = await office.run(*confirmed, "--json")
        assert (done.json["status"], done.json["created"], done.json["over_tls"]) == ("complete", 1, True)
        assert done.json["comparison"]["source_sum"] == done.json["comparison"]["stored_sum"]
        assert "geheim" not in done.out + done.err

        again = await office.run(*confirmed)
        assert "1 unchanged" in again.out

    gone = await office.run(*at, code=3)
    assert str(server.port) in gone.err


async def test_an_encrypted_private_key_proves_who_asks(office: Office, tmp_path: Path) -> None:
    key, passphrase = tmp_path / "admpriv.bin", tmp_path / "passphrase"
    key.write_bytes(encode_private_key(other_key(), PASSPHRASE.encode(), bytes(32)))
    passphrase.write_text(PASSPHRASE)
    administrator = PublicKey.of_rsa(other_key().public_key())
    async with serving(DumpServer(records=one_record(), administrator=administrator)) as server:
        found = ("--from-handle-server", f"{HOST}:{server.port}", "--fingerprint", _fingerprint())
        proof = ("--private-key-file", str(key), "--passphrase-file", str(passphrase))
        done = await office.run("import", *found, *ADMIN, *proof, "--home-prefixes", "--json")
    assert done.json["status"] == "complete"


def _fingerprint() -> str:
    return fingerprint_of(PublicKey.of_rsa(admin_key().public_key()))


async def test_a_server_that_refuses_is_quoted(office: Office, tmp_path: Path) -> None:
    wrong = tmp_path / "secret"
    wrong.write_text("guessed")
    async with serving(DumpServer(records=one_record())) as server:
        found = ("--from-handle-server", f"{HOST}:{server.port}", "--fingerprint", _fingerprint())
        ended = await office.run("import", *found, *ADMIN, "--secret-file", str(wrong), "--json", code=2)
    assert "that is not the key" in ended.json["failure"]
    assert "guessed" not in ended.out + ended.err


MISTAKES: Final = (
    (),
    ("records.csv", "--from-handle-server", "h"),
    ("records.csv", "--dry-run"),
    ("--from-handle-server", "h", "--prefix", "88.100"),
    ("--from-handle-server", "h"),
    ("--from-handle-server", "h", *ADMIN, "--catch-up", "--dry-run"),
    ("--from-handle-server", "h", "--admin", "ADMIN"),
    ("--from-handle-server", "h:70000", *ADMIN),
    ("--from-handle-server", "user@h", *ADMIN),
)


async def test_what_does_not_go_together_is_a_fault_of_usage(office: Office) -> None:
    for words in MISTAKES:
        ended = await office.run("import", *words, code=2)
        assert "Usage:" in ended.err, words
