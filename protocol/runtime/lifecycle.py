"""The life of a daemon: start, say that it is ready, wait for SIGTERM, drain, end."""

import asyncio
import gc
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import asdict
from typing import Any, Final, Protocol

import structlog
import uvloop

from protocol.errors import SettingsError, StoreUnavailable
from protocol.runtime.listeners import Addresses
from protocol.site import Site
from protocol.transport.fast_path import FAST_PATH, FastPath

EXIT_SETTINGS: Final = 2  # what the operator set cannot be used; starting again does not help
EXIT_OUTAGE: Final = 3  # something that the daemon needs is down; starting again may help
COLLECT_AFTER_OBJECTS: Final = 20_000
"""New objects between two looks of the garbage collector; a batch of 1,000 registrations makes about as many."""
OLDEST_GENERATION: Final = 2
LOOK_AT_ALL_EVERY: Final = 64
"""Looks of the collector at the oldest generation between two at all that was ever spared; hours, under load."""
DESCRIPTORS_MAX: Final = 65_536  # room for every bounded connection; usual soft limits of 1,024 are not
LAG_PERIOD_S: Final = 0.5  # how often the event loop's lag is measured

log = structlog.get_logger(__name__)

Main = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
"""The daemon: runs until the event is set, then drains and returns."""


class Node(Protocol):
    """What a daemon runs."""

    @property
    def addresses(self) -> Addresses:
        """Where it listens."""

    @property
    def site(self) -> Site:
        """Its own site record."""

    async def start(self) -> None:
        """Opens everything. Raises SettingsError or StoreUnavailable; nothing stays open then."""

    async def stop(self) -> None:
        """Takes nothing new, lets requests in progress end, closes everything."""


def run(main: Main, *, on: Callable[[Coroutine[Any, Any, None]], None] = uvloop.run) -> int:
    """Runs a daemon until SIGTERM or SIGINT; a second signal ends it at once. Gives the exit code.

    on: runs an event loop. A SettingsError or StoreUnavailable is told on standard error, without a traceback.
    """
    raise_descriptor_limit()
    try:
        on(_with_signals(main))
    except SettingsError as error:
        return tell_faults(error)
    except StoreUnavailable as error:
        print(error, file=sys.stderr)  # noqa: T201
        return EXIT_OUTAGE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


def tell_faults(error: SettingsError) -> int:
    """Tells what the operator has to change, a line each, on standard error. Gives the exit code."""
    for fault in error.faults:
        print(fault, file=sys.stderr)  # noqa: T201
    return EXIT_SETTINGS


async def serve(node: Node, stopping: asyncio.Event) -> None:
    """Runs a node until the event is set, then drains it; log and service manager are told."""
    await node.start()
    try:
        relieve_collector()
        tell_path(FAST_PATH)
        log.info("listening", site_serial=node.site.serial, **asdict(node.addresses))
        notify("READY=1")
        await stopping.wait()
        notify("STOPPING=1")
    finally:
        await node.stop()


def tell_path(path: FastPath) -> None:
    """Log which data path answers, as a warning when a compiled one lies there and does not fit."""
    tell = log.warning if path.is_stale else log.info
    tell("fast_path", path=path.name, reason=path.reason)


def relieve_collector() -> None:
    """Spare the garbage collector what lives as long as the process, and let it look less often at the rest.

    Measured: of the time that a batch of 1,000 registrations takes, a third went into collections that found nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER_OBJECTS)
    gc.callbacks.append(_SpareSurvivors().after_collection)


class _SpareSurvivors:
    """Spares the collector what has survived a look at everything: a cache of half a million entries, above all.

    Looking at them again and again would stop the node for as many microseconds each time. Now and then all of it is
    looked at once more, for what has become garbage in a circle since.
    """

    def __init__(self) -> None:
        self._looks = 0

    def after_collection(self, phase: str, info: dict[str, int]) -> None:
        """What gc.callbacks call."""
        if phase != "stop" or info["generation"] != OLDEST_GENERATION:
            return
        self._looks += 1
        if self._looks % LOOK_AT_ALL_EVERY:
            gc.freeze()
        else:
            gc.unfreeze()


def raise_descriptor_limit() -> None:
    """Takes as many file descriptors as the hard limit allows, up to DESCRIPTORS_MAX."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_MAX if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _with_signals(main: Main) -> None:
    """Runs a daemon whose event is set by SIGTERM and SIGINT, and which SIGHUP does not end."""
    stopping = asyncio.Event()
    stop_on(stopping)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _on_hangup)
    await main(stopping)


def stop_on(stopping: asyncio.Event) -> None:
    """Has SIGTERM and SIGINT set the event, and end the process when it is set already."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, stopping, number)


def _on_hangup() -> None:
    log.warning(
        "reload_refused", remedy="restart the node, or set workers = 2 or more: those are replaced in turn"
    )


def _on_signal(stopping: asyncio.Event, number: signal.Signals) -> None:
    if stopping.is_set():
        log.warning("ended_without_drain", signal=number.name)
        os._exit(128 + number)
    log.info("stopping", signal=number.name)
    stopping.set()


def notify(state: str) -> None:
    """Tells the service manager that started us, if it gave an address in NOTIFY_SOCKET.

    state: "READY=1", "RELOADING=1", "STOPPING=1", each as sd_notify(3) describes it.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.connect(address)
            channel.send(state.encode("ascii"))
    except OSError as error:
        log.warning("service_manager_unreachable", reason=error.strerror)


async def measure_lag(report: Callable[[float], None], period_s: float = LAG_PERIOD_S) -> None:
    """Reports by how many seconds the event loop is late, until cancelled."""
    while True:
        planned_s = time.monotonic() + period_s
        await asyncio.sleep(period_s)
        report(max(0.0, time.monotonic() - planned_s))


async def repeat(action: Callable[[], Awaitable[None]], period_s: float, stopping: asyncio.Event) -> None:
    """Runs an action every period_s and once more when stopping is set; a failure is logged and not the end."""
    while True:
        stopped = await _waited(stopping, period_s)
        try:
            await action()
        except StoreUnavailable as outage:  # who needs the database to answer says it loudly
            log.warning(
                "periodic_action_waits", action=getattr(action, "__qualname__", ""), reason=str(outage)
            )
        except Exception:
            log.exception("periodic_action_failed", action=getattr(action, "__qualname__", ""))
        if stopped:
            return


async def _waited(stopping: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return False
    return True
