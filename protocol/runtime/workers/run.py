"""The life of a worker: it hears from its supervisor who it is, says when it answers, and ends when it is told to."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
import structlog
import uvloop
from prometheus_client import CollectorRegistry

from protocol.errors import SettingsError, StoreUnavailable
from protocol.runtime.admin import Check, unmet
from protocol.runtime.lifecycle import (
    EXIT_OUTAGE,
    EXIT_SETTINGS,
    Node,
    raise_descriptor_limit,
    relieve_collector,
    stop_on,
)
from protocol.runtime.listen_settings import ListenSettings
from protocol.runtime.logs import set_up_logs
from protocol.runtime.workers.control import (
    Collect,
    Collected,
    Drain,
    Failed,
    Probe,
    Probed,
    Ready,
    Start,
    ToWorker,
    WorkerEnd,
)
from protocol.runtime.workers.memory import SharedMemory
from protocol.runtime.workers.merged_metrics import families_of
from protocol.runtime.workers.sockets import WorkerSockets
from protocol.runtime.workers.worker import Inheritance, Worker

log = structlog.get_logger(__name__)

Settings = TypeVar("Settings", bound=ListenSettings)


class WorkerNode(Node, Protocol):
    """What a worker runs; between start() and stop() it tells how it is."""

    @property
    def collectors(self) -> CollectorRegistry:
        """What it counts."""

    @property
    def checks(self) -> Sequence[Check]:
        """What it needs to be ready."""


MakeNode = Callable[[Settings, Worker], WorkerNode]


def run_worker(
    descriptor: int, settings_type: type[Settings], make_node: MakeNode[Settings], *, role: str
) -> int:
    """Runs a worker until it is told to end, by its supervisor, by SIGTERM, or by its supervisor's death.

    descriptor: of its end of the control socket. Gives the exit code.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # meant for the supervisor
    raise_descriptor_limit()
    return uvloop.run(_run(socket.socket(fileno=descriptor), settings_type, make_node, role))


async def _run(
    end: socket.socket, settings_type: type[Settings], make_node: MakeNode[Settings], role: str
) -> int:
    stopping = asyncio.Event()
    stop_on(stopping)
    end.set_inheritable(False)
    end.setblocking(False)
    control: WorkerEnd = await WorkerEnd.open(end, ToWorker)
    start = await control.receive()
    assert isinstance(start, Start)
    settings = msgspec.msgpack.decode(start.settings, type=settings_type, dec_hook=_decode)
    set_up_logs(settings.log_level, node=settings.name, role=role, worker=start.index)
    node = make_node(settings.share(settings.worker_count()), _adopt(start))
    try:
        await node.start()
    except (SettingsError, StoreUnavailable) as error:
        outage = isinstance(error, StoreUnavailable)
        faults = [str(error)] if isinstance(error, StoreUnavailable) else list(error.faults)
        await control.send(Failed(faults=faults, outage=outage))
        await control.close()
        return EXIT_OUTAGE if outage else EXIT_SETTINGS
    relieve_collector()
    obeying = asyncio.create_task(_obey(control, node, stopping))
    with suppress(ConnectionError):
        await control.send(Ready(site_serial=node.site.serial))
    await stopping.wait()
    await node.stop()
    obeying.cancel()
    await asyncio.wait([obeying])
    with suppress(ConnectionError):
        await control.send(Collected(families_of(node.collectors)))
        await control.close()
    return 0


def _adopt(start: Start) -> Worker:
    memory = SharedMemory(start.memory, start.column)
    os.close(start.memory)
    inheritance = Inheritance(
        sockets=WorkerSockets.adopt(start.sockets),
        memory=memory,
        meeting_place=Path(start.meeting_place),
        workers=start.workers,
    )
    return Worker(index=start.index, inheritance=inheritance)


def _decode(kind: type, value: Any) -> Any:
    """Paths travel as text, whole, since the supervisor has taken them from the settings file's folder."""
    assert kind is Path
    return Path(value)


async def _obey(control: WorkerEnd, node: WorkerNode, stopping: asyncio.Event) -> None:
    """Does what the supervisor says, until it is gone."""
    try:
        async with asyncio.TaskGroup() as probing:
            while True:
                message = await control.receive()
                match message:
                    case Collect():
                        await control.send(Collected(families_of(node.collectors)))
                    case Probe():
                        probing.create_task(_probe(control, node))
                    case Drain():
                        stopping.set()
                    case Start():
                        raise AssertionError("started twice")
    except* (EOFError, ConnectionError):
        if not stopping.is_set():
            log.warning("supervisor_gone")
        stopping.set()


async def _probe(control: WorkerEnd, node: WorkerNode) -> None:
    await control.send(Probed(await unmet(node.checks)))
