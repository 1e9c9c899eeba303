"""`handlegrid import --from-handle-server`: everything that a running server of the Handle System holds."""

import hmac
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import click
import uvloop

from deploy.commands.failure import CommandFailed, ExitCode
from protocol.errors import BadSignature, InvalidHandle, UnreadableKey, WireError
from protocol.handle import Handle
from protocol.private_key import MAX_FILE_OCTETS, decode_private_key, is_encrypted
from protocol.runtime.configuration import read_secret
from protocol.signature import PrivateKey
from protocol.value import ValueReference
from registry.bulk import progress_for
from registry.dump_import import (
    DumpImport,
    DumpOptions,
    DumpReport,
    DumpSource,
    HandleServer,
    Proof,
    SourceRefused,
    find_server,
)
from registry.node import open_node
from registry.settings import RegistrySettings
from registry.statistics import CountedCreations, DailyStatistics

HANDLE_PORT: Final = 2641
_FILE: Final = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class FromServer:
    """What the options say."""

    from_handle_server: str | None
    admin: str | None
    secret_file: Path | None
    private_key_file: Path | None
    passphrase_file: Path | None
    fingerprint: str | None
    home_prefixes: bool
    dry_run: bool
    catch_up: bool
    no_compare: bool


_OPTIONS: Final = (
    click.option(
        "--from-handle-server",
        metavar="HOST[:PORT]",
        help="In place of FILE: take everything from this running server, by its dump operation.",
    ),
    click.option(
        "--admin",
        metavar="INDEX:HANDLE",
        help="Who asks the server: one of its replication administrators, such as 300:88.100/ADMIN.",
    ),
    click.option(
        "--secret-file",
        type=_FILE,
        help="File with the administrator's secret key; asked for when neither is given.",
    ),
    click.option(
        "--private-key-file",
        type=_FILE,
        help="The administrator's private key, as deployed software writes it (admpriv.bin).",
    ),
    click.option("--passphrase-file", type=_FILE, help="Passphrase of the private key; asked for if needed."),
    click.option(
        "--fingerprint",
        metavar="SHA256",
        help="Fingerprint of the server's key; asked to be confirmed when not given.",
    ),
    click.option(
        "--home-prefixes",
        is_flag=True,
        help="Home the server's prefixes here first; the dump is read once more for that.",
    ),
    click.option("--dry-run", is_flag=True, help="From a server: say what would happen, and write nothing."),
    click.option(
        "--catch-up",
        is_flag=True,
        help="From a server whose dump is in: only what changed there since, deletions too.",
    ),
    click.option(
        "--no-compare",
        is_flag=True,
        help="From a server: do not read the dump once more and compare it with what is stored.",
    ),
)


def server_options(command: Command) -> Command:
    """Give a command the options of FromServer."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def import_from_server(
    wanted: FromServer, settings: RegistrySettings, *, replace: bool, rejects: Path | None, unsafe: bool
) -> DumpReport:
    """Import everything that the server holds.

    Raises UsageError, CommandFailed for a server that cannot be trusted or understood, Unreachable.
    """
    if wanted.catch_up and wanted.dry_run:
        raise click.UsageError("--catch-up cannot be tried: it applies what it reads")
    host, port = _address(wanted.from_handle_server or "")
    identity = _identity(wanted.admin)
    server = _found(host, port)
    _confirm(server, wanted.fingerprint)
    proof = Proof(identity=identity, key=_key(wanted, identity))
    options = DumpOptions(
        rejects=rejects or Path(f"{host}.rejected.jsonl".replace(":", "_")),
        replace=replace,
        home_prefixes=wanted.home_prefixes,
        dry_run=wanted.dry_run,
        catch_up=wanted.catch_up,
        compare=not wanted.no_compare,
    )
    return uvloop.run(_import(DumpSource(server, proof), settings, options, unsafe=unsafe))


async def _import(
    source: DumpSource, settings: RegistrySettings, options: DumpOptions, *, unsafe: bool
) -> DumpReport:
    progress = progress_for(sys.stderr)
    async with open_node(settings, unsafe=unsafe) as node:
        work = DumpImport(
            source,
            operations=node.operations,
            creating=CountedCreations(node.operations, DailyStatistics.of(node.store, settings)),
            options=options,
            progress=progress,
            tell=lambda text: click.echo(text, err=True),
        )
        return await work.run()


def _address(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port or HANDLE_PORT
    except ValueError:
        host, port = None, HANDLE_PORT
    if not host or parts.netloc != text or parts.username is not None:
        raise click.UsageError(
            f"--from-handle-server {text}: a host, and a port behind a colon, as in [::1]:2641"
        )
    return host, port


def _identity(text: str | None) -> ValueReference:
    index, colon, name = (text or "").partition(":")
    try:
        if colon and index.isascii() and index.isdigit() and len(index) <= 10:
            return ValueReference(Handle.parse(name).octets, int(index))
    except InvalidHandle:
        pass
    raise click.UsageError("--admin: who asks the server, as INDEX:HANDLE, such as 300:88.100/ADMIN")


def _found(host: str, port: int) -> HandleServer:
    try:
        return uvloop.run(find_server(host, port))
    except (SourceRefused, BadSignature, WireError) as error:
        raise CommandFailed(f"{host} cannot be imported from: {error}", ExitCode.USAGE, {}) from error


def _confirm(server: HandleServer, given: str | None) -> None:
    """Make sure that it is the server: its key came from whoever answers there."""
    seen = server.fingerprint
    if given is not None:
        if hmac.compare_digest(given.replace(":", "").strip().lower().encode(), seen.encode()):
            return
        message = f"{server} shows another key, with the fingerprint {seen}"
        raise CommandFailed(message, ExitCode.USAGE, {"fingerprint": seen})
    click.echo(f"{server} signs with a key that has the SHA-256 fingerprint {seen}", err=True)
    if not sys.stdin.isatty():
        message = f"if that is the server's key, confirm it with --fingerprint {seen}"
        raise CommandFailed(message, ExitCode.USAGE, {"fingerprint": seen})
    click.confirm("Is that the server's key?", abort=True, err=True)


def _key(wanted: FromServer, identity: ValueReference) -> PrivateKey | bytes:
    """The secret key or private key, from a file or a person; never from the command line, which others can see."""
    if wanted.secret_file is not None and wanted.private_key_file is not None:
        raise click.UsageError("either --secret-file or --private-key-file")
    if wanted.private_key_file is not None:
        return _private_key(wanted.private_key_file, wanted.passphrase_file)
    if wanted.secret_file is not None:
        return read_secret("--secret-file", wanted.secret_file).encode()
    typed: str = click.prompt(f"Secret key of {identity}", hide_input=True, err=True)
    return typed.encode()


def _private_key(path: Path, passphrase_file: Path | None) -> PrivateKey:
    with path.open("rb") as file:
        octets = file.read(MAX_FILE_OCTETS + 1)
    passphrase = ""
    if is_encrypted(octets):
        if passphrase_file is not None:
            passphrase = read_secret("--passphrase-file", passphrase_file)
        else:
            passphrase = click.prompt(f"Passphrase of {path}", hide_input=True, err=True)
    try:
        return decode_private_key(octets, passphrase.encode())
    except UnreadableKey as error:
        raise CommandFailed(f"{path}: {error}", ExitCode.USAGE, {}) from None
