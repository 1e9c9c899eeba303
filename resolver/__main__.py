"""Run one recursive node: python -m resolver CONFIG.toml."""

import argparse
import sys
from pathlib import Path

from protocol.errors import SettingsError
from protocol.runtime import lifecycle
from protocol.runtime.logs import set_up_logs
from resolver.daemon import RecursiveNode
from resolver.metrics import ROLE
from resolver.settings import ResolverSettings, load_resolver_settings


def run(settings: ResolverSettings) -> int:
    """Run a node until SIGTERM or SIGINT, then drain it. Returns the exit code of the process."""
    set_up_logs(settings.log_level, node=settings.name, role=ROLE)
    return lifecycle.run(lambda stopping: lifecycle.serve(RecursiveNode(settings), stopping))


def main() -> int:
    """Run a node with the settings of a file; the `handlegrid resolver` command does the same."""
    parser = argparse.ArgumentParser(prog="python -m resolver", description="Run one recursive node.")
    parser.add_argument("config", type=Path, help="TOML file with a [resolver] table")
    given = parser.parse_args()
    try:
        settings = load_resolver_settings(given.config)
    except SettingsError as error:
        return lifecycle.tell_faults(error)
    return run(settings)


if __name__ == "__main__":
    sys.exit(main())
