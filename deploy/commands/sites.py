"""Site records on the command line: asked of the node itself, or out of a JSON file."""

import asyncio
import json
from pathlib import Path
from typing import Final

import click

from deploy.commands.options import SETTINGS_FILE
from deploy.commands.resolve import parse_server
from protocol.client import HandleClient, literal_site
from protocol.errors import HandleError, SettingsError
from protocol.jsonform import site_from_json
from protocol.site import Service, Site
from protocol.transport.exchanger import Exchanger
from registry.api.schemas.sites import SiteForm, site_form

MAX_SITE_FILE_OCTETS: Final = 1_048_576  # a site of a full message in JSON stays below

address_option: Final = click.option(
    "--address", metavar="ADDRESS[:PORT]", help="The holder's node, which is asked for its site record."
)
site_option: Final = click.option(
    "--site", "site_file", type=SETTINGS_FILE, help="Or a file that holds the site record as JSON."
)


def site_given(address: str | None, site_file: Path | None) -> SiteForm:
    """The site record that --address or --site leads to. Raises UsageError, SettingsError, Unreachable."""
    if bool(address) == bool(site_file):
        raise click.UsageError("say where the holder's node is: either --address or --site")
    if address:
        return site_form(asyncio.run(ask_site(*parse_server(address))))
    return site_form(read_site(site_file))


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
