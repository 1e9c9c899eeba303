"""The supervisor of a node with workers: opens the sockets, keeps the workers running, and speaks for all of them.

It answers no request itself. Once every worker answers, SIGHUP reads the settings again and replaces one worker after
the other; SIGTERM has all drain and end.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from tempfile import TemporaryDirectory
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from protocol.errors import SettingsError, StoreUnavailable
from protocol.runtime import lifecycle
from protocol.runtime.admin import Check, start_admin
from protocol.runtime.lifecycle import notify, tell_path
from protocol.runtime.listen_settings import ListenSettings
from protocol.runtime.listeners import Addresses, usable_hosts
from protocol.runtime.logs import set_up_logs
from protocol.runtime.metrics import UdpDrops
from protocol.runtime.workers.memory import SharedMemory
from protocol.runtime.workers.merged_metrics import MergedMetrics, families_of
from protocol.runtime.workers.process import Launcher, WorkerDied
from protocol.runtime.workers.slot import Slot
from protocol.runtime.workers.sockets import NodeSockets
from protocol.transport.fast_path import FAST_PATH
from protocol.transport.http import HttpListener

COLLECT_PERIOD_S: Final = 5.0  # what a worker has counted and that is lost when it is killed
MEETING_PLACE_OCTETS_MAX: Final = (
    80  # of the 107 of a socket's address; behind it come a number and a process
)
_LOOP: Final = asyncio.run
"""Not uvloop, which must not be forked, and hardly anything happens here."""

log = structlog.get_logger(__name__)

Load = Callable[[], ListenSettings]
"""Reads the settings. Raises SettingsError."""


def run_with_workers(settings: ListenSettings, load: Load, *, role: str, words: Sequence[str]) -> int:
    """Runs a node with workers until SIGTERM or SIGINT, then drains it. Gives the exit code.

    settings: what load() gave at the start. words: see Launcher.
    """
    try:
        return lifecycle.run(
            lambda stopping: Supervisor(settings, load, role=role, words=words).run(stopping), on=_LOOP
        )
    except WorkerDied as error:
        print(f"a worker did not start: it {error}; see the log", file=sys.stderr)  # noqa: T201
        return lifecycle.EXIT_OUTAGE


class Supervisor:
    """What runs the workers of one node."""

    def __init__(self, settings: ListenSettings, load: Load, *, role: str, words: Sequence[str]) -> None:
        self._settings = settings
        self._load = load
        self._role = role
        self._words = words
        self._resources = AsyncExitStack()
        self._slots: list[Slot] = []
        self._hangup = asyncio.Event()
        self._metrics = MergedMetrics()
        self._own = CollectorRegistry()
        self._restarts = Counter(
            "handlegrid_worker_restarts_total",
            "Starts of a worker after an end that nobody wanted.",
            registry=self._own,
        )
        self._reloaded = Gauge(
            "handlegrid_config_last_reload_success",
            "Whether the settings that were read last are in force.",
            registry=self._own,
        )
        self._reloaded.set(1)

    async def run(self, stopping: asyncio.Event) -> None:
        """Run the node until the event is set. Raises SettingsError, StoreUnavailable or WorkerDied."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hangup.set)
        work = asyncio.create_task(self._work())
        stop = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait([work, stop], return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
            notify("STOPPING=1")
        finally:
            for task in (work, stop):
                task.cancel()
            await asyncio.wait([work, stop])
            await asyncio.gather(*(slot.end() for slot in self._slots))
            await self._resources.aclose()

    async def _work(self) -> None:
        """Start everything and keep it running; ends only by what it raises."""
        tell_path(FAST_PATH)
        sockets = self._open()
        admin = await self._open_admin()
        await self._slots[
            0
        ].start()  # it makes what is not there yet, and finds what is wrong with the settings
        await _all(slot.start() for slot in self._slots[1:])
        addresses = Addresses(
            **sockets.addresses(),
            admin=() if admin is None else (admin.address,),
        )
        serial = self._slots[0].site_serial
        log.info("listening", site_serial=serial, workers=len(self._slots), **asdict(addresses))
        notify("READY=1")
        await _all([*(slot.keep() for slot in self._slots), self._keep_reloading(), self._keep_collecting()])

    def _open(self) -> NodeSockets:
        sockets = NodeSockets.open(self._settings, usable_hosts(self._settings))
        self._resources.callback(sockets.close)
        memory = SharedMemory.create()
        self._resources.callback(os.close, memory)
        launcher = Launcher(
            words=self._words,
            memory=memory,
            metrics=self._metrics,
            meeting_place=self._resources.enter_context(_meeting_place()),
        )
        self._own.register(UdpDrops(sockets.drops))
        self._slots = [
            Slot(index, launcher, of_worker, self._settings, self._restarts.inc)
            for index, of_worker in enumerate(sockets.of_worker)
        ]
        return sockets

    async def _open_admin(self) -> HttpListener | None:
        settings = self._settings
        if not settings.admin_port:
            return None
        registry = CollectorRegistry()
        registry.register(self._metrics)
        checks = [Check(name=f"worker {slot.index}", probe=slot.unmet) for slot in self._slots]
        admin = await start_admin(
            settings.admin_address, settings.admin_port, registry, checks, refresh=self._collect
        )
        self._resources.push_async_callback(admin.close)
        return admin

    async def _collect(self) -> None:
        await asyncio.gather(*(slot.collect() for slot in self._slots))
        self._metrics.told(self, families_of(self._own))

    async def _keep_collecting(self) -> None:
        while True:
            await asyncio.sleep(COLLECT_PERIOD_S)
            await self._collect()

    async def _keep_reloading(self) -> None:
        while True:
            await self._hangup.wait()
            self._hangup.clear()
            notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1_000}")
            self._reloaded.set(await self._reload())
            notify("READY=1")

    async def _reload(self) -> bool:
        """Read the settings and bring them into force; False when those before stay in force."""
        try:
            settings = self._load()
        except SettingsError as error:
            for fault in error.faults:
                log.error("reload_refused", fault=fault)
            return False
        changed = self._settings.needs_restart(settings)
        if changed:
            log.error("reload_refused", settings=changed, remedy="restart the node: they decide its sockets")
            return False
        for slot in self._slots:
            try:
                await slot.replace(settings)
            except (SettingsError, StoreUnavailable, WorkerDied) as error:
                log.error("reload_refused", worker=slot.index, fault=str(error))
                await self._roll_back()
                return False
        self._settings = settings
        set_up_logs(settings.log_level, node=settings.name, role=self._role)
        log.info("reloaded", site_serial=self._slots[0].site_serial)
        return True

    async def _roll_back(self) -> None:
        """Let every worker have the settings from before again; one that cannot go back stays as it is."""
        for slot in self._slots:
            if slot.settings is not self._settings:
                try:
                    await slot.replace(self._settings)
                except (SettingsError, StoreUnavailable, WorkerDied) as error:
                    log.error("worker_not_rolled_back", worker=slot.index, reason=str(error))


def _meeting_place() -> TemporaryDirectory[str]:
    """A directory that only this node's user may enter. Raises SettingsError where no sockets can be made in one."""
    try:
        made = TemporaryDirectory(prefix="handlegrid-", ignore_cleanup_errors=True)
    except OSError as error:
        raise SettingsError([f"TMPDIR: no directory can be made there: {error}"]) from error
    if len(os.fsencode(made.name)) > MEETING_PLACE_OCTETS_MAX:
        made.cleanup()
        raise SettingsError([f"TMPDIR: {made.name} is too long for the address of a local socket"])
    return made


async def _all(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all at once; the first that fails ends the others."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
