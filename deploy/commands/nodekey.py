"""`handlegrid nodekey`: the key that seals secrets and personal data in a node's database: shown, rotated, retired."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import uvloop

from deploy.commands.failure import CommandFailed, ExitCode
from deploy.commands.options import (
    config_option,
    echo_json,
    home_option,
    json_option,
    node_option,
    settings_of,
)
from registry.key_rotation import KeyRotation, RotationRefused
from registry.node import open_node
from registry.resealing import Resealed
from registry.row_progress import RowProgress
from registry.settings import RegistrySettings, load_registry_settings

CONNECTIONS_MIN: Final = 3  # one holds the lock, one works, one to spare

unsafe_option: Final = click.option(
    "--unsafe", is_flag=True, help="Accept a database that may lose acknowledged writes in a crash."
)


def on_host(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command on the node's own host."""
    for option in (json_option, home_option, node_option, config_option, unsafe_option):
        command = option(command)
    return command


@click.group(short_help="The key that seals secrets in a node's database.")
def nodekey() -> None:
    """Show, rotate and retire the node key, on the node's own host.

    It seals values that the public may not read and personal data. Daemons that run notice a new one within a second.
    Where several hosts share a database: `prepare`, copy the key file to all of them, `rotate`, copy it again; after
    `retire` once more.
    """


@nodekey.command(short_help="Show what each key has sealed.")
@on_host
def show(*, config: Path | None, node: str | None, home: Path, as_json: bool, unsafe: bool) -> None:
    """Show the keys by number, and how many rows are sealed with each; looks at every sealed row."""

    async def work() -> dict[str, Any]:
        async with _rotation(_settings(config, node, home), unsafe=unsafe) as rotation:
            return await rotation.show()

    shown = uvloop.run(work())
    if as_json:
        echo_json(shown)
        return
    for key in shown["keys"]:
        what = "seals" if key["key"] == shown["seals"] else "opens" if key["in_file"] else "is missing"
        rows = ", ".join(f"{count:,} of {name}" for name, count in key["rows"].items())
        click.echo(f"key {key['key']} {what}: {rows or 'no rows'}")


@nodekey.command(short_help="Add a new key that does not seal yet.")
@on_host
def prepare(*, config: Path | None, node: str | None, home: Path, as_json: bool, unsafe: bool) -> None:
    """Add a new key that does not seal before `rotate`.

    For a node on several hosts: each gets the file first.
    """

    async def work() -> int:
        async with _rotation(_settings(config, node, home), unsafe=unsafe) as rotation:
            return await rotation.prepare()

    number = uvloop.run(work())
    if as_json:
        echo_json({"prepared": number})
    else:
        click.echo(f"key {number} is in the key file; copy the file to every host of the node, then rotate")


@nodekey.command(short_help="Seal everything with a new key.")
@click.option("--new-key", is_flag=True, help="Make a new key even where rows are left of the last rotation.")
@on_host
def rotate(
    *, new_key: bool, config: Path | None, node: str | None, home: Path, as_json: bool, unsafe: bool
) -> int:
    """Let a new key seal from now on, and seal everything again with it, while the node runs.

    May be interrupted at any time; run it again and it goes on. Old keys stay in the key file until `retire`.

    Exit code: 0 everything is sealed with the new key, 1 some rows are not (run it again, or look at those that do not
    open), 2 usage or settings, 3 the database is gone.
    """
    progress = RowProgress(sys.stderr)

    async def work() -> tuple[int, Resealed]:
        async with _rotation(_settings(config, node, home), unsafe=unsafe) as rotation:
            return await rotation.rotate(
                lambda state: progress.advanced(state.done, state.total), new_key=new_key
            )

    number, state = uvloop.run(work())
    progress.ended()
    broken = sorted(_row_text(row) for row in state.broken)
    if as_json:
        echo_json({"seals": number, "resealed": state.done, "held": state.held, "broken": broken})
    else:
        click.echo(f"key {number} seals; {state.done:,} rows were sealed again")
        if state.held:
            click.echo(f"{state.held:,} rows were held by others; run the command again", err=True)
        for row in broken:
            click.echo(f"does not open: {row}", err=True)
    return ExitCode.DENIED if state.held or broken else ExitCode.DONE


@nodekey.command(short_help="Forget the keys that nothing is sealed with.")
@on_host
def retire(*, config: Path | None, node: str | None, home: Path, as_json: bool, unsafe: bool) -> None:
    """Remove the old keys from the key file; refused while any row needs one.

    A backup from before the rotation opens with the old keys alone: keep the key file of its time with it.
    """

    async def work() -> tuple[int, ...]:
        async with _rotation(_settings(config, node, home), unsafe=unsafe) as rotation:
            return await rotation.retire()

    retired = uvloop.run(work())
    if as_json:
        echo_json({"retired": list(retired)})
    else:
        click.echo(f"retired: key {', '.join(map(str, retired))}" if retired else "there is no old key")


def _settings(config: Path | None, node: str | None, home: Path) -> RegistrySettings:
    settings = load_registry_settings(settings_of(config, node, home))
    connections = max(settings.database_connections_max, CONNECTIONS_MIN)
    return msgspec.structs.replace(settings, database_connections_max=connections)


@asynccontextmanager
async def _rotation(settings: RegistrySettings, *, unsafe: bool) -> AsyncIterator[KeyRotation]:
    async with open_node(settings, unsafe=unsafe) as node:
        try:
            yield KeyRotation(node.operations, settings.sealing_key_file())
        except RotationRefused as error:
            raise CommandFailed(str(error), ExitCode.DENIED, {}) from None


def _row_text(row: tuple[Any, ...]) -> str:
    """A row by its table and keys."""
    table, *keys = row
    texts = [key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) else str(key) for key in keys]
    return f"{table}: {' '.join(texts)}"
