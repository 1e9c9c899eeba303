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
from protocol.runtime.listen_settings import WORKERS_MAX
from protocol.runtime.processes import Backoff, ends_with_parent

WATCH_S: Final = 0.2


WORKERS: Final = click.option(
    "--workers",
    type=click.IntRange(0, WORKERS_MAX),
    help="Processes that answer, 0 for one per core; instead of what the settings say.",
)


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
@WORKERS
def node(config: Path, with_resolver: Path | None, unsafe: bool, workers: int | None) -> int:
    """Run a registry node with the settings in CONFIG until it is told to stop."""
    if with_resolver:
        from resolver.settings import load_resolver_settings  # noqa: PLC0415 - a node alone needs none of it

        load_resolver_settings(with_resolver)  # a fault ends us here, not the second process again and again
        flags = [*(["--unsafe"] if unsafe else []), *([] if workers is None else ["--workers", str(workers)])]
        return asyncio.run(run_pair(["node", str(config), *flags], ["resolver", str(with_resolver)]))
    from registry.__main__ import run  # noqa: PLC0415 - the other daemon needs none of it

    return run(config, unsafe=unsafe, workers=workers)


@click.command(short_help="Run a recursive node.")
@click.argument("config", type=SETTINGS_FILE)
@WORKERS
def resolver(config: Path, workers: int | None) -> int:
    """Run a recursive node with the settings in CONFIG until it is told to stop."""
    from resolver.__main__ import run  # noqa: PLC0415 - the other daemon needs none of it

    return run(config, workers=workers)


async def run_pair(node_words: list[str], resolver_words: list[str]) -> int:
    """Run a registry node and a recursive node beside it; both are told of a SIGHUP.

    The recursive node is started again when it ends; when the registry node ends, both end. Returns the exit code
    of the registry node.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    registry = _launch(node_words)
    recursive = Kept(resolver_words)
    beside = asyncio.create_task(recursive.keep())

    def hang_up() -> None:
        for process in (registry, recursive.process):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGHUP)

    loop.add_signal_handler(signal.SIGHUP, hang_up)
    while registry.poll() is None and not stopping.is_set():  # noqa: ASYNC110 - two things to wait for
        await asyncio.sleep(WATCH_S)
    beside.cancel()
    await asyncio.wait([beside])
    await _end(registry)
    return registry.returncode if registry.returncode >= 0 else 128 - registry.returncode


class Kept:
    """A command of ours that is started again whenever it ends."""

    def __init__(self, words: list[str]) -> None:
        self._words = words
        self.process: subprocess.Popen[bytes] | None = None

    async def keep(self) -> None:
        """Run it until cancelled, which ends it."""
        backoff = Backoff()
        loop = asyncio.get_running_loop()
        try:
            while True:
                started_s = loop.time()
                self.process = _launch(self._words)
                while self.process.poll() is None:  # noqa: ASYNC110 - a watcher thread each costs more
                    await asyncio.sleep(WATCH_S)
                await asyncio.sleep(backoff.delay_after(loop.time() - started_s))
        finally:
            if self.process:
                await _end(self.process)


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
