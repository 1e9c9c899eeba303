"""The command line in a thread of its own, against a node on the test's event loop."""

import asyncio
import contextlib
import io
import json
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO
from unittest import mock

from deploy import cli
from deploy.local.accounts import ensure_enterprise, ensure_operator_key
from deploy.local.deployment import DAEMONS, ENTERPRISE_KEY, OPERATOR_KEY, Deployment
from deploy.local.ports import Ports
from deploy.local.sample import PREFIX
from registry.node import open_node
from tests.support.registries import RunningRegistry, registry_settings, running_registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Somebody at a terminal of a one-machine deployment in which one node runs."""

    home: Path
    node: RunningRegistry
    name: str
    """Of the node, which is the prefix that it homes."""

    @property
    def deployment(self) -> Deployment:
        """Where everything is."""
        return Deployment(self.home)

    async def run(self, *words: str, code: int | None = 0, said: str = "") -> Ended:
        """Run a command, which must end with this code (None: any); said: what is typed."""
        return await run(*words, code=code, said=said)

    async def json(self, *words: str, code: int | None = 0) -> Any:
        """Run a command for machines."""
        return (await self.run(*words, "--json", *self.where, code=code)).json

    async def text(self, *words: str) -> str:
        """Run a command for people."""
        return (await self.run(*words, *self.where)).out

    @property
    def where(self) -> tuple[str, ...]:
        """The options that name the node, as whoever holds its prefix, or its operator."""
        return ("--node", self.name, "--home", str(self.home))

    def as_(self, key_file: Path) -> tuple[str, ...]:
        """The options that name the node and who asks."""
        return ("--url", self.node.base, "--key-file", str(key_file))

    @property
    def enterprise_key(self) -> Path:
        """The file with the key of the sample enterprise."""
        return self.deployment.key_file(self.name, ENTERPRISE_KEY)

    @property
    def operator_key(self) -> Path:
        """The file with the key of the node's operator."""
        return self.deployment.key_file(self.name, OPERATOR_KEY)


class _OfThread(io.StringIO):
    """Keeps what one thread writes; everybody else, such as the node's log, writes where he would have."""

    def __init__(self, other: TextIO) -> None:
        super().__init__()
        self._thread = threading.get_ident()
        self._other = other

    def write(self, text: str) -> int:
        if threading.get_ident() == self._thread:
            return super().write(text)
        return self._other.write(text)


async def run(*words: str, code: int | None = 0, said: str = "") -> Ended:
    """Run a command, which must end with this code (None: any); said: what is typed."""
    ended = await asyncio.to_thread(run_command, words, said)
    assert code is None or ended.code == code, f"{words}: {ended.code}\n{ended.out}\n{ended.err}"
    return ended


def run_command(words: tuple[str, ...], said: str = "") -> Ended:
    """Run a command to its end, in a thread of the caller's."""
    out, err = _OfThread(sys.stdout), _OfThread(sys.stderr)
    code: object = 0
    with (
        mock.patch("sys.argv", ["handlegrid", *words]),
        mock.patch("sys.stdin", io.TextIOWrapper(io.BytesIO(said.encode()), encoding="utf-8")),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code
    return Ended(code=int(str(code or 0)), out=out.getvalue(), err=err.getvalue())


@asynccontextmanager
async def at_desk(dsn: str, home: Path, name: str = PREFIX) -> AsyncIterator[Desk]:
    """Run a node that homes a prefix, with the keys and, for the sample's, the enterprise that `up` makes."""
    deployment = Deployment(home)
    deployment.create_directories()
    directory = deployment.node_directory(name)
    settings = registry_settings(dsn, directory, data_dir=str(directory), homes=[name])
    async with open_node(settings, unsafe=True) as node:
        await ensure_operator_key(deployment, name, node)
        if name == PREFIX:
            await ensure_enterprise(deployment, node)
    async with running_registry(dsn, directory, data_dir=str(directory), homes=[name]) as running:
        http = running.node.addresses.http[0][1]
        deployment.ports = {daemon: Ports(handle=1, http=http, admin=1) for daemon in DAEMONS}
        deployment.save()
        yield Desk(home=home, node=running, name=name)
