"""`handlegrid key`: keys of administrators and servers, in every form that Handle software and others know."""

import stat
from pathlib import Path
from typing import Final

import click
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.dsa import DSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from deploy.commands.failure import ExitCode
from deploy.commands.options import SETTINGS_FILE, echo_json, json_option
from deploy.commands.saving import SAVE_FILE, check_new, save_new
from deploy.commands.secrets import read_secret, typed_secret
from deploy.commands.text import INDENT
from deploy.key_forms import (
    ENCRYPTED_FORMS,
    AnyKey,
    Passphrase,
    PrivateForm,
    PublicForm,
    algorithm,
    blob_fingerprint,
    fingerprint,
    public_half,
    read_key,
    read_private_key,
    write_private,
    write_public,
)
from protocol.errors import InvalidValue, UnreadableKey
from protocol.private_key import MAX_FILE_OCTETS
from protocol.signature import PrivateKey
from protocol.value import MAX_INDEX

KEY_FILE: Final = SETTINGS_FILE
DEFAULT_INDEX: Final = 300
"""Where records have their administrator's key by custom."""

passphrase_option: Final = click.option(
    "--passphrase-file",
    type=KEY_FILE,
    help="File with the passphrase of the key.  [default: it is asked for]",
)
force_option: Final = click.option("--force", is_flag=True, help="Overwrite a file that is there.")
index_option: Final = click.option(
    "--index",
    type=click.IntRange(1, MAX_INDEX),
    default=DEFAULT_INDEX,
    show_default=True,
    help="Index of the value, in the form `value`.",
)


@click.group(short_help="Keys of administrators and servers.")
def key() -> None:
    """Keys: make, convert, show. Files that are written are yours alone (mode 0600).

    \b
    Forms of private keys:  handle (files of Handle software, such as admpriv.bin), pkcs8, pkcs1, jwk
    Forms of public keys:   blob (data of HS_PUBKEY, such as pubkey.bin), spki, jwk-public, value (JSON, for a record)

    \b
    Examples:
      handlegrid key generate admpriv.bin --public pubkey.bin
      handlegrid key generate admin.pem --bits 4096 --form pkcs8 --encrypt --public value.json --public-form value
      handlegrid key convert admpriv.bin admin.pem --to pkcs8
      handlegrid key convert admpriv.bin value.json --to value --index 301
      handlegrid key show admpriv.bin
    """


@key.command(short_help="Make an RSA key.")
@click.argument("file", type=SAVE_FILE)
@click.option(
    "--bits", type=click.Choice(["2048", "3072", "4096"]), default="2048", show_default=True, help="Its size."
)
@click.option(
    "--form",
    type=click.Choice([str(form) for form in PrivateForm]),
    default=str(PrivateForm.HANDLE),
    show_default=True,
    help="Form of FILE.",
)
@click.option("--encrypt", is_flag=True, help="Encrypt it with a passphrase, which is asked for.")
@click.option("--passphrase-file", type=KEY_FILE, help="Encrypt it with the passphrase in this file.")
@click.option("--public", type=SAVE_FILE, help="Write the public half to this file.")
@click.option(
    "--public-form",
    type=click.Choice([str(form) for form in PublicForm]),
    default=str(PublicForm.BLOB),
    show_default=True,
    help="Form of that file.",
)
@index_option
@force_option
@json_option
def generate(
    *,
    file: Path,
    bits: str,
    form: str,
    encrypt: bool,
    passphrase_file: Path | None,
    public: Path | None,
    public_form: str,
    index: int,
    force: bool,
    as_json: bool,
) -> ExitCode:
    """Make an RSA key and write it to FILE.

    Exit code: 0 made, 2 a file is there or cannot be written.
    """
    passphrase = _new_passphrase(passphrase_file, encrypt=encrypt)
    if passphrase and PrivateForm(form) not in ENCRYPTED_FORMS:
        raise click.UsageError(f"--form {form} has no good encryption: choose handle or pkcs8")
    if not force:
        check_new(file, *([] if public is None else [public]))
    made = rsa.generate_private_key(public_exponent=65_537, key_size=int(bits))
    save_new(file, write_private(made, PrivateForm(form), passphrase), force=force)
    if public is not None:
        save_new(public, write_public(made, PublicForm(public_form), index=index), force=force)
    _tell(made, file, as_json=as_json)
    return ExitCode.DONE


