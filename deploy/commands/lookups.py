"""`handlegrid lookups`: what handles are found by in reverse look-up, for records that were stored before."""

import sys
from pathlib import Path

import click
import uvloop

from deploy.commands.failure import CommandFailed, ExitCode
from deploy.commands.nodekey import on_host
from deploy.commands.options import echo_json, settings_of
from registry.lookup_building import Built, build
from registry.node import open_node
from registry.row_progress import RowProgress
from registry.settings import load_registry_settings


@click.group(short_help="Find handles by their values.")
def lookups() -> None:
    """What handles are found by in reverse look-up, on the node's own host."""


@lookups.command(name="build", short_help="Enter values of records stored before.")
@on_host
def build_(*, config: Path | None, node: str | None, home: Path, as_json: bool, unsafe: bool) -> None:
    """Enter the values of all records by which handles are found, while the node runs.

    Needed once, after the node was started with `reverse_lookup` switched on or with other `reverse_lookup_types`.
    May be interrupted at any time; run it again and it goes on.
    """
    settings = load_registry_settings(settings_of(config, node, home))
    types = settings.lookups()
    if not types:
        raise CommandFailed('reverse_lookup is "off" in the settings of this node', ExitCode.USAGE, {})
    progress = RowProgress(sys.stderr)

    async def work() -> Built:
        async with open_node(settings, unsafe=unsafe) as opened:
            return await build(opened.store, types, progress.advanced)

    done = uvloop.run(work())
    progress.ended()
    if as_json:
        echo_json({"handles": done.handles, "resumed": done.resumed})
    else:
        again = ", an earlier run gone on with" if done.resumed else ""
        click.echo(f"{done.handles:,} handles were looked at{again}")
