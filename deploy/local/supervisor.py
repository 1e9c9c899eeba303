"""The supervisor: one detached process that owns the embedded Postgres and the daemons of a deployment.

It starts Postgres by itself and the daemons on request, keeps each running, and ends them all when it is told
to stop or is itself ended. Should it be killed, its children end with it; where the system has no means for
that, the next start ends them by `processes.json`.

Protocol on the control socket: one JSON object in a line, and one in answer.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import deploy
from deploy.local.children import Child, ChildState, Daemon, Database, log
from deploy.local.control import MAX_LINE_OCTETS, POSTGRES, control_socket, lock_file, remember
from deploy.local.deployment import OVERRIDES
from deploy.local.postgres import EmbeddedPostgres
from deploy.local.processes import LocalError, ProcessIdentity, exclusive
from protocol.runtime.build import build

POSTGRES_SETTINGS: Final = {"max_connections": "200"}  # four nodes, an import, statistics, and room
REMEMBER_S: Final = 0.2
LOCK_WAIT_S: Final = 3.0  # who only looks whether we run holds the lock for a moment

Request = dict[str, Any]


class Supervisor:
    """Everything that runs for the deployment in `home`."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._since_s = time.time()
        self._build = build()
        self._stopping = asyncio.Event()
        postgres = EmbeddedPostgres(home / POSTGRES, settings=POSTGRES_SETTINGS)
        self._children = {POSTGRES: Child(POSTGRES, Database(postgres))}

    async def run(self) -> None:
        """Run until told to stop; then end the daemons first and Postgres last."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        path = control_socket(self._home)
        path.unlink(missing_ok=True)  # the lock is ours, so it is nobody's
        server = await asyncio.start_unix_server(self._serve, path, limit=MAX_LINE_OCTETS)
        path.chmod(0o600)
        self._children[POSTGRES].begin()
        remembering = asyncio.create_task(self._remember())
        log(f"supervisor {os.getpid()} of {self._home} runs")
        await self._stopping.wait()
        await self._end_children()
        remembering.cancel()
        server.close()
        path.unlink(missing_ok=True)
        log("supervisor ends")

    async def _end_children(self) -> None:
        log("ending the daemons")
        daemons = [child for child in self._children.values() if child.name != POSTGRES]
        await asyncio.gather(*(child.end() for child in daemons))
        log("ending Postgres")
        await self._children[POSTGRES].end()

    async def _remember(self) -> None:
        """Keep on file which processes are ours."""
        known: dict[str, ProcessIdentity] = {}
        while True:
            running = {
                name: ProcessIdentity.of(child.pid) for name, child in self._children.items() if child.pid
            }
            current = {name: process for name, process in running.items() if process}
            if current != known:
                try:
                    remember(self._home, current)
                    known = current
                except OSError as error:  # a full disk must not keep anything from running
                    log(f"cannot write down which processes are ours: {error}")
            await asyncio.sleep(REMEMBER_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):  # a caller that went away
            try:
                answer = await self._answer(json.loads(await reader.readline()))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                answer = {"error": f"that is no request: {error!r}"}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def _answer(self, request: Request) -> dict[str, Any]:
        actions: dict[str, Callable[[Request], Awaitable[None]]] = {
            "status": self._do_nothing,
            "start": self._start,
            "end": self._end,
            "stop": self._stop,
        }
        action = actions.get(str(request.get("do")))
        if action is None:
            return {"error": f"the supervisor cannot do {request.get('do')!r}"}
        await action(request)
        return self._status()

    async def _do_nothing(self, request: Request) -> None:
        """Only the status was asked for."""

    async def _start(self, request: Request) -> None:
        name = str(request["name"])
        child = self._children.get(name)
        if self._stopping.is_set() or (child and child.state is not ChildState.ENDED):
            return
        command = tuple(str(word) for word in request["command"])
        log_file = self._home / "logs" / f"{name}.log"
        self._children[name] = Child(name, Daemon(command, log_file, _environment()))
        self._children[name].begin()

    async def _end(self, request: Request) -> None:
        child = self._children.get(str(request["name"]))
        if child and child.state is not ChildState.ENDED:
            await child.end()

    async def _stop(self, request: Request) -> None:
        self._stopping.set()

    def _status(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "since_s": self._since_s,
            "stopping": self._stopping.is_set(),
            "build": self._build,
            "processes": [_describe(child) for child in self._children.values()],
        }


def _describe(child: Child) -> dict[str, Any]:
    return {
        "name": child.name,
        "pid": child.pid,
        "state": child.state.value,
        "since_s": child.since_s,
        "restarts": child.restarts,
        "cause": child.cause,
        "log": str(child.program.log_file),
    }


def _environment() -> dict[str, str]:
    """What daemons inherit: our packages on the path, and no setting that was meant for another daemon."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OVERRIDES)}
    packages = str(Path(deploy.__file__).parents[1])
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, [packages, kept.get("PYTHONPATH")]))}


def main() -> None:
    """Run the supervisor of the data directory that is named on the command line, detached from the caller."""
    if os.fork():
        return
    os.umask(0o077)  # logs and whatever the daemons write are their owner's
    home = Path(sys.argv[1])
    until_s = time.monotonic() + LOCK_WAIT_S
    while time.monotonic() < until_s:
        with exclusive(lock_file(home)) as ours:
            if ours:
                asyncio.run(Supervisor(home).run())
                return
        time.sleep(REMEMBER_S)
    log("another supervisor runs this deployment")


if __name__ == "__main__":
    try:
        main()
    except LocalError as error:
        sys.exit(str(error))
