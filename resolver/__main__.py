"""Run one recursive node: python -m resolver CONFIG.toml [--workers N]."""

import argparse
import sys
from pathlib import Path

from protocol.errors import SettingsError
from protocol.runtime import lifecycle
from protocol.runtime.listen_settings import with_workers
from protocol.runtime.logs import set_up_logs
from protocol.runtime.workers.supervisor import run_with_workers
from resolver.metrics import ROLE
from resolver.settings import ResolverSettings, load_resolver_settings


def run(config: Path, *, workers: int | None = None) -> int:
    """Run the node of a settings file until SIGTERM or SIGINT, then drain it. Returns the exit code of the process.

    workers: instead of what the settings say. Raises SettingsError for settings that cannot be used.
    """

    def load() -> ResolverSettings:
        return with_workers(load_resolver_settings(config), workers)

    settings = load()
    set_up_logs(settings.log_level, node=settings.name, role=ROLE)
    if settings.worker_count() > 1:
        return run_with_workers(settings, load, role=ROLE, words=["-m", "resolver.worker"])
    from resolver.daemon import RecursiveNode  # noqa: PLC0415 - a supervisor needs none of it

    return lifecycle.run(lambda stopping: lifecycle.serve(RecursiveNode(settings), stopping))


def main() -> int:
    """Run a node with the settings of a file; the `handlegrid resolver` command does the same."""
    parser = argparse.ArgumentParser(prog="python -m resolver", description="Run one recursive node.")
    parser.add_argument("config", type=Path, help="TOML file with a [resolver] table")
    parser.add_argument("--workers", type=int, help="processes that answer, instead of what the settings say")
    given = parser.parse_args()
    try:
        return run(given.config, workers=given.workers)
    except SettingsError as error:
        return lifecycle.tell_faults(error)


if __name__ == "__main__":
    sys.exit(main())
