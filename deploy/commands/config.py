"""`handlegrid config`: check settings files and show what is in force."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from deploy.commands.options import SETTINGS_FILE, echo_json, json_option
from protocol.errors import SettingsError
from protocol.runtime.configuration import show, unknown_name
from protocol.runtime.root import Root
from registry.settings import RegistrySettings, load_registry_settings
from resolver.settings import ResolverSettings, load_resolver_settings

Settings = RegistrySettings | ResolverSettings

LOADERS: Final[dict[str, Callable[[Path], Settings]]] = {
    "registry": load_registry_settings,
    "resolver": load_resolver_settings,
}


@click.group(short_help="Check and show settings.")
def config() -> None:
    """Check settings files, and show what is in force."""


@config.command(short_help="Check files without starting anything.")
@click.argument("files", nargs=-1, required=True, type=SETTINGS_FILE)
@json_option
def check(files: tuple[Path, ...], as_json: bool) -> int:
    """Check FILES without starting anything; exit code 2 when one of them cannot be used."""
    faults = {str(path): _faults(path) for path in files}
    if as_json:
        echo_json([{"file": path, "faults": found} for path, found in faults.items()])
    else:
        for path, found in faults.items():
            click.echo(f"{path}: " + ("\n  ".join(["not usable", *found]) if found else "good"))
    return 2 if any(faults.values()) else 0


@config.command(name="show", short_help="Show what is in force.")
@click.argument("file", type=SETTINGS_FILE)
@json_option
def show_(file: Path, as_json: bool) -> None:
    """Show the settings in FILE with defaults and environment applied; secrets print as ***."""
    shown = show(load_settings_file(file))
    if as_json:
        pairs = (line.partition(" = ") for line in shown.splitlines())
        echo_json({name: json.loads(value) for name, _, value in pairs})
    else:
        click.echo(shown)


def load_settings_file(path: Path) -> Settings:
    """Load the settings of whichever daemon the file is for. Raises SettingsError."""
    return LOADERS[_table(path)](path)


def _faults(path: Path) -> list[str]:
    try:
        settings = load_settings_file(path)
    except SettingsError as error:
        return list(error.faults)
    faults = []
    for read in _files_named_by(settings):
        try:
            read()
        except SettingsError as error:
            faults += [f"{path}: {fault}" for fault in error.faults]
    return faults


def _files_named_by(settings: Settings) -> list[Callable[[], object]]:
    """What reads each file that the daemon would read before it starts."""
    match settings:
        case RegistrySettings(root_site_file=bundle):
            return [settings.dsn] if bundle is None else [settings.dsn, lambda: Root(bundle)]
        case ResolverSettings():
            return [lambda: Root(settings.root_site_file), settings.redis_address, settings.statistics_dsn]


def _table(path: Path) -> str:
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError([f"{path}: no TOML file: {error}"]) from None
    tables = [name for name in LOADERS if name in content]
    if len(tables) != 1:
        strays = [unknown_name(name, LOADERS, f"{path}: [{name}]") for name in content if name not in LOADERS]
        raise SettingsError([*strays, f"{path}: one table is needed, either [registry] or [resolver]"])
    return tables[0]
