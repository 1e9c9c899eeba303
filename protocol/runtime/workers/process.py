"""One worker as its supervisor sees it: a process, from its start to its end."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import msgspec
import structlog

from protocol.errors import SettingsError, StoreUnavailable
from protocol.runtime.listen_settings import ListenSettings
from protocol.runtime.processes import describe_end, ends_with_parent
from protocol.runtime.workers.control import (
    Collect,
    Collected,
    Drain,
    Failed,
    FromWorker,
    Probe,
    Probed,
    Ready,
    Start,
    SupervisorEnd,
    ToWorker,
)
from protocol.runtime.workers.merged_metrics import MergedMetrics
from protocol.runtime.workers.sockets import WorkerSockets

ANSWER_S: Final = 1.5  # for a worker to tell how it is; a scraper waits longer, and an orchestrator a little
END_S: Final = (
    14.0  # a worker drains in ten seconds; whoever supervises us kills after fifteen at the earliest
)
REAP_S: Final = 2.0  # between a worker's last word and the end of its process
_POLL_S: Final = 0.01

log = structlog.get_logger(__name__)


class WorkerDied(Exception):
    """A worker ended before it was ready, and did not say why, or could not be started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launcher:
    """How the workers of a node are started."""

    words: Sequence[str]
    """What the interpreter is told to run; the descriptor of the worker's end of the control socket follows."""
    memory: int
    """Descriptor of the shared memory."""
    metrics: MergedMetrics
    meeting_place: str
    """Directory of the sockets by which workers reach each other."""

    async def launch(
        self, settings: ListenSettings, index: int, column: int, sockets: WorkerSockets
    ) -> "WorkerProcess":
        """Start a worker, which is not ready yet. Raises WorkerDied when this machine has no room for it."""
        try:
            return await self._launch(settings, index, column, sockets)
        except OSError as error:  # no process, memory or descriptor left: those that run must go on
            raise WorkerDied(f"could not be started: {error.strerror or error}") from error

    async def _launch(
        self, settings: ListenSettings, index: int, column: int, sockets: WorkerSockets
    ) -> "WorkerProcess":
        ours, theirs = socket.socketpair()
        with theirs:
            inherited = sockets.inherited()
            try:
                process = subprocess.Popen(  # noqa: ASYNC220, S603 - a child of the main thread; words of our own
                    [sys.executable, "-P", *self.words, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    env=_environment(),
                    pass_fds=(theirs.fileno(), self.memory, *(one.descriptor for one in inherited)),
                    start_new_session=True,  # a terminal's Ctrl-C comes through us, once
                    preexec_fn=ends_with_parent(signal.SIGTERM),  # noqa: PLW1509 - calls nothing that takes a lock
                )
            except OSError:
                ours.close()
                raise
        ours.setblocking(False)
        control: SupervisorEnd = await SupervisorEnd.open(ours, FromWorker)
        worker = WorkerProcess(process, control, self.metrics, column)
        await worker.tell(
            Start(
                settings=msgspec.msgpack.encode(settings, enc_hook=str),
                index=index,
                column=column,
                sockets=inherited,
                memory=self.memory,
                meeting_place=self.meeting_place,
                workers=settings.worker_count(),
            )
        )
        return worker


class WorkerProcess:
    """A worker that was started."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        control: SupervisorEnd,
        metrics: MergedMetrics,
        column: int,
    ) -> None:
        """column: of the shared memory, in which it counts."""
        loop = asyncio.get_running_loop()
        self.started_s = loop.time()
        self.ended = asyncio.Event()
        self.site_serial = 0
        self.column = column
        self._process = process
        self._control = control
        self._metrics = metrics
        self._start: asyncio.Future[Ready | Failed | None] = loop.create_future()
        self._collecting: asyncio.Future[None] | None = None
        self._probing: asyncio.Future[dict[str, str]] | None = None
        self._hearing = loop.create_task(self._hear(), name=f"hear worker process {process.pid}")

    def on_end(self, call: Callable[[], None]) -> None:
        """Have something called when it has ended."""
        self._hearing.add_done_callback(lambda _: call())

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def is_ready(self) -> bool:
        """Whether it has said that it answers, and has not ended."""
        return self._start.done() and isinstance(self._start.result(), Ready) and not self.ended.is_set()

    @property
    def cause(self) -> str:
        """How it ended."""
        return describe_end(self._process.returncode)

    async def ready(self) -> None:
        """Waits until it answers. Raises SettingsError or StoreUnavailable as it says itself, or WorkerDied."""
        said = await asyncio.shield(self._start)
        match said:
            case Ready():
                self.site_serial = said.site_serial
            case Failed(outage=True):
                raise StoreUnavailable("; ".join(said.faults))
            case Failed():
                raise SettingsError(said.faults)
            case None:
                await self.ended.wait()
                raise WorkerDied(self.cause)

    async def collect(self) -> None:
        """Has it tell its samples; what it told before stands when it does not answer."""
        if not self.is_ready:
            return
        if self._collecting is None or self._collecting.done():
            self._collecting = asyncio.get_running_loop().create_future()
            await self.tell(Collect())
        await asyncio.wait([self._collecting], timeout=ANSWER_S)

    async def unmet(self) -> str | None:
        """Why it is not ready; None when it is."""
        if not self.is_ready:
            return "it is being started"
        if self._probing is None or self._probing.done():
            self._probing = asyncio.get_running_loop().create_future()
            await self.tell(Probe())
        answered, _ = await asyncio.wait([self._probing], timeout=ANSWER_S)
        if not answered:
            return f"no answer within {ANSWER_S:g} s"
        return "; ".join(f"{name}: {reason}" for name, reason in self._probing.result().items()) or None

    async def end(self) -> None:
        """Has it drain, and waits until it has ended; it is killed when it does not."""
        if self.ended.is_set():
            return
        self._metrics.leaves(self)
        await self.tell(Drain())
        try:
            async with asyncio.timeout(END_S):
                await self.ended.wait()
        except TimeoutError:
            log.error("worker_killed", pid=self.pid, reason=f"it did not end within {END_S:g} s")
            self._process.kill()
            await self.ended.wait()

    async def tell(self, message: ToWorker) -> None:
        """Send a message; a worker that is gone is noticed elsewhere."""
        with suppress(ConnectionError):
            await self._control.send(message)

    async def _hear(self) -> None:
        """Takes what the worker says, until it ends."""
        try:
            while True:
                self._heard(await self._control.receive())
        except (EOFError, ConnectionError):
            pass
        except ValueError:
            log.exception("worker_not_understood", pid=self.pid)
            self._process.kill()
        with suppress(ConnectionError):
            await self._control.close()
        await self._reap()
        self._metrics.ended(self)
        for waiting in (self._start, self._collecting):
            if waiting is not None and not waiting.done():
                waiting.set_result(None)
        if self._probing is not None and not self._probing.done():
            self._probing.set_result({"process": self.cause})
        self.ended.set()

    def _heard(self, message: FromWorker) -> None:
        match message:
            case Ready() | Failed():
                if not self._start.done():
                    self._start.set_result(message)
            case Collected():
                self._metrics.told(self, message.families)
                if self._collecting is not None and not self._collecting.done():
                    self._collecting.set_result(None)
            case Probed():
                if self._probing is not None and not self._probing.done():
                    self._probing.set_result(message.reasons)

    async def _reap(self) -> None:
        until_s = asyncio.get_running_loop().time() + REAP_S
        while self._process.poll() is None:
            if asyncio.get_running_loop().time() > until_s:
                self._process.kill()
            await asyncio.sleep(_POLL_S)


def _environment() -> dict[str, str]:
    """What a worker inherits: our packages on the path, and no service manager to talk to."""
    kept = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
