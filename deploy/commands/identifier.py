"""`handlegrid id`: register, read, change and end identifiers, one at a time or a file of them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import click
import msgspec
from msgspec import UNSET

from deploy.commands.api import KEY_OF_HOLDER, Api, api_command, limit_option, read_json, take
from deploy.commands.failure import ExitCode
from deploy.commands.options import echo_json
from deploy.commands.organisation import FILE, version_option
from deploy.commands.ranges import range_
from deploy.commands.registering import register_file
from deploy.commands.tables import format_table
from deploy.commands.text import format_fields
from deploy.commands.values import merge_values, parse_values, value_row, without_timestamps
from registry.api.schemas.identifiers import (
    Identifier,
    IdentifierFilter,
    IdentifierVersion,
    ListedIdentifier,
    Written,
)
from registry.client import RegistryClient
from registry.identifiers.forms import NewIdentifier, NewValues, StateChange
from registry.identifiers.states import IdentifierState

LINES: Final = (".jsonl", ".ndjson")
STATES: Final = [str(state) for state in IdentifierState]


@click.group(name="id", short_help="Identifiers and ranges.")
def identifier() -> None:
    """Identifiers: register, show, list, change, suspend, retire, delete.

    \b
    Examples:
      handlegrid id register 88.100.1/pump-7 URL=https://example.com/pump-7 --node 88.100.1
      handlegrid id register --prefix 88.100.1 --mint "P-{yyyy}-{seq:6}" URL=https://example.com --node 88.100.1
      handlegrid id register --file catalogue.jsonl --url https://node.example:8000 --key-file line4.key
      handlegrid id update 88.100.1/pump-7 URL=https://example.com/pump-7b --node 88.100.1
      handlegrid id state 88.100.1/pump-7 retired --reason "replaced" --node 88.100.1
    """


identifier.add_command(range_)


@identifier.command(short_help="Register one, or a file.")
@click.argument("name", required=False)
@click.argument("values", nargs=-1, metavar="[VALUE]...")
@click.option(
    "--file", type=FILE, help="JSON of one identifier, or JSON Lines of many; - for standard input."
)
@click.option("--lines", is_flag=True, help="The file holds JSON Lines, whatever its name.")
@click.option("--prefix", help="With --mint: below which prefix.")
@click.option("--mint", help="Make the suffix: `random`, or a pattern such as PUMP-{yyyy}-{seq:6}.")
@click.option("--range", "range_id", help="The range that the suffix was reserved in.")
@click.option("--draft", is_flag=True, help="A draft is known to nobody but its owner.")
@click.option(
    "--rejects", type=click.Path(dir_okay=False, path_type=Path), help="File for lines that were refused."
)
@api_command(writes=True, key_of=KEY_OF_HOLDER)
def register(
    *,
    api: Api,
    name: str | None,
    values: tuple[str, ...],
    file: Path | None,
    lines: bool,
    prefix: str | None,
    mint: str | None,
    range_id: str | None,
    draft: bool,
    rejects: Path | None,
) -> ExitCode:
    """Register the identifier NAME with VALUES, each TYPE=DATA or INDEX:TYPE=DATA.

    Or with --mint under a name that the node makes; or what a file describes: as JSON one identifier, as JSON Lines
    (.jsonl, .ndjson) any number of them, 1,000 in a request. One is like

    \b
      {"identifier": "88.100.1/pump-7",
       "values": [{"index": 1, "type": "URL", "data": "https://example.com/pump-7"}]}

    A file whose registration was interrupted is repeated safely when both runs name the same --idempotency-key.

    Exit code: 0 all are registered, 1 denied or some refused, 2 usage, 3 no answer.
    """
    if file and (name or mint or prefix or range_id or draft):
        raise click.UsageError("say either --file, or the identifier and its values")
    if file and (lines or file.suffix.lower() in LINES):
        return register_file(api, file, rejects)
    if file:
        new = read_json(file, NewIdentifier)
    else:
        new = _described(name, values, prefix, mint)
        new.range = range_id or UNSET
        new.state = "draft" if draft else "active"
    _tell(api, api.run(lambda client: client.identifiers.create(new, how=api.how)))
    return ExitCode.DONE


def _described(
    name: str | None, values: tuple[str, ...], prefix: str | None, mint: str | None
) -> NewIdentifier:
    """The identifier that the command line describes. Raises UsageError."""
    if mint:
        if not prefix:
            raise click.UsageError("--mint takes --prefix: below which prefix?")
        texts = values if name is None else (name, *values)  # there is no name, so that it is a value
        return NewIdentifier(prefix=prefix, mint=mint, values=parse_values(texts))
    if prefix:
        raise click.UsageError("--prefix goes with --mint; a NAME holds its prefix")
    if name is None or not values:
        raise click.UsageError("say what to register: NAME and its values, --mint, or --file")
    return NewIdentifier(identifier=name, values=parse_values(values))


@identifier.command(short_help="Show one.")
@click.argument("name")
@click.option("--version", type=click.IntRange(1), help="As it was in this version.")
@click.option("--at", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), help="As it was then, in UTC.")
@click.option("--restricted", is_flag=True, help="The values that are not public; this is audited.")
@api_command(key_of=KEY_OF_HOLDER)
def show(*, api: Api, name: str, version: int | None, at: datetime | None, restricted: bool) -> None:
    """Show the identifier NAME as its owner sees it: as it is, or as it was."""
    if restricted:
        values = api.run(lambda client: client.identifiers.restricted(name))
        if api.as_json:
            echo_json({"values": msgspec.to_builtins(values)})
        else:
            click.echo(format_table([value_row(value) for value in values]) if values else "none")
        return
    moment = None if at is None else at.replace(tzinfo=UTC)
    found = api.run(lambda client: client.identifiers.get(name, version=version, at=moment))
    if api.as_json:
        api.show(found)
    else:
        click.echo(_text(found))


def _text(found: Identifier) -> str:
    """An identifier as fields, and its public values as a table."""
    head = {name: part for name, part in msgspec.to_builtins(found).items() if name != "values"}
    rows = [value_row(value) for value in found.values]
    return format_fields(head) + "\n\n" + (format_table(rows) if rows else "no public values")


@identifier.command(name="list", short_help="List those below a prefix.")
@click.argument("prefix")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--from", "start", default="", help="Begin with this suffix.")
@limit_option
@api_command(key_of=KEY_OF_HOLDER)
def list_(*, api: Api, prefix: str, state: str | None, start: str, limit: int) -> None:
    """List the identifiers below PREFIX in the order of their names, drafts too."""

    def row(found: ListedIdentifier) -> tuple[object, ...]:
        return found.identifier, found.state, found.version, found.changed.isoformat(timespec="seconds")

    which = IdentifierFilter(prefix=prefix, state=IdentifierState(state) if state else None, start=start)
    shown = api.run(lambda client: take(client.identifiers.every(which), limit))
    api.show_list(shown, ("IDENTIFIER", "STATE", "VERSION", "CHANGED"), row)


@identifier.command(short_help="Change its values.")
@click.argument("name")
@click.argument("values", nargs=-1, metavar="[VALUE]...")
@click.option(
    "--remove", "removed", multiple=True, type=click.IntRange(1), help="Remove the value of this index."
)
@click.option("--file", type=FILE, help='JSON with all values: {"values": [...]}; the others go.')
@version_option
@api_command(writes=True, key_of=KEY_OF_HOLDER)
def update(
    *,
    api: Api,
    name: str,
    values: tuple[str, ...],
    removed: tuple[int, ...],
    file: Path | None,
    version: int | None,
) -> None:
    """Change values of NAME: VALUES replace those of their index or type, or are added; the others stay."""
    if bool(file) == bool(values or removed):
        raise click.UsageError("say what changes: VALUES or --remove, or all values in --file")
    whole = read_json(file, NewValues).values if file else None

    async def work(client: RegistryClient) -> Written:
        present = await client.identifiers.get(name)
        wanted = whole or merge_values(without_timestamps(present.values), values, removed)
        return await client.identifiers.replace(name, wanted, version=version or present.version, how=api.how)

    _tell(api, api.run(work))


@identifier.command(short_help="Activate, suspend, retire.")
@click.argument("name")
@click.argument("state", type=click.Choice(["active", "suspended", "retired"]))
@click.option("--reason", help="Why; everybody is told. Needed to suspend and to retire.")
@click.option("--successor", help="What replaces a retired one.")
@click.option("--redirect", is_flag=True, help="Send who resolves a retired one on to its successor.")
@version_option
@api_command(writes=True, key_of=KEY_OF_HOLDER)
def state(
    *,
    api: Api,
    name: str,
    state: Literal["active", "suspended", "retired"],
    reason: str | None,
    successor: str | None,
    redirect: bool,
    version: int | None,
) -> None:
    """Give NAME another STATE. What is retired stays so, and says what replaces it."""
    change = StateChange(state=state, reason=reason, successor=successor, redirect=redirect)
    _tell(
        api, api.run(lambda client: client.identifiers.set_state(name, change, version=version, how=api.how))
    )


@identifier.command(short_help="Delete it.")
@click.argument("name")
@version_option
@api_command(writes=True, key_of=KEY_OF_HOLDER)
def delete(*, api: Api, name: str, version: int | None) -> None:
    """Delete NAME; it may be registered again. What is on products already is better retired."""
    api.run(lambda client: client.identifiers.delete(name, version=version, how=api.how))
    api.say(f"{name}: deleted")


@identifier.command(short_help="What it was.")
@click.argument("name")
@limit_option
@api_command(key_of=KEY_OF_HOLDER)
def versions(*, api: Api, name: str, limit: int) -> None:
    """List the versions of NAME, the latest first; `show --version` shows one."""

    def row(version: IdentifierVersion) -> tuple[object, ...]:
        until = version.until and version.until.isoformat(timespec="seconds")
        return version.version, version.state, version.since.isoformat(timespec="seconds"), until

    shown = api.run(lambda client: take(client.identifiers.versions(name), limit))
    api.show_list(shown, ("VERSION", "STATE", "SINCE", "UNTIL"), row)


def _tell(api: Api, done: Written) -> None:
    api.show(done, f"{done.identifier}: {done.result}, version {done.version}")
