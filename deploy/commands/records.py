"""`handlegrid import`: records from a file or another server into the database of a node on this machine."""

import sys
from pathlib import Path
from typing import Any

import click
import uvloop

from deploy.commands.from_server import FromServer, import_from_server, server_options
from deploy.commands.options import (
    config_option,
    echo_json,
    home_option,
    json_option,
    node_option,
    settings_of,
)
from protocol.errors import InvalidHandle
from protocol.handle import Prefix
from registry.bulk import FileFormat, ImportOptions, ImportReport, import_file, progress_for
from registry.dump_import import DumpReport
from registry.node import open_node
from registry.settings import RegistrySettings, load_registry_settings
from registry.statistics import CountedCreations, DailyStatistics


@click.command(name="import", short_help="Import records from a file or another server.")
@click.argument("file", required=False, type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--prefix", help="Prefix of every row of a CSV file that has a column `suffix`.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice([str(form) for form in FileFormat]),
    help="[default: by the name]",
)
@click.option("--replace", is_flag=True, help="Replace a record that differs; otherwise its row is rejected.")
@click.option("--rejects", type=click.Path(dir_okay=False, path_type=Path), help="File for rejected rows.")
@click.option(
    "--unsafe", is_flag=True, help="Accept a database that may lose acknowledged writes in a crash."
)
@server_options
@config_option
@node_option
@home_option
@json_option
def import_(
    *,
    file: Path | None,
    prefix: str | None,
    file_format: str | None,
    replace: bool,
    rejects: Path | None,
    unsafe: bool,
    config: Path | None,
    node: str | None,
    home: Path,
    as_json: bool,
    **from_server: Any,
) -> int:
    """Import the records in FILE (CSV or JSON Lines; - for standard input), on the host of the node.

    CSV: a header with `handle`, or `suffix` and --prefix; every other column is a value type, or index:type. Safe to
    run again after an interruption: what is stored alike is skipped.

    With --from-handle-server, everything that a running server holds, with its restricted values and its timestamps;
    run again after an interruption, it goes on where it was. In the end all of it is compared with what is stored.

    Exit code: 0 every row is in, 1 some were rejected or differ, 2 the file, server or an option cannot be used, 3 the
    database or the server is gone.
    """
    wanted = FromServer(**from_server)
    if (file is None) == (wanted.from_handle_server is None):
        raise click.UsageError("either FILE or --from-handle-server HOST")
    if file is None and (prefix or file_format):
        raise click.UsageError("--prefix and --format go with a FILE")
    if file is not None and any(from_server.values()):
        raise click.UsageError("options of an import from a server do not go with a FILE")
    settings = load_registry_settings(settings_of(config, node, home))
    report: ImportReport | DumpReport
    if file is None:
        report = import_from_server(wanted, settings, replace=replace, rejects=rejects, unsafe=unsafe)
    else:
        options = ImportOptions(
            format=FileFormat(file_format) if file_format else None,
            prefix=_parse_prefix(prefix),
            replace=replace,
            rejects=rejects,
            default_ttl_s=settings.default_ttl_s,
        )
        report = uvloop.run(_import(file, settings, options, unsafe=unsafe))
    if as_json:
        echo_json(report.to_json())
    else:
        click.echo(report.to_text())
    return report.exit_code


async def _import(
    file: Path, settings: RegistrySettings, options: ImportOptions, *, unsafe: bool
) -> ImportReport:
    async with open_node(settings, unsafe=unsafe) as node:
        counted = CountedCreations(node.operations, DailyStatistics.of(node.store, settings))
        return await import_file(file, operations=counted, options=options, progress=progress_for(sys.stderr))


def _parse_prefix(text: str | None) -> Prefix | None:
    try:
        return Prefix.parse(text) if text else None
    except InvalidHandle as error:
        raise click.UsageError(f"--prefix {text}: {error}") from None
