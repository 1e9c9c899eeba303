"""Bringing the deployment up: every step can be repeated, and a second `up` finds what the first one did.

Nodes are initialised, delegations written and the sample imported by the registry's own operations, with each
node's settings; the daemons then serve what they find in their databases.
"""

import asyncio
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.local import control, ports, sample
from deploy.local.accounts import ensure_enterprise, ensure_operator_key
from deploy.local.control import POSTGRES, ProcessStatus, Status
from deploy.local.deployment import (
    DAEMONS,
    NODES,
    OVERRIDES,
    RECURSIVE,
    RESOLVER_DATABASE,
    Deployment,
    NodePlan,
)
from deploy.local.postgres import EmbeddedPostgres, ensure_database
from deploy.local.processes import LocalError, exclusive, tail
from protocol.client import write_bundle
from protocol.handle import ROOT_PREFIX_OCTETS, Prefix
from registry.bulk import ImportOptions, ImportStatus, import_file
from registry.bulk.progress import SilentProgress
from registry.delegation import accept, allocate, read_authorisation, write_authorisation
from registry.node import Node, open_node
from registry.outcomes import Found
from registry.settings import load_registry_settings
from registry.statistics import CountedCreations, DailyStatistics, count_registrations

READY_TIMEOUT_S: Final = 90.0  # a busy machine takes some seconds for each daemon
POSTGRES_TIMEOUT_S: Final = 300.0  # recovery after a crash may be long
HEALTH_TIMEOUT_S: Final = 3.0
POLL_S: Final = 0.1
MAX_HEALTH_OCTETS: Final = 16_384  # a sentence for each thing that a daemon needs
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
        for name in [name for name in os.environ if name.startswith(OVERRIDES)]:
            del os.environ[name]
            self._tell(f"{name} is left out: it would hold for every daemon; set it in a settings file")
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

    async def _initialise(self) -> None:
        """Make what each node needs, from the root down, and delegate to each child."""
        async with AsyncExitStack() as opened:
            nodes: dict[str, Node] = {}
            for plan in NODES:
                settings = load_registry_settings(self.deployment.settings_file(plan.name))
                nodes[plan.name] = node = await opened.enter_async_context(open_node(settings))
                if plan.parent is None:
                    await self._write_bundle(node)
                else:
                    await self._delegate(plan, nodes[plan.parent], node)
                await self._make_keys(plan.name, node)

    async def _make_keys(self, name: str, node: Node) -> None:
        """API keys: of the node's operator, and of the enterprise on the node that serves it."""
        made = [await ensure_operator_key(self.deployment, name, node)]
        if name == sample.PREFIX:
            made.append(await ensure_enterprise(self.deployment, node))
        if any(made):
            self._tell(f"{name}: API keys are in {self.deployment.node_directory(name)}")

    async def _write_bundle(self, root: Node) -> None:
        """Tell everybody where the root is."""
        record = Prefix(ROOT_PREFIX_OCTETS).record
        answer = await root.operations.resolve(record)
        assert isinstance(answer, Found), "the root homes its own record"
        write_bundle(self.deployment.bundle_file, {record: answer.values})
        self._tell(f"root: its site, serial {root.site.serial}, is in {self.deployment.bundle_file}")

    async def _delegate(self, plan: NodePlan, parent: Node, child: Node) -> None:
        """Allocate the child's prefix on its parent and accept it on the child, by a file as two hosts would."""
        prefix = Prefix.parse(plan.homes[0])
        path = self.deployment.authorisation_file(plan.name)
        authorisation = await allocate(parent.operations, prefix, child.site)
        if authorisation.is_new:
            assert plan.parent is not None, "the root is delegated by nobody"
            settings = load_registry_settings(self.deployment.settings_file(plan.parent))
            await count_registrations(parent.store, settings, 1)
        write_authorisation(path, authorisation)
        await accept(child.operations, read_authorisation(path))
        self._tell(f"{plan.name}: delegated by {plan.parent}, site serial {child.site.serial}")

    def _start_daemons(self) -> None:
        home = self.deployment.home
        for daemon in DAEMONS:
            process = control.ask(home, {"do": "status"}).process(daemon)
            if process and process.state != "running":  # it waits to start again: its settings may be new
                control.ask(home, {"do": "end", "name": daemon})
            word = "resolver" if daemon == RECURSIVE else "node"
            command = [*control.PYTHON, "-m", "deploy.cli", word, str(self.deployment.settings_file(daemon))]
            control.ask(home, {"do": "start", "name": daemon, "command": command})

    async def _await_ready(self) -> None:
        """Wait until every daemon says that it can do its work.

        Raises LocalError that names those that do not, and why.
        """
        waiting = list(DAEMONS)
        until_s = time.monotonic() + READY_TIMEOUT_S
        while waiting:
            for daemon in tuple(waiting):
                if not why_not_ready(self.deployment, daemon):
                    waiting.remove(daemon)
                    self._tell(f"{daemon} answers on {self.deployment.address(daemon)}")
            if waiting and (time.monotonic() > until_s or self._is_hopeless(waiting)):
                raise LocalError("\n".join(self._describe_failure(daemon) for daemon in waiting))
            await asyncio.sleep(POLL_S)

    def _is_hopeless(self, waiting: list[str]) -> bool:
        status = control.ask(self.deployment.home, {"do": "status"})
        processes = [status.process(daemon) for daemon in waiting]
        return any(process and process.restarts >= HOPELESS_RESTARTS for process in processes)

    def _describe_failure(self, daemon: str) -> str:
        process = control.ask(self.deployment.home, {"do": "status"}).process(daemon)
        if process is None or not process.cause:
            return f"{daemon} does not become ready: {why_not_ready(self.deployment, daemon)}"
        return f"{daemon} {process.cause}; the end of {process.log}:\n{tail(Path(process.log))}"

    async def _load_sample(self) -> None:
        """Import the sample catalogue into the node of the enterprise, as `handlegrid import` does."""
        settings = load_registry_settings(self.deployment.settings_file(sample.PREFIX))
        options = ImportOptions(prefix=Prefix.parse(sample.PREFIX), default_ttl_s=settings.default_ttl_s)
        async with open_node(settings) as node:
            counted = CountedCreations(node.operations, DailyStatistics.of(node.store, settings))
            for industry, path in sample.write_catalogue(self.deployment.home / "sample"):
                report = await import_file(
                    path, operations=counted, options=options, progress=SilentProgress()
                )
                if report.status is not ImportStatus.COMPLETE:
                    raise LocalError(f"the sample {path} was not imported:\n{report.to_text()}")
                self._tell(f"{industry.title}: {report.counts.stored} products imported from {path}")


