"""Run one registry node: python -m registry CONFIG.toml [--unsafe]."""

import argparse
import sys
from pathlib import Path

from protocol.errors import SettingsError
from protocol.runtime import lifecycle
from protocol.runtime.logs import set_up_logs
from registry.daemon import RegistryNode
from registry.metrics import ROLE
from registry.settings import RegistrySettings, load_registry_settings


def run(settings: RegistrySettings, *, unsafe: bool = False) -> int:
    """Run a node until SIGTERM or SIGINT, then drain it. Returns the exit code of the process."""
    set_up_logs(settings.log_level, node=settings.name, role=ROLE)
    return lifecycle.run(lambda stopping: lifecycle.serve(RegistryNode(settings, unsafe=unsafe), stopping))


def main() -> int:
    """Run a node with the settings of a file; the `handlegrid node` command does the same and more."""
    parser = argparse.ArgumentParser(prog="python -m registry", description="Run one registry node.")
    parser.add_argument("config", type=Path, help="TOML file with a [registry] table")
    parser.add_argument("--unsafe", action="store_true", help="accept a database that may lose writes")
    given = parser.parse_args()
    try:
        settings = load_registry_settings(given.config)
    except SettingsError as error:
        return lifecycle.tell_faults(error)
    return run(settings, unsafe=given.unsafe)


if __name__ == "__main__":
    sys.exit(main())
