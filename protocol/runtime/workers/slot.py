"""The place of one worker: its sockets, and the process that has them now."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from protocol.errors import SettingsError, StoreUnavailable
from protocol.runtime.listen_settings import ListenSettings
from protocol.runtime.processes import Backoff
from protocol.runtime.workers.process import Launcher, WorkerDied, WorkerProcess
from protocol.runtime.workers.sockets import WorkerSockets

FIRST_DELAY_S: Final = 0.05  # what waits in its sockets waits as long
MAX_DELAY_S: Final = 5.0  # while a worker is away, its part of the requests is not answered

log = structlog.get_logger(__name__)


class Slot:
    """Keeps one worker running."""

    def __init__(
        self,
        index: int,
        launcher: Launcher,
        sockets: WorkerSockets,
        settings: ListenSettings,
        on_restart: Callable[[], None],
    ) -> None:
        """on_restart: told of each start after an end that nobody wanted."""
        self.index = index
        self.settings = settings
        self._launcher = launcher
        self._sockets = sockets
        self._on_restart = on_restart
        self._current: WorkerProcess | None = None
        self._started: set[WorkerProcess] = set()
        """Processes that have not ended, as far as is known."""
        self._changing = asyncio.Lock()
        self._replaced = asyncio.Event()

    @property
    def site_serial(self) -> int:
        """The serial number of the site record, as the worker that answers has it."""
        return 0 if self._current is None else self._current.site_serial

    @property
    def pid(self) -> int | None:
        """The process that answers."""
        return None if self._current is None else self._current.pid

    async def start(self) -> None:
        """Start the first worker. Raises SettingsError, StoreUnavailable or WorkerDied."""
        async with self._changing:
            self._current = await self._launch(self.settings)

    async def replace(self, settings: ListenSettings) -> None:
        """Let a new worker take over. Raises as start(), and the old one goes on then.

        The new one reads the same sockets from its start on; when it has said that it is ready, the old one stops
        reading and finishes.
        """
        async with self._changing:
            fresh = await self._launch(settings)
            old, self._current = self._current, fresh
            self.settings = settings
            self._replaced.set()
        if old is not None:
            await old.end()

    async def keep(self) -> None:
        """Start the worker again whenever it ends; never returns."""
        backoff = Backoff(FIRST_DELAY_S, MAX_DELAY_S)
        while True:
            worker = self._current
            assert worker is not None, "started"
            await self._ended_or_replaced(worker)
            if worker is self._current and worker.ended.is_set():
                ran_s = asyncio.get_running_loop().time() - worker.started_s
                log.error("worker_ended", worker=self.index, pid=worker.pid, cause=worker.cause)
                await self._restart(worker, backoff, ran_s)

    async def _ended_or_replaced(self, worker: WorkerProcess) -> None:
        """Waits until there is something to see to: whoever took over may end while its predecessor still drains."""
        self._replaced.clear()
        if worker is not self._current:
            return
        waits = [asyncio.create_task(event.wait()) for event in (worker.ended, self._replaced)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _restart(self, ended: WorkerProcess, backoff: Backoff, ran_s: float) -> None:
        while True:
            await asyncio.sleep(backoff.delay_after(ran_s))
            async with self._changing:
                if self._current is not ended:
                    return
                self._on_restart()
                try:
                    self._current = await self._launch(self.settings)
                except (
                    SettingsError,
                    StoreUnavailable,
                    WorkerDied,
                ) as error:  # these settings have worked before
                    log.error("worker_not_started", worker=self.index, reason=str(error))
                    ran_s = 0.0
                else:
                    log.info("worker_started_again", worker=self.index, pid=self._current.pid)
                    return

    async def collect(self) -> None:
        """Has every process of the place tell its samples, also one that is ending."""
        await asyncio.gather(*(worker.collect() for worker in tuple(self._started)))

    async def unmet(self) -> str | None:
        """Why the place is not ready; None when it is."""
        worker = self._current
        if worker is None:
            return "it is being started"
        if worker.ended.is_set():
            return f"it {worker.cause} and is being started again"
        return await worker.unmet()

    async def end(self) -> None:
        """Have whatever runs here drain and end."""
        await asyncio.gather(*(worker.end() for worker in tuple(self._started)))

    async def _launch(self, settings: ListenSettings) -> WorkerProcess:
        taken = {
            worker.column for worker in self._started
        }  # its predecessor may still count in one of the two
        column = next(one for one in (2 * self.index, 2 * self.index + 1, 2 * self.index) if one not in taken)
        worker = await self._launcher.launch(settings, self.index, column, self._sockets)
        self._started.add(worker)
        worker.on_end(lambda: self._started.discard(worker))
        try:
            await worker.ready()
        except (SettingsError, StoreUnavailable):
            await worker.ended.wait()  # another one may be started in the same place
            raise
        return worker
