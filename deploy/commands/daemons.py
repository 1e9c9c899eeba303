"""`handlegrid node` and `handlegrid resolver`: run one daemon in the foreground, as a service manager does."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import click

from deploy.commands.options import SETTINGS_FILE
from deploy.local.children import Backoff
from deploy.local.processes import ends_with_parent

WATCH_S: Final = 0.2


@click.command(short_help="Run a registry node.")
@click.argument("config", type=SETTINGS_FILE)
@click.option(
    "--with-resolver",
    type=SETTINGS_FILE,
    metavar="RESOLVER.toml",
    help="Run a recursive node with these settings beside it, as a second process.",
)
@click.option(
    "--unsafe", is_flag=True, help="Accept a database that may lose acknowledged writes in a crash."
)
def node(config: Path, with_resolver: Path | None, unsafe: bool) -> int:
    """Run a registry node with the settings in CONFIG until it is told to stop."""
    if with_resolver:
        from resolver.settings import load_resolver_settings  # noqa: PLC0415 - a node alone needs none of it

        load_resolver_settings(with_resolver)  # a fault ends us here, not the second process again and again
        words = ["node", str(config), *(["--unsafe"] if unsafe else [])]
        return asyncio.run(run_pair(words, ["resolver", str(with_resolver)]))
    from registry.__main__ import run  # noqa: PLC0415 - the other daemon needs none of it
    from registry.settings import load_registry_settings  # noqa: PLC0415

    return run(load_registry_settings(config), unsafe=unsafe)


@click.command(short_help="Run a recursive node.")
@click.argument("config", type=SETTINGS_FILE)
def resolver(config: Path) -> int:
    """Run a recursive node with the settings in CONFIG until it is told to stop."""
    from resolver.__main__ import run  # noqa: PLC0415 - the other daemon needs none of it
    from resolver.settings import load_resolver_settings  # noqa: PLC0415

    return run(load_resolver_settings(config))


async def run_pair(node_words: list[str], resolver_words: list[str]) -> int:
    """Run a registry node and a recursive node beside it.

    The recursive node is started again when it ends; when the registry node ends, both end. Returns the exit code
    of the registry node.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    registry = _launch(node_words)
    beside = asyncio.create_task(_keep(resolver_words))
    while registry.poll() is None and not stopping.is_set():  # noqa: ASYNC110 - two things to wait for
        await asyncio.sleep(WATCH_S)
    beside.cancel()
    await asyncio.wait([beside])
    await _end(registry)
    return registry.returncode if registry.returncode >= 0 else 128 - registry.returncode


async def _keep(words: list[str]) -> None:
    backoff = Backoff()
    loop = asyncio.get_running_loop()
    process = None
    try:
        while True:
            started_s = loop.time()
            process = _launch(words)
            while process.poll() is None:  # noqa: ASYNC110 - a watcher thread each costs more
                await asyncio.sleep(WATCH_S)
            await asyncio.sleep(backoff.delay_after(loop.time() - started_s))
    finally:
        if process:
            await _end(process)


def _launch(words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "deploy.cli", *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        start_new_session=True,  # a terminal's Ctrl-C comes through us, once
        preexec_fn=ends_with_parent(signal.SIGTERM),  # noqa: PLW1509 - calls nothing that takes a lock
    )


async def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    while process.poll() is None:  # noqa: ASYNC110 - a watcher thread each costs more
        await asyncio.sleep(WATCH_S)
