"""Run one registry node: python -m registry CONFIG.toml [--unsafe] [--workers N]."""

import argparse
import sys
from pathlib import Path

from protocol.errors import SettingsError
from protocol.runtime import lifecycle
from protocol.runtime.listen_settings import with_workers
from protocol.runtime.logs import set_up_logs
from protocol.runtime.workers.supervisor import run_with_workers
from registry.metrics import ROLE
from registry.settings import RegistrySettings, load_registry_settings


def run(config: Path, *, unsafe: bool = False, workers: int | None = None) -> int:
    """Run the node of a settings file until SIGTERM or SIGINT, then drain it. Returns the exit code of the process.

    workers: instead of what the settings say. Raises SettingsError for settings that cannot be used.
    """

    def load() -> RegistrySettings:
        return with_workers(load_registry_settings(config), workers)

    settings = load()
    set_up_logs(settings.log_level, node=settings.name, role=ROLE)
    if settings.worker_count() > 1:
        words = ["-m", "registry.worker", *(["--unsafe"] if unsafe else [])]
        return run_with_workers(settings, load, role=ROLE, words=words)
    from registry.daemon import RegistryNode  # noqa: PLC0415 - a supervisor needs none of it

    return lifecycle.run(lambda stopping: lifecycle.serve(RegistryNode(settings, unsafe=unsafe), stopping))


def main() -> int:
    """Run a node with the settings of a file; the `handlegrid node` command does the same and more."""
    parser = argparse.ArgumentParser(prog="python -m registry", description="Run one registry node.")
    parser.add_argument("config", type=Path, help="TOML file with a [registry] table")
    parser.add_argument("--unsafe", action="store_true", help="accept a database that may lose writes")
    parser.add_argument("--workers", type=int, help="processes that answer, instead of what the settings say")
    given = parser.parse_args()
    try:
        return run(given.config, unsafe=given.unsafe, workers=given.workers)
    except SettingsError as error:
        return lifecycle.tell_faults(error)


if __name__ == "__main__":
    sys.exit(main())
