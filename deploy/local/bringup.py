"""Bringing the deployment up: every step can be repeated, and a second `up` finds what the first one did.

Nodes are initialised, delegations written and the sample imported by the registry's own operations, with each
node's settings; the daemons then serve what they find in their databases.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from deploy.local import control, ports
from deploy.local.control import POSTGRES, Status
from deploy.local.deployment import DAEMONS, NODES, RECURSIVE, RESOLVER_DATABASE, Deployment
from deploy.local.postgres import EmbeddedPostgres, ensure_database
from deploy.local.processes import LocalError, exclusive

READY_TIMEOUT_S: Final = 90.0  # a busy machine takes some seconds for each daemon
POSTGRES_TIMEOUT_S: Final = 300.0  # recovery after a crash may be long
HEALTH_TIMEOUT_S: Final = 3.0
POLL_S: Final = 0.1
HOPELESS_RESTARTS: Final = 3  # a daemon that ended as often will not come up by waiting

Tell = Callable[[str], None]


class Bringup:
    """One run of `handlegrid up`."""

    def __init__(self, home: Path, tell: Tell) -> None:
        self.deployment = Deployment(home)
        self._tell = tell

    async def run(self) -> bool:
        """Bring everything up and wait until it answers; False when it was up already.

        Raises LocalError, SettingsError or StoreUnavailable, each with what to do.
        """
        self.deployment.create_directories()
        home = self.deployment.home
        with exclusive(home / "up.lock") as ours:
            if not ours:
                raise LocalError(f"another `handlegrid up` is at work in {home}; wait until it has ended")
            self.deployment = Deployment.load(home)
            if is_up(self.deployment):
                return False
            await self._bring_up()
        return True

    async def _bring_up(self) -> None:
        status = await self._start_postgres()
        databases = await self._create_databases()
        self._choose_ports(status)
        self.deployment.write_settings(databases)
        await self._initialise()
        self._start_daemons()
        await self._await_ready()
        if not self.deployment.sample_loaded:
            await self._load_sample()
            self.deployment.sample_loaded = True
            self.deployment.save()

    async def _start_postgres(self) -> Status:
        home = self.deployment.home
        status = control.start(home)
        self._tell(f"the supervisor runs (process {status.pid})")
        until_s = time.monotonic() + POSTGRES_TIMEOUT_S
        while True:
            process = status.process(POSTGRES)
            assert process is not None, "the supervisor starts it first"
            if process.state == "running":
                self._tell("Postgres is ready")
                return status
            if process.cause or time.monotonic() > until_s:
                raise LocalError(f"Postgres {process.cause or 'is not ready'}\nIts log: {process.log}")
            await asyncio.sleep(POLL_S)
            status = control.ask(home, {"do": "status"})

    async def _create_databases(self) -> dict[str, str]:
        postgres = EmbeddedPostgres(self.deployment.home / POSTGRES)
        names = {node.name: node.database for node in NODES} | {RECURSIVE: RESOLVER_DATABASE}
        return {daemon: await ensure_database(postgres, name) for daemon, name in names.items()}

    def _choose_ports(self, status: Status) -> None:
        kept = self.deployment.ports
        if set(kept) != set(DAEMONS):
            self.deployment.ports = ports.choose(DAEMONS)
        else:
            stopped = [name for name in DAEMONS if not _is_running(status.process(name))]
            self.deployment.ports = ports.replace_taken(kept, stopped)
            for name in stopped:
                if self.deployment.ports[name] != kept[name]:
                    self._tell(f"a port of {name} is taken by another program: it moves to another one")
        self.deployment.save()
