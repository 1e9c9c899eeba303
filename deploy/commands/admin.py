"""`handlegrid admin`: write to any Handle server, ours or another, over the Handle protocol."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from deploy.commands.admin_access import Access, admin_command, parse_reference
from deploy.commands.admin_batch import batch
from deploy.commands.failure import ExitCode
from deploy.commands.options import SETTINGS_FILE, echo_json
from deploy.commands.resolve import parse_handle, values_to_text
from deploy.commands.text import printable
from protocol.bodies import ResolutionRequest
from protocol.client.administration import Administration
from protocol.codes import ResponseCode
from protocol.errors import InvalidHandle, InvalidValue
from protocol.handle import Handle, Prefix
from protocol.jsonform import record_to_json, values_from_json
from protocol.value import MAX_INDEX, HandleValue, check_index, type_key
from protocol.valuetypes import Admin
from protocol.wire import MAX_MESSAGE_OCTETS, text

ADMIN_INDEX: Final = 100
"""Where records have their administrator by custom."""
INPUT_OCTETS_MAX: Final = 4 * MAX_MESSAGE_OCTETS  # of a JSON file: base64 and names take more than octets do
_STRUCTURED: Final = frozenset(
    {"HS_ADMIN", "HS_SITE", "HS_SITE.6", "HS_SITE.PREFIX", "HS_PUBKEY", "HS_VLIST", "HS_SECKEY"}
)
"""Types whose data no text on a command line is, or must not stand there."""

values_argument: Final = click.argument("values", nargs=-1, metavar="[INDEX:TYPE=DATA]...")
values_option: Final = click.option(
    "--values",
    "file",
    type=SETTINGS_FILE,
    help="JSON file with values, as the record API of nodes gives and takes them.",
)


@click.group(short_help="Write to any Handle server.")
def admin() -> None:
    """Write to any Handle server over its own protocol: ours, or another that speaks it.

    Secrets come from files, the environment or a terminal. The server is found from the root down, or named with
    --server; every challenge is checked to be about the very request that was sent.

    \b
    Examples:
      handlegrid admin create 88.1/pump 1:URL=https://example.com --as 300:0.NA/88.1 --private-key admpriv.bin
      handlegrid admin modify 88.1/pump 1:URL=https://example.org --as 300:88.1/ADMIN --secret-file admin.secret
      handlegrid admin remove 88.1/pump 3 4 --as 300:88.1/ADMIN --secret-env HANDLE_SECRET --transport http
      handlegrid admin show 88.1/pump --as 300:88.1/ADMIN --secret-file admin.secret
      handlegrid admin list 88.1 --as 300:0.NA/88.1 --private-key admpriv.bin --server handles.example:2641
      handlegrid admin batch changes.txt --failed refused.txt
    """


admin.add_command(batch)


@admin.command(short_help="Show a handle, restricted values too.")
@click.argument("handle")
@click.option("--type", "types", multiple=True, help="Only values of this type; may be repeated.")
@click.option("--index", "indexes", multiple=True, type=click.IntRange(0, MAX_INDEX), help="Only this value.")
@admin_command
def show(*, access: Access, handle: str, types: tuple[str, ...], indexes: tuple[int, ...]) -> ExitCode:
    """Show the values of HANDLE, with those that administrators alone may read.

    They come within an encrypted session, unless --no-session says otherwise. With --server, 0.SITE/status is what a
    server tells its own administrators of itself.

    Exit code: 0 shown, 1 refused, 2 usage, 3 no answer.
    """
    if access.in_sessions is None:
        access = replace(access, in_sessions=True)
    question = ResolutionRequest(handle=parse_handle(handle), types=types, indexes=indexes)
    values = access.run(lambda client: client.read(question))
    if access.as_json:
        echo_json(record_to_json(ResponseCode.SUCCESS, question.handle, values=values.sorted()))
    else:
        click.echo(values_to_text(question.handle, values))
    return ExitCode.DONE


@admin.command(short_help="Create a handle.")
@click.argument("handle")
@values_argument
@values_option
@click.option(
    "--admin",
    "administrators",
    multiple=True,
    metavar="INDEX:HANDLE",
    help="Add an HS_ADMIN with every right.",
)
@click.option("--overwrite", is_flag=True, help="Replace the whole record if the handle exists.")
@click.option("--mint", is_flag=True, help="HANDLE is the beginning of a name that the server completes.")
@admin_command
def create(
    *,
    access: Access,
    handle: str,
    values: tuple[str, ...],
    file: Path | None,
    administrators: tuple[str, ...],
    overwrite: bool,
    mint: bool,
) -> ExitCode:
    """Create HANDLE with values.

    Exit code: 0 created, 1 refused, 2 usage, 3 no answer.
    """
    name, given = parse_handle(handle), read_values(values, file, administrators)
    created = access.run(lambda client: client.create(name, given, overwrite=overwrite, mint=mint))
    return _say(access, created, "created")


@admin.command(short_help="Add values.")
@click.argument("handle")
@values_argument
@values_option
@click.option("--overwrite", is_flag=True, help="Replace values that have the same indexes.")
@admin_command
def add(
    *, access: Access, handle: str, values: tuple[str, ...], file: Path | None, overwrite: bool
) -> ExitCode:
    """Add values to HANDLE.

    Exit code: 0 added, 1 refused, 2 usage, 3 no answer.
    """
    name, given = parse_handle(handle), read_values(values, file)
    access.run(lambda client: client.add(name, given, overwrite=overwrite))
    return _say(access, name, "values added")


@admin.command(short_help="Modify values.")
@click.argument("handle")
@values_argument
@values_option
@admin_command
def modify(*, access: Access, handle: str, values: tuple[str, ...], file: Path | None) -> ExitCode:
    """Put values in place of those of HANDLE that have the same indexes.

    Exit code: 0 modified, 1 refused, 2 usage, 3 no answer.
    """
    name, given = parse_handle(handle), read_values(values, file)
    access.run(lambda client: client.modify(name, given))
    return _say(access, name, "values modified")


@admin.command(short_help="Remove values.")
@click.argument("handle")
@click.argument("indexes", nargs=-1, required=True, type=click.IntRange(1, MAX_INDEX))
@admin_command
def remove(*, access: Access, handle: str, indexes: tuple[int, ...]) -> ExitCode:
    """Remove the values of HANDLE with these INDEXES.

    Exit code: 0 removed, 1 refused, 2 usage, 3 no answer.
    """
    name = parse_handle(handle)
    access.run(lambda client: client.remove(name, indexes))
    return _say(access, name, "values removed")


@admin.command(short_help="Delete a handle.")
@click.argument("handle")
@admin_command
def delete(*, access: Access, handle: str) -> ExitCode:
    """Delete HANDLE with all of its values.

    Exit code: 0 deleted, 1 refused, 2 usage, 3 no answer.
    """
    name = parse_handle(handle)
    access.run(lambda client: client.delete(name))
    return _say(access, name, "deleted")


@admin.command(name="list", short_help="List the handles of a prefix.")
@click.argument("prefix")
@click.option("--derived", is_flag=True, help="The prefixes below it instead.")
@click.option("--limit", type=click.IntRange(0), default=0, help="At most so many.  [default: all]")
@admin_command
def list_(*, access: Access, prefix: str, derived: bool, limit: int) -> ExitCode:
    """List the handles below PREFIX, one a line, as they come.

    With --json all of them are one document, which is printed at the end.

    Exit code: 0 listed, 1 refused, 2 usage, 3 no answer, or it ends before the list does.
    """
    below = parse_prefix(prefix)
    names: list[str] = []

    async def work(client: Administration) -> None:
        listed = client.list_derived(below) if derived else client.list_handles(below)
        count = 0
        async for name in listed:
            if access.as_json:
                names.append(text(name))
            else:
                click.echo(printable(text(name)))
            count += 1
            if count == limit:
                await listed.aclose()
                return

    access.run(work)
    if access.as_json:
        echo_json({"prefix": str(below), "names": names})
    return ExitCode.DONE


@admin.command(short_help="Have a server answer for a prefix.")
@click.argument("prefix")
@admin_command
def home(*, access: Access, prefix: str) -> ExitCode:
    """Have a server answer for PREFIX from now on; name it with --server.

    Exit code: 0 homed, 1 refused, 2 usage, 3 no answer.
    """
    which = parse_prefix(prefix)
    access.run(lambda client: client.home(which))
    return _say(access, which.record, "homed")


@admin.command(short_help="Have a server answer for a prefix no more.")
@click.argument("prefix")
@admin_command
def unhome(*, access: Access, prefix: str) -> ExitCode:
    """Have a server answer for PREFIX no more; name it with --server.

    Exit code: 0 unhomed, 1 refused, 2 usage, 3 no answer.
    """
    which = parse_prefix(prefix)
    access.run(lambda client: client.unhome(which))
    return _say(access, which.record, "unhomed")


def parse_prefix(name: str) -> Prefix:
    """A prefix, or its record 0.NA/…, on the command line. Raises UsageError."""
    try:
        handle = Handle.parse(name)
        return handle.subject if handle.is_prefix_record else Prefix.parse(name)
    except InvalidHandle as error:
        raise click.UsageError(f"{name!r} is no prefix: {error}") from None


def read_values(
    texts: tuple[str, ...], file: Path | None, administrators: tuple[str, ...] = ()
) -> list[HandleValue]:
    """The values that a command line describes. Raises UsageError, InvalidValue that says what is wrong."""
    values = [_parse_value(each) for each in texts]
    if file is not None:
        try:
            values += values_from_json(_read_json(file))
        except InvalidValue as error:
            raise InvalidValue(f"{file}: {error}") from None
    for number, administrator in enumerate(administrators):
        data = Admin(parse_reference(administrator)).encode()
        values.append(HandleValue(index=ADMIN_INDEX + number, type="HS_ADMIN", data=data))
    if not values:
        raise click.UsageError("name at least one value: INDEX:TYPE=DATA, or --values FILE")
    indexes = [value.index for value in values]
    twice = next((index for index in indexes if indexes.count(index) > 1), None)
    if twice is not None:
        raise click.UsageError(f"two values have the index {twice}")
    return values


def _parse_value(given: str) -> HandleValue:
    head, equals, data = given.partition("=")
    index, colon, kind = head.partition(":")
    if not equals or not colon or not kind or not index.isascii() or not index.isdigit():
        raise click.UsageError(f"{given[:80]!r} is no value; write INDEX:TYPE=DATA, such as 1:URL=https://…")
    if type_key(kind) in _STRUCTURED:
        raise click.UsageError(f"{kind} does not go on a command line: describe it in a file for --values")
    return HandleValue(
        index=check_index(int(index[:11])), type=kind, data=data.encode("utf-8", "surrogateescape")
    )


def _read_json(file: Path) -> Any:
    with file.open("rb") as stream:
        octets = stream.read(INPUT_OCTETS_MAX + 1)
    if len(octets) > INPUT_OCTETS_MAX:
        raise click.UsageError(f"{file}: more octets than one message carries")
    try:
        return json.loads(octets)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"{file}: no JSON: {error}") from None


def _say(access: Access, handle: Handle, what: str) -> ExitCode:
    if access.as_json:
        echo_json({"handle": str(handle), "result": what})
    else:
        click.echo(printable(f"{handle}: {what}"))
    return ExitCode.DONE
