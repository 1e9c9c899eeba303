"""`handlegrid prefix`: its commands; of them those that delegate a prefix and take it over, on the nodes' own hosts."""

import asyncio
from datetime import timedelta
from pathlib import Path

import click

from deploy.commands import applications, moving, prefixes
from deploy.commands.failure import ExitCode
from deploy.commands.options import SETTINGS_FILE, config_option, home_option, node_option, settings_of
from deploy.commands.resolve import parse_server
from deploy.commands.sites import ask_site, read_site
from protocol.errors import InvalidHandle
from protocol.handle import Prefix
from registry.delegation import (
    AllocationRefused,
    Authorisation,
    accept,
    allocate,
    check_addressee,
    read_authorisation,
    write_authorisation,
)
from registry.node import open_node
from registry.settings import RegistrySettings, load_registry_settings
from registry.statistics import count_registrations

MAX_SITE_FILE_OCTETS = 1_048_576  # a site of a full message in JSON stays below


@click.group(short_help="Prefixes: apply, review, suspend, move.")
def prefix() -> None:
    """Prefixes: apply, review, suspend, transfer, revoke, move.

    `allocate` and `accept` run on the nodes' own hosts, and need no key; all others ask a node's API.

    \b
    Examples:
      handlegrid prefix apply --below 88.100 --purpose "Pumps" --url https://node.example:8000 --key-file my.session
      handlegrid prefix review app_… --approve --url https://node.example:8000 --key-file reviewer.session
      handlegrid prefix grant app_… --node 88.100
      handlegrid prefix suspend 88.100.7 --reason "arrears" --node 88.100
      handlegrid prefix move 88.100.7 --to delegated --peer 5f… --reason "own node" --wait --node 88.100
    """


for command in (*applications.COMMANDS, *prefixes.COMMANDS, *moving.COMMANDS):
    prefix.add_command(command)


@prefix.command(name="allocate", short_help="Delegate a prefix to its node.")
@click.argument("name", metavar="PREFIX")
@click.option(
    "--address", metavar="ADDRESS[:PORT]", help="The child's node, which is asked for its site record."
)
@click.option("--site", "site_file", type=SETTINGS_FILE, help="Or a file that holds the site record as JSON.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="[default: PREFIX.authorisation.json]"
)
@config_option
@node_option
@home_option
def allocate_(
    *,
    name: str,
    address: str | None,
    site_file: Path | None,
    output: Path | None,
    config: Path | None,
    node: str | None,
    home: Path,
) -> ExitCode:
    """Delegate PREFIX to the child's node, and write the file that the child's node accepts.

    Runs on the host of the parent's node. Again with a changed site, it renews the delegation.

    Exit code: 0 delegated, 1 the prefix is not this node's to allocate, 2 usage, 3 a node or database does not answer.
    """
    allocated = _parse_prefix(name)
    if bool(address) == bool(site_file):
        raise click.UsageError("say where the child's node is: either --address or --site")
    settings = load_registry_settings(settings_of(config, node, home))
    path = output or Path(f"{allocated}.authorisation.json")
    try:
        authorisation = asyncio.run(_allocate(settings, allocated, address, site_file))
    except AllocationRefused as error:
        click.echo(f"handlegrid: {error}", err=True)
        return ExitCode.DENIED
    write_authorisation(path, authorisation)
    click.echo(
        f"{allocated} is delegated; accept it on its node: handlegrid prefix accept {path} --config FILE"
    )
    return ExitCode.DONE


@prefix.command(name="accept", short_help="Take a prefix over.")
@click.argument("file", type=SETTINGS_FILE)
@config_option
@node_option
@home_option
def accept_(*, file: Path, config: Path | None, node: str | None, home: Path) -> None:
    """Home the prefix that FILE hands over on this node; a running daemon takes note of it."""
    settings = load_registry_settings(settings_of(config, node, home))
    authorisation = read_authorisation(file)
    is_new = asyncio.run(_accept(settings, authorisation))
    word = "is homed here now" if is_new else "was homed here already; its record is renewed"
    click.echo(f"{authorisation.prefix} {word}")


async def _allocate(
    settings: RegistrySettings, allocated: Prefix, address: str | None, site_file: Path | None
) -> Authorisation:
    site = await ask_site(*parse_server(address)) if address else read_site(site_file)
    async with open_node(settings) as parent:
        authorisation = await allocate(
            parent.operations,
            allocated,
            site,
            ttl_s=settings.delegation_ttl_s,
            quarantine=timedelta(days=settings.prefix_quarantine_days),
        )
        if authorisation.is_new:
            await count_registrations(parent.store, settings, 1)
        return authorisation


async def _accept(settings: RegistrySettings, authorisation: Authorisation) -> bool:
    async with open_node(settings) as child:
        check_addressee(authorisation, child.site)
        return await accept(child.operations, authorisation)


def _parse_prefix(name: str) -> Prefix:
    try:
        return Prefix.parse(name)
    except InvalidHandle as error:
        raise click.UsageError(str(error)) from None
