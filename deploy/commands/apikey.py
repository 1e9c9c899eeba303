"""`handlegrid apikey`: API keys; a token is shown once, or written to a file of its owner alone."""

import asyncio
from pathlib import Path
from typing import Final

import click

from deploy.commands.api import Api, api_command, limit_option, reason_option, take
from deploy.commands.options import (
    config_option,
    echo_json,
    home_option,
    json_option,
    node_option,
    settings_of,
)
from deploy.commands.saving import SAVE_FILE, check_save, save_option
from registry.accounts.key import OVERLAP, OVERLAP_MAX, VALIDITY, VALIDITY_MAX
from registry.accounts.keys import ShownKey
from registry.accounts.roles import Right
from registry.accounts.service import Accounts
from registry.api.schemas.apikeys import ApiKeyFilter, ApiKeyShown, ApiKeyView, KeyRotation, NewApiKey
from registry.node import open_node
from registry.outcomes import COMMAND
from registry.secret_files import write_secret_file
from registry.settings import RegistrySettings, load_registry_settings

RIGHTS: Final = [str(right) for right in Right]

replacing_save_option: Final = click.option(
    "--save",
    type=SAVE_FILE,
    help="File for the token, yours alone; what it holds is replaced.  [default: it is printed, once]",
)
days_option: Final = click.option(
    "--days",
    type=click.IntRange(1, VALIDITY_MAX.days),
    default=VALIDITY.days,
    show_default=True,
    help="How long it is valid.",
)


@click.group(short_help="API keys.")
def apikey() -> None:
    """API keys: make, rotate, suspend, revoke.

    \b
    Examples:
      handlegrid apikey create "line 4" --right identifier:write --prefix 88.100.1 --save line4.key --node 88.100
      handlegrid apikey rotate key_… --save line4.key --node 88.100
      handlegrid apikey operator --config registry.toml --save operator.key
    """


@apikey.command(short_help="Make a key.")
@click.argument("name")
@click.option(
    "--right",
    "rights",
    multiple=True,
    required=True,
    metavar="RIGHT",
    type=click.Choice(RIGHTS),
    help="What it may do; may be repeated: " + ", ".join(RIGHTS) + ".",
)
@click.option("--prefix", "prefixes", multiple=True, help="Limit it to this prefix; may be repeated.")
@click.option("--organisation", help="Id of the organisation.  [default: yours, or the node itself]")
@click.option("--test", is_flag=True, help="It may write with --dry-run only.")
@days_option
@save_option
@api_command(writes=True)
def create(
    *,
    api: Api,
    name: str,
    rights: tuple[str, ...],
    prefixes: tuple[str, ...],
    organisation: str | None,
    test: bool,
    days: int,
    save: Path | None,
) -> None:
    """Make a key that is called NAME in lists. It has no right that you lack."""
    check_save(save)
    new = NewApiKey(
        organisation=organisation,
        name=name,
        rights=[Right(right) for right in rights],
        prefixes=list(prefixes) or None,
        test=test,
        valid_days=days,
    )
    made = api.run(lambda client: client.api_keys.create(new, how=api.how))
    _show_token(api, made, save)


@apikey.command(name="list", short_help="List keys.")
@click.option("--organisation", help="Only those of this one.")
@limit_option
@api_command()
def list_(*, api: Api, organisation: str | None, limit: int) -> None:
    """List the keys that you may see, without their secrets."""
    which = ApiKeyFilter(organisation=organisation)
    shown = api.run(lambda client: take(client.api_keys.every(which), limit))
    api.show_list(shown, ("ID", "STATE", "EXPIRES", "LAST USED", "ORGANISATION", "NAME"), _row)


def _row(key: ApiKeyView) -> tuple[object, ...]:
    used = key.last_used and key.last_used.isoformat(timespec="minutes")
    return key.id, key.state, key.expires.date(), used, key.organisation, key.name


@apikey.command(short_help="Show one key.")
@click.argument("key")
@api_command()
def show(*, api: Api, key: str) -> None:
    """Show KEY, without its secret."""
    api.show(api.run(lambda client: client.api_keys.get(key)))


