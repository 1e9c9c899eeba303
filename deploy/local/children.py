"""The children of the supervisor: each is started, watched, started again with back-off, and ended."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

from deploy.local.postgres import EmbeddedPostgres
from deploy.local.processes import LocalError, open_log
from protocol.runtime.processes import Backoff, describe_end, ends_with_parent

WATCH_S: Final = 0.1
DRAIN_S: Final = 15.0  # a daemon drains in less; then it is killed


class ChildState(StrEnum):
    """What a child is doing."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting to start again"
    ENDED = "ended"


class Program(Protocol):
    """What a child runs."""

    log_file: Path

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """Its process, since the first start."""

    async def launch(self) -> None:
        """Start the process. Raises LocalError or OSError."""

    def is_ready(self) -> bool:
        """Whether it does its work; raises LocalError when it has ended."""

    async def stop(self) -> None:
        """End the process and wait for it."""


class Daemon:
    """A program of ours, which ends on SIGTERM."""

    def __init__(self, command: tuple[str, ...], log_file: Path, environment: Mapping[str, str]) -> None:
        self.command = command
        self.log_file = log_file
        self._environment = environment
        self.process: subprocess.Popen[bytes] | None = None

    async def launch(self) -> None:
        """Start the process, so that it ends when the supervisor does."""
        log = open_log(self.log_file)
        try:
            self.process = subprocess.Popen(  # noqa: ASYNC220 - it must be a child of the main thread
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self._environment),
                cwd="/",
                start_new_session=True,
                preexec_fn=ends_with_parent(signal.SIGTERM),  # noqa: PLW1509 - calls nothing that takes a lock
            )
        finally:
            os.close(log)

    def is_ready(self) -> bool:
        """It runs; whether it answers is for its own health page to say."""
        return True

    async def stop(self) -> None:
        """Ask it to drain, kill it when it does not."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        until_s = time.monotonic() + DRAIN_S
        while self.process.poll() is None:
            if time.monotonic() > until_s:
                self.process.kill()
            await asyncio.sleep(WATCH_S)


class Database:
    """The embedded Postgres as a child."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self._postgres = postgres
        self.log_file = postgres.log_file

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The server, since its first start."""
        return self._postgres.process

    async def launch(self) -> None:
        """Make the data directory if it is new, and start the server from this thread."""
        await asyncio.to_thread(self._postgres.prepare)
        self._postgres.launch()

    def is_ready(self) -> bool:
        """Whether it takes connections."""
        return self._postgres.is_ready()

    async def stop(self) -> None:
        """Shut down; no transaction that was committed is lost."""
        await asyncio.to_thread(self._postgres.stop)


@dataclass(slots=True)
class Child:
    """One program under supervision."""

    name: str
    program: Program
    state: ChildState = ChildState.STARTING
    since_s: float = 0.0
    """Wall clock of the last change of state."""
    restarts: int = 0
    cause: str = ""
    """Why it ended the last time."""
    _task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Its process, while there is one."""
        process = self.program.process
        return process.pid if process and process.poll() is None else None

    def begin(self) -> None:
        """Start it and keep it running."""
        self._enter(ChildState.STARTING)
        self._task = asyncio.create_task(self._keep(), name=f"keep {self.name}")

    async def end(self) -> None:
        """Stop keeping it running, and end it."""
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self.program.stop()
        self._enter(ChildState.ENDED)

    async def _keep(self) -> None:
        backoff = Backoff()
        while True:
            started_s = time.monotonic()
            self.cause = await self._run_once()
            delay_s = backoff.delay_after(time.monotonic() - started_s)
            self._enter(ChildState.WAITING)
            log(f"{self.name} {self.cause}; starting it again in {delay_s:g} s")
            await asyncio.sleep(delay_s)
            self.restarts += 1
            self._enter(ChildState.STARTING)

    async def _run_once(self) -> str:
        """Run it to its end; returns why it ended."""
        try:
            await self.program.launch()
            while not self.program.is_ready():  # noqa: ASYNC110 - nothing tells when Postgres is
                await asyncio.sleep(WATCH_S)
        except (LocalError, OSError) as error:
            return f"did not start: {error}"
        process = self.program.process
        assert process is not None, "launched"
        log(f"{self.name} runs as process {process.pid}")
        self._enter(ChildState.RUNNING)
        while (status := process.poll()) is None:  # noqa: ASYNC110 - a watcher thread each costs more
            await asyncio.sleep(WATCH_S)
        return describe_end(status)

    def _enter(self, state: ChildState) -> None:
        self.state = state
        self.since_s = time.time()


def log(text: str) -> None:
    """Write a line to the supervisor's log."""
    print(time.strftime("%Y-%m-%dT%H:%M:%S%z"), text, flush=True)
