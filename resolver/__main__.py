"""Run one recursive node: python -m resolver CONFIG.toml."""

import asyncio
import sys
from pathlib import Path
from typing import Final

import structlog

from protocol.errors import SettingsError
from protocol.runtime.lifecycle import EXIT_SETTINGS, notify
from protocol.runtime.lifecycle import run as run_daemon
from protocol.runtime.logs import set_up_logs
from resolver.node import RecursiveNode
from resolver.settings import ResolverSettings, load_resolver_settings

USAGE: Final = "usage: python -m resolver CONFIG.toml"

log = structlog.get_logger(__name__)


async def serve(settings: ResolverSettings, stopping: asyncio.Event) -> None:
    """Run a node until the event is set, then drain it."""
    node = RecursiveNode(settings)
    await node.start()
    log.info(
        "listening",
        udp=node.addresses.udp,
        tcp=node.addresses.tcp,
        http=node.addresses.http,
        admin=node.addresses.admin,
    )
    notify("READY=1")
    await stopping.wait()
    notify("STOPPING=1")
    await node.stop()


def run(settings: ResolverSettings) -> None:
    """Run a node until SIGTERM or SIGINT. Raises SystemExit when it could not run."""
    set_up_logs(settings.log_level, node=settings.name, role="resolver")
    code = run_daemon(lambda stopping: serve(settings, stopping))
    if code:
        raise SystemExit(code)


def main() -> None:
    """Read the arguments and the settings, and run."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(USAGE, file=sys.stderr)  # noqa: T201 - the answer to a person at a terminal
        raise SystemExit(EXIT_SETTINGS)
    try:
        settings = load_resolver_settings(Path(sys.argv[1]))
    except SettingsError as error:
        for fault in error.faults:
            print(fault, file=sys.stderr)  # noqa: T201
        raise SystemExit(EXIT_SETTINGS) from None
    run(settings)


if __name__ == "__main__":
    main()