def is_up(deployment: Deployment) -> bool:
    """Whether every daemon runs and says that it can do its work."""
    status = control.status(deployment.home)
    return (
        status is not None
        and not status.stopping
        and deployment.sample_loaded
        and all(_is_running(status.process(daemon)) for daemon in DAEMONS)
        and not any(why_not_ready(deployment, daemon) for daemon in DAEMONS)
    )


def _is_running(process: ProcessStatus | None) -> bool:
    return process is not None and process.state == "running"


def why_not_ready(deployment: Deployment, daemon: str) -> str:
    """What a daemon says that it lacks; empty when it is ready."""
    return health_of(deployment, daemon).reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What a daemon says of itself."""

    reason: str = ""
    """What it lacks; empty when it is ready."""
    fast_path: str = ""
    """Which data path answers, compiled or pure; empty when it does not tell."""


def health_of(deployment: Deployment, daemon: str) -> Health:
    """What a daemon's health page says."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback needs no proxy
    try:
        with opener.open(deployment.health_url(daemon), timeout=HEALTH_TIMEOUT_S) as answer:
            return Health(fast_path=_fast_path(answer.read(MAX_HEALTH_OCTETS)))
    except urllib.error.HTTPError as error:
        with error:
            page = error.read(MAX_HEALTH_OCTETS)
        return Health(reason=_reasons(page) or f"HTTP {error.code}", fast_path=_fast_path(page))
    except OSError as error:
        return Health(reason=f"its health page does not answer ({error})")


def _fast_path(page: bytes) -> str:
    try:
        return str(json.loads(page)["fast_path"])
    except (ValueError, KeyError, TypeError):
        return ""


def _reasons(page: bytes) -> str:
    """The reasons on a health page as one sentence; the page itself when it is none of ours."""
    try:
        return "; ".join(str(reason) for reason in json.loads(page)["reasons"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        return page.decode(errors="replace").strip()