@apikey.command(short_help="Give a key another token.")
@click.argument("key")
@click.option(
    "--overlap-days",
    type=click.IntRange(0, OVERLAP_MAX.days),
    default=OVERLAP.days,
    show_default=True,
    help="How long the present token stays valid beside it.",
)
@days_option
@replacing_save_option
@api_command(writes=True)
def rotate(*, api: Api, key: str, overlap_days: int, days: int, save: Path | None) -> None:
    """Give KEY another token; the present one stays valid for a while, so that programs can change over."""
    check_save(save, replaces=True)
    rotation = KeyRotation(overlap_days=overlap_days, valid_days=days)
    made = api.run(lambda client: client.api_keys.rotate(key, rotation, how=api.how))
    _show_token(api, made, save)


@apikey.command(short_help="Refuse a key for now.")
@click.argument("key")
@reason_option
@api_command(writes=True)
def suspend(*, api: Api, key: str, reason: str) -> None:
    """Refuse KEY, within a second, until it is resumed."""
    changed = api.run(lambda client: client.api_keys.suspend(key, reason, how=api.how))
    api.show(changed, f"{changed.id} {changed.name}: {changed.state}")


@apikey.command(short_help="Accept a key again.")
@click.argument("key")
@reason_option
@api_command(writes=True)
def resume(*, api: Api, key: str, reason: str) -> None:
    """Accept KEY again."""
    changed = api.run(lambda client: client.api_keys.resume(key, reason, how=api.how))
    api.show(changed, f"{changed.id} {changed.name}: {changed.state}")


@apikey.command(short_help="Refuse a key for good.")
@click.argument("key")
@api_command(writes=True)
def revoke(*, api: Api, key: str) -> None:
    """Refuse KEY for good, within a second."""
    api.run(lambda client: client.api_keys.revoke(key, how=api.how))
    api.say(f"{key}: revoked")


@apikey.command(short_help="Make an operator's key, on the node's host.")
@save_option
@click.option(
    "--unsafe", is_flag=True, help="Accept a database that may lose acknowledged writes in a crash."
)
@config_option
@node_option
@home_option
@json_option
def operator(
    *, save: Path | None, unsafe: bool, config: Path | None, node: str | None, home: Path, as_json: bool
) -> None:
    """Make a key with the rights of the node's operator, on the node's own host: the first key of a new node.

    It works in the node's database, so that it takes no key; the daemon may run.
    """
    check_save(save)
    settings = load_registry_settings(settings_of(config, node, home))
    made = asyncio.run(_make_operator_key(settings, unsafe=unsafe))
    if save:
        write_secret_file(save, made.token.encode() + b"\n")
    if as_json:
        echo_json({"key": made.key.id, "expires": made.key.expires.isoformat(), **_told(made.token, save)})
    else:
        click.echo(f"{made.key.id}, until {made.key.expires.date()}")
        click.echo(
            f"it is in {save}"
            if save
            else f"{made.token}\nIt is not shown again; keep it where only you read it."
        )


async def _make_operator_key(settings: RegistrySettings, *, unsafe: bool) -> ShownKey:
    async with open_node(settings, unsafe=unsafe) as node, node.operations.transaction(COMMAND) as tx:
        return await Accounts(node.operations).make_operator_key(tx)


def _show_token(api: Api, made: ApiKeyShown, save: Path | None) -> None:
    """Tell a new token, once: in a file when there is one, else on standard output; that of a dry run is none."""
    is_real = not api.how.dry_run
    if save and is_real:
        write_secret_file(save, made.token.encode() + b"\n")
    if api.as_json:
        told = _told(made.token, save) if is_real else {}
        echo_json({"key": made.key.id, "expires": made.key.expires.isoformat(), **told})
        return
    api.say(f"{made.key.id} {made.key.name}, until {made.key.expires.date()}")
    if is_real:
        _say_token(api, made, save)


def _say_token(api: Api, made: ApiKeyShown, save: Path | None) -> None:
    api.say(
        f"its token is in {save}"
        if save
        else f"{made.token}\nIt is not shown again; keep it where only you read it."
    )


def _told(token: str, save: Path | None) -> dict[str, str]:
    return {"file": str(save)} if save else {"token": token}
