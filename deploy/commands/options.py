"""Options that several commands share."""

import json
from pathlib import Path
from typing import Any, Final

import click

from deploy.local.deployment import DAEMONS, NODES, RECURSIVE, Deployment, default_home
from deploy.local.processes import LocalError

SETTINGS_FILE: Final = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)

home_option: Final = click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    default=default_home,
    show_default="HANDLEGRID_HOME, else /var/lib/handlegrid as root, else ~/.local/share/handlegrid",
    help="Data directory of the deployment.",
)
json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
node_option: Final = click.option(
    "--node",
    type=click.Choice([node.name for node in NODES]),
    help="A node of the deployment on this machine, in place of --config.",
)
config_option: Final = click.option(
    "--config", type=SETTINGS_FILE, help="Settings file of the registry node."
)


def settings_of(config: Path | None, node: str | None, home: Path) -> Path:
    """The settings file that --config or --node names.

    Raises UsageError unless exactly one of them was given, LocalError when the deployment has no such file.
    """
    if config and not node:
        return config
    if config or not node:
        names = ", ".join(name for name in DAEMONS if name != RECURSIVE)
        raise click.UsageError(f"say which node: --config FILE, or --node with one of this machine ({names})")
    path = Deployment(home).settings_file(node)
    if not path.exists():
        raise LocalError(f"no deployment in {home}; make one with `handlegrid up`, or name it with --home")
    return path


def echo_json(content: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(content, indent=2, ensure_ascii=False))