@key.command(short_help="Write a key in another form.")
@click.argument("source", type=KEY_FILE)
@click.argument("target", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@click.option(
    "--to",
    "form",
    required=True,
    type=click.Choice([str(form) for form in (*PrivateForm, *PublicForm)]),
    help="Form of TARGET.",
)
@passphrase_option
@click.option("--encrypt", is_flag=True, help="Encrypt TARGET with a passphrase, which is asked for.")
@click.option("--new-passphrase-file", type=KEY_FILE, help="Encrypt TARGET with the passphrase in this file.")
@index_option
@force_option
@json_option
def convert(
    *,
    source: Path,
    target: Path,
    form: str,
    passphrase_file: Path | None,
    encrypt: bool,
    new_passphrase_file: Path | None,
    index: int,
    force: bool,
    as_json: bool,
) -> ExitCode:
    """Write the RSA or DSA key in SOURCE, whatever its form, to TARGET in the form --to; - is standard output.

    A private form needs a private key, and is not written to standard output.

    Exit code: 0 written, 2 a file is there, or cannot be read or written.
    """
    if form in {str(each) for each in PublicForm}:
        if encrypt or new_passphrase_file:
            raise click.UsageError(f"--to {form} is public, and not encrypted")
        found: AnyKey = public_half(load_key(source, passphrase_file))
        octets = write_public(found, PublicForm(form), index=index)
    elif str(target) == "-":
        raise click.UsageError(f"--to {form} is private: name a file, which is yours alone")
    else:
        found = load_private_key(source, passphrase_file)
        passphrase = _new_passphrase(new_passphrase_file, encrypt=encrypt)
        try:
            octets = write_private(found, PrivateForm(form), passphrase)
        except InvalidValue as error:
            raise click.UsageError(f"--to {form}: {error}") from None
    if str(target) == "-":
        click.echo(octets, nl=False)
        return ExitCode.DONE
    save_new(target, octets, force=force)
    _tell(found, target, as_json=as_json)
    return ExitCode.DONE


@key.command(short_help="What a key is, without its secrets.")
@click.argument("file", type=KEY_FILE)
@passphrase_option
@json_option
def show(*, file: Path, passphrase_file: Path | None, as_json: bool) -> ExitCode:
    """Show algorithm, size and fingerprint of the key in FILE, and never a private part of it.

    The fingerprint is SHA-256 of the public key as SubjectPublicKeyInfo, which other tools show as well; that of the
    blob, as `sha256sum pubkey.bin` has it, is what `handlegrid import --from-handle-server` shows of a server.

    Exit code: 0 shown, 2 it is no key, or encrypted with another passphrase.
    """
    found = load_key(file, passphrase_file)
    _tell(found, file, as_json=as_json)
    if not as_json:
        click.echo(f"{INDENT}as data of HS_PUBKEY: {blob_fingerprint(found)}")
    return ExitCode.DONE


def load_key(file: Path, passphrase_file: Path | None) -> AnyKey:
    """The key in a file. Raises UnreadableKey that names it, OSError."""
    octets = _read(file)
    try:
        return read_key(octets, _passphrase_of(file, passphrase_file))
    except UnreadableKey as error:
        raise UnreadableKey(f"{file}: {error}") from None


def load_private_key(file: Path, passphrase_file: Path | None) -> PrivateKey:
    """The private key in a file; who has left it open to others is warned. Raises UnreadableKey, OSError."""
    return _load_private_key(file, _passphrase_of(file, passphrase_file))


def key_in(file: Path, passphrase: bytes) -> PrivateKey:
    """The same with a passphrase that is known; asked for when there is none and the key needs it."""
    return _load_private_key(file, (lambda: passphrase) if passphrase else _passphrase_of(file, None))


def _load_private_key(file: Path, passphrase: Passphrase) -> PrivateKey:
    octets = _read(file)
    try:
        found = read_private_key(octets, passphrase)
    except UnreadableKey as error:
        raise UnreadableKey(f"{file}: {error}") from None
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        click.echo(f"warning: others may read {file}; close it with `chmod 600 {file}`", err=True)
    return found


def _read(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(MAX_FILE_OCTETS + 1)


def _passphrase_of(file: Path, passphrase_file: Path | None) -> Passphrase:
    """Asks for the passphrase of a key, when it turns out to need one."""
    if passphrase_file is not None:
        return lambda: read_secret(passphrase_file)
    return lambda: typed_secret(f"passphrase of {file}", "--passphrase-file")


def _new_passphrase(passphrase_file: Path | None, *, encrypt: bool) -> bytes:
    """The passphrase for a file that is written; none when nobody asks for encryption."""
    if passphrase_file is not None:
        return read_secret(passphrase_file)
    return typed_secret("new passphrase", "a file", confirm=True) if encrypt else b""


def _tell(found: AnyKey, file: Path, *, as_json: bool) -> None:
    private = isinstance(found, RSAPrivateKey | DSAPrivateKey)
    facts = {
        "file": str(file),
        "kind": "private" if private else "public",
        "algorithm": algorithm(found),
        "bits": found.key_size,
        "fingerprint": f"SHA256:{fingerprint(found)}",
        "blobFingerprint": blob_fingerprint(found),
    }
    if as_json:
        echo_json(facts)
    else:
        click.echo("{file}: {kind} {algorithm} key of {bits} bits, {fingerprint}".format_map(facts))
