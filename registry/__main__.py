"""Run one registry node: python -m registry CONFIG.toml [--unsafe]."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from protocol.errors import SettingsError
from protocol.runtime import lifecycle
from protocol.runtime.logs import set_up_logs
from registry.daemon import RegistryAddresses, RegistryNode
from registry.metrics import ROLE
from registry.settings import RegistrySettings, load_registry_settings

__all__ = ["RegistryAddresses", "RegistryNode", "main", "run"]


def run(settings: RegistrySettings, *, unsafe: bool = False) -> int:
    """Run a node until SIGTERM or SIGINT, then drain it. Returns the exit code of the process."""
    set_up_logs(settings.log_level, node=settings.name, role=ROLE)
    return lifecycle.run(lambda stopping: _serve(settings, stopping, unsafe=unsafe))


async def _serve(settings: RegistrySettings, stopping: asyncio.Event, *, unsafe: bool) -> None:
    node = RegistryNode(settings, unsafe=unsafe)
    await node.start()
    try:
        lifecycle.notify("READY=1")
        await stopping.wait()
        lifecycle.notify("STOPPING=1")
    finally:
        await node.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a node with the settings of a file; the `handlegrid node` command does the same and more."""
    parser = argparse.ArgumentParser(prog="python -m registry", description="Run one registry node.")
    parser.add_argument("config", type=Path, help="TOML file with a [registry] table")
    parser.add_argument("--unsafe", action="store_true", help="accept a database that may lose writes")
    given = parser.parse_args(arguments)
    try:
        settings = load_registry_settings(given.config)
    except SettingsError as error:
        sys.stderr.writelines(f"{fault}\n" for fault in error.faults)
        return lifecycle.EXIT_SETTINGS
    return run(settings, unsafe=given.unsafe)


if __name__ == "__main__":
    sys.exit(main())
