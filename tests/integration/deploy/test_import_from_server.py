"""`handlegrid import --from-handle-server`: what is typed, what is asked, and how it ends."""

from pathlib import Path
from typing import Final

from protocol.private_key import encode_private_key
from protocol.value import HandleValue
from protocol.valuetypes import PublicKey
from registry.dump_import.server import fingerprint_of
from tests.integration.deploy.commanding import Desk
from tests.support.dump_server import HOST, DumpServer, other_key, serving
from tests.support.keys import admin_key

ADMIN: Final = ("--admin", "300:20.500.12345/ADMIN")
PASSPHRASE: Final = "drei Worte reichen"


def one_record() -> dict[bytes, tuple[bytes, ...]]:
    """A record of a server: its administrator's public key."""
    value = HandleValue(index=301, type="HS_PUBKEY", data=PublicKey.of_rsa(admin_key().public_key()).encode())
    return {b"20.500.12345/ADMIN": (value.encode(),)}


async def test_everything_comes_over_by_one_command(desk: Desk, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("geheim\n")
    words = (*ADMIN, "--rejects", str(tmp_path / "rejected"), *desk.where)
    async with serving(DumpServer(records=one_record())) as server:
        at = ("import", "--from-handle-server", f"{HOST}:{server.port}", "--secret-file", str(secret), *words)

        unconfirmed = await desk.run(*at, "--json", code=2)
        fingerprint = unconfirmed.json["failure"]["fingerprint"]
        assert (await desk.run(*at, "--fingerprint", "00" * 32, code=2)).err.endswith(f"{fingerprint}\n")

        confirmed = (*at, "--fingerprint", fingerprint.upper(), "--home-prefixes")
        tried = await desk.run(*confirmed, "--dry-run", "--json")
        assert (tried.json["created"], tried.json["dry_run"]) == (1, True)

        done = await desk.run(*confirmed, "--json")
        assert (done.json["status"], done.json["created"], done.json["over_tls"]) == ("complete", 1, True)
        assert done.json["comparison"]["source_sum"] == done.json["comparison"]["stored_sum"]
        assert "geheim" not in done.out + done.err

        again = await desk.run(*confirmed)
        assert "1 unchanged" in again.out

    gone = await desk.run(*at, code=3)
    assert str(server.port) in gone.err


async def test_an_encrypted_private_key_proves_who_asks(desk: Desk, tmp_path: Path) -> None:
    key, passphrase = tmp_path / "admpriv.bin", tmp_path / "passphrase"
    key.write_bytes(encode_private_key(other_key(), PASSPHRASE.encode(), bytes(32)))
    passphrase.write_text(PASSPHRASE)
    administrator = PublicKey.of_rsa(other_key().public_key())
    async with serving(DumpServer(records=one_record(), administrator=administrator)) as server:
        found = ("--from-handle-server", f"{HOST}:{server.port}", "--fingerprint", _fingerprint())
        proof = ("--private-key-file", str(key), "--passphrase-file", str(passphrase))
        done = await desk.run("import", *found, *ADMIN, *proof, "--home-prefixes", "--json", *desk.where)
    assert done.json["status"] == "complete"


def _fingerprint() -> str:
    return fingerprint_of(PublicKey.of_rsa(admin_key().public_key()))


async def test_a_server_that_refuses_is_quoted(desk: Desk, tmp_path: Path) -> None:
    wrong = tmp_path / "secret"
    wrong.write_text("guessed")
    async with serving(DumpServer(records=one_record())) as server:
        found = ("--from-handle-server", f"{HOST}:{server.port}", "--fingerprint", _fingerprint())
        ended = await desk.run(
            "import", *found, *ADMIN, "--secret-file", str(wrong), "--json", *desk.where, code=2
        )
    assert "that is not the key" in ended.json["failure"]
    assert "guessed" not in ended.out + ended.err


MISTAKES: Final = (
    (),
    ("records.csv", "--from-handle-server", "h"),
    ("records.csv", "--dry-run"),
    ("--from-handle-server", "h", "--prefix", "88.100"),
    ("--from-handle-server", "h"),
    ("--from-handle-server", "h", "--admin", "ADMIN"),
    ("--from-handle-server", "h:70000", *ADMIN),
    ("--from-handle-server", "user@h", *ADMIN),
)


async def test_what_does_not_go_together_is_a_fault_of_usage(desk: Desk) -> None:
    for words in MISTAKES:
        ended = await desk.run("import", *words, *desk.where, code=2)
        assert "Usage:" in ended.err, words
