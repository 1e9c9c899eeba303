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

from registry.accounts.keys import NewKey
from registry.accounts.organisation import Quotas
from registry.accounts.profile import CertificateType, Industry, OrganisationKind, Profile, Region
from registry.accounts.roles import ROLE_RIGHTS, Right, Role
from registry.accounts.service import HOST, Accounts
from registry.allocation.commands import assign
from registry.node import open_node
from registry.outcomes import COMMAND, Origin
from registry.settings import RegistrySettings, load_registry_settings

PREFIX: Final = "88.100.1"
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
class RegistryProcess:
    """A running node and what is needed to use it."""

    pid: int
    settings: RegistrySettings
    organisation: str
    token: str = field(repr=False)
    """API key of the enterprise, for every right on its prefix."""
    operator_token: str = field(repr=False)

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
        f'homes = ["{PREFIX.rpartition(".")[0]}", "{PREFIX}"]',
        f"database = {json.dumps(dsn)}",
        'listen_addresses = ["127.0.0.1"]',
        'source_unlimited_networks = ["127.0.0.0/8"]',
        'plain_http_credentials = "loopback"',
        *(f"{key} = {port}" for key, port in ports.items()),
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


async def make_enterprise(settings: RegistrySettings) -> tuple[str, str, str]:
    """Make an approved organisation that holds PREFIX. Returns its id, an API key of it, and one of the operator."""
    async with open_node(settings) as node:
        accounts = Accounts(node.operations)
        organisations = accounts.organisations
        async with node.operations.transaction(COMMAND) as tx:
            made = await organisations.create(tx, PROFILE)
            operator = await accounts.make_operator_key(tx)
        async with node.operations.transaction(REVIEWER) as tx:
            made = await organisations.review(tx, made, approve=True, reason="")
            quotas = Quotas(requests_per_minute=UNLIMITED, identifiers_per_day=UNLIMITED)
            made = await organisations.set_quotas(tx, made, quotas)
            (home,) = [home for home in settings.home_prefixes() if str(home) == PREFIX]
            await assign(tx, home, made.id)
        rights = ROLE_RIGHTS[Role.ENTERPRISE_EDITOR] | {Right.IDENTIFIER_READ}
        async with node.operations.transaction(COMMAND) as tx:
            new = NewKey(organisation=made.id, name="line 4", rights=rights, prefixes=frozenset({home.key}))
            key = await accounts.keys.create(tx, HOST, new)
    return made.id, key.token, operator.token


@contextmanager
def running(settings_file: Path, enterprise: tuple[str, str, str]) -> Iterator[RegistryProcess]:
    """Run the node for the duration of the block. Its log goes to a file beside its settings."""
    settings = load_registry_settings(settings_file, {})
    organisation, token, operator_token = enterprise
    with settings_file.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "registry", str(settings_file)], stderr=log)
        try:
            _wait_until_ready(process, settings.admin_port, Path(log.name))
            yield RegistryProcess(
                pid=process.pid,
                settings=settings,
                organisation=organisation,
                token=token,
                operator_token=operator_token,
            )
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
