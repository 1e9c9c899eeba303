"""A registry node as a process of its own, on durable Postgres, with an enterprise that holds its prefix and a key."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from protocol.handle import Prefix
from registry.accounts.keys import NewKey
from registry.accounts.organisation import Quotas
from registry.accounts.profile import CertificateType, Industry, OrganisationKind, Profile, Region
from registry.accounts.roles import ROLE_RIGHTS, Role
from registry.accounts.service import HOST, Accounts
from registry.allocation.lifecycle import Hosting
from registry.allocation.model import Wish
from registry.allocation.service import Allocation
from registry.node import Node, open_node
from registry.outcomes import COMMAND, Origin
from registry.settings import RegistrySettings, load_registry_settings

PARENT: Final = "88.100"
LABEL: Final = "1"
PREFIX: Final = f"{PARENT}.{LABEL}"
READY_WITHIN_S: Final = 60.0
ENDS_WITHIN_S: Final = 30.0
UNLIMITED: Final = 1_000_000_000
"""Requests a minute: what is measured is not the limit."""
REVIEWER: Final = Origin(actor="reviewer", via="command")
"""Somebody else than who submits."""
PROFILE: Final = Profile(
    name="Pumpenwerk",
    kind=OrganisationKind.FOREIGN_CONTROLLED,
    certificate_type=CertificateType.OTHER,
    certificate_number="B-1",
    region=Region(province="310000"),
    industry=Industry(section="C", division="34"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Enterprise:
    """An approved organisation that holds PREFIX, and the API keys of those who have to do with it."""

    organisation: str
    editor: str = field(repr=False)
    """Registers below PREFIX, and there alone."""
    administrator: str = field(repr=False)
    reviewer: str = field(repr=False)
    operator: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryProcess:
    """A running node and what is needed to use it."""

    pid: int
    settings: RegistrySettings
    enterprise: Enterprise

    @property
    def port(self) -> int:
        """Of HTTP on loopback."""
        return self.settings.http_port


def write_settings(directory: Path, name: str, dsn: str) -> Path:
    """Write the settings of a node as an operator would; only ports and addresses are unusual."""
    path = directory / f"{name}.toml"
    ports = {key: _free_port() for key in ("handle_port", "http_port", "admin_port")}
    lines = [
        "[registry]",
        f'name = "{name}"',
        f"data_dir = {json.dumps(str(directory / name))}",
        f'homes = ["{PARENT}"]',
        f"database = {json.dumps(dsn)}",
        'listen_addresses = ["127.0.0.1"]',
        'source_unlimited_networks = ["127.0.0.0/8"]',
        'plain_http_credentials = "loopback"',
        *(f"{key} = {port}" for key, port in ports.items()),
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


async def make_enterprise(settings: RegistrySettings) -> Enterprise:
    """Make an organisation, have it approved, and give it PREFIX and no limits."""
    async with open_node(settings) as node:
        accounts, operations = Accounts(node.operations), node.operations
        prefix = Prefix.parse(PREFIX)
        async with operations.transaction(COMMAND) as tx:
            made = await accounts.organisations.create(tx, PROFILE)
        async with operations.transaction(REVIEWER) as tx:
            made = await accounts.organisations.review(tx, made, approve=True, reason="")
            quotas = Quotas(requests_per_minute=UNLIMITED, identifiers_per_day=UNLIMITED)
            made = await accounts.organisations.set_quotas(tx, made, quotas)
        await _allocate(node, settings, made.id)

        async def key(role: Role, organisation: str | None, *prefixes: bytes) -> str:
            rights = ROLE_RIGHTS[role]
            limits = frozenset(prefixes) or None
            new = NewKey(organisation=organisation, name=role.value, rights=rights, prefixes=limits)
            async with operations.transaction(COMMAND) as tx:
                return (await accounts.keys.create(tx, HOST, new)).token

        return Enterprise(
            organisation=made.id,
            editor=await key(Role.ENTERPRISE_EDITOR, made.id, prefix.key),
            administrator=await key(Role.ENTERPRISE_ADMINISTRATOR, made.id),
            reviewer=await key(Role.REVIEWER, None),
            operator=await key(Role.OPERATOR, None),
        )


async def _allocate(node: Node, settings: RegistrySettings, organisation: str) -> None:
    """Give the organisation PREFIX, hosted here."""
    allocation = Allocation.of(node.operations, settings, node.site)
    wish = Wish(
        organisation=organisation,
        parent=Prefix.parse(PARENT),
        label=LABEL,
        hosting=Hosting.HOSTED,
        purpose="products",
    )
    async with node.operations.transaction(COMMAND) as tx:
        applied = await allocation.apply(tx, wish)
    async with node.operations.transaction(REVIEWER) as tx:
        await allocation.review(tx, applied.id, approve=True, reason="")
        await allocation.allocate(tx, applied.id)


@contextmanager
def running(settings_file: Path, enterprise: Enterprise) -> Iterator[RegistryProcess]:
    """Run the node for the duration of the block. Its log goes to a file beside its settings."""
    settings = load_registry_settings(settings_file, {})
    with settings_file.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "registry", str(settings_file)], stderr=log)
        try:
            _wait_until_ready(process, settings.admin_port, Path(log.name))
            yield RegistryProcess(pid=process.pid, settings=settings, enterprise=enterprise)
        finally:
            process.terminate()
            process.wait(ENDS_WITHIN_S)


def _wait_until_ready(process: "subprocess.Popen[bytes]", admin_port: int, log: Path) -> None:
    until_s = time.monotonic() + READY_WITHIN_S
    while True:
        if process.poll() is not None:
            raise SystemExit(f"the node ended at once:\n{log.read_text()}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/health/ready", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (OSError, urllib.error.URLError):
            pass
        if time.monotonic() > until_s:
            raise SystemExit("the node was not ready in time")
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
