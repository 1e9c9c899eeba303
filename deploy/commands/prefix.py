"""`handlegrid prefix`: delegate a prefix on its parent's node, and take it over on its own."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import click

from deploy.commands.failure import ExitCode
from deploy.commands.options import SETTINGS_FILE, config_option, home_option, node_option, settings_of
from deploy.commands.resolve import parse_server
from protocol.client import HandleClient, literal_site
from protocol.errors import HandleError, InvalidHandle, SettingsError
from protocol.handle import Prefix
from protocol.jsonform import site_from_json
from protocol.site import Service, Site
from protocol.transport.exchanger import Exchanger
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


@click.group(short_help="Allocate and accept prefixes.")
def prefix() -> None:
    """Allocate prefixes on a parent's node, and accept them on the child's."""


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


async def ask_site(address: str, port: int) -> Site:
    """The site record that a node tells about itself. Raises Unreachable."""
    exchanger = Exchanger()
    try:
        client = HandleClient(Service("the named server", (literal_site(address, port),)), exchanger)
        return await client.get_site(address, port)
    finally:
        await exchanger.close()


def read_site(path: Path | None) -> Site:
    """A site record out of a JSON file. Raises SettingsError."""
    assert path is not None, "one of both was given"
    try:
        with path.open("rb") as file:
            return site_from_json(json.loads(file.read(MAX_SITE_FILE_OCTETS)))
    except (ValueError, RecursionError, HandleError) as error:
        raise SettingsError([f"{path} holds no site record: {error}"]) from None


def _parse_prefix(name: str) -> Prefix:
    try:
        return Prefix.parse(name)
    except InvalidHandle as error:
        raise click.UsageError(str(error)) from None
