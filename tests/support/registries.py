"""Registry nodes on the test's own event loop, with real sockets and a real database."""

import json
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
from yarl import URL

from registry.daemon import RegistryNode
from registry.initialise import SERVER_KEY_FILE
from registry.settings import RegistrySettings
from tests.support.scratch import free_port
from tests.support.server_keys import give_some_server_key

LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """What a client of the record API sees."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, which is always JSON."""
        assert self.headers["Content-Type"] == "application/json;charset=utf-8"
        return json.loads(self.body)

    @property
    def rc(self) -> int:
        """The response code."""
        return int(self.json["responseCode"])


@dataclass(slots=True, kw_only=True)
class RunningRegistry:
    """A started node, and how its administrator and strangers speak HTTP with it."""

    node: RegistryNode
    session: aiohttp.ClientSession
    scheme: str = "http"
    host: str = LOOPBACK
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def base(self) -> str:
        """The URL of the node's HTTP listener."""
        return f"{self.scheme}://{self.host}:{self.node.addresses.http[0][1]}"

    @property
    def admin_base(self) -> str:
        """The URL of the node's admin listener."""
        return "http://{}:{}".format(*self.node.addresses.admin[0])

    @property
    def user(self) -> str:
        """The node's administrator as index:handle."""
        return f"300:{self.node.settings.homes[0]}/ADMIN"

    @property
    def secret(self) -> str:
        """The administrator's secret."""
        return (self.node.settings.data_dir / "admin.secret").read_text().strip()

    @property
    def authorization(self) -> dict[str, str]:
        """The header with which the administrator proves itself."""
        return basic(self.user.replace(":", "%3A"), self.secret)

    async def ask(
        self,
        method: str,
        target: str,
        *,
        body: Any = None,
        octets: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> HttpAnswer:
        """Send a request with exactly this target; body is sent as JSON."""
        given = {**self.headers, **(headers or {})}
        if body is not None:
            octets = json.dumps(body).encode()
            given.setdefault("Content-Type", "application/json")
        url = URL(self.base + target, encoded=True)
        async with self.session.request(
            method,
            url,
            data=None if octets is None else BytesIO(octets),
            headers=given,
            ssl=False,
            allow_redirects=False,
        ) as response:
            return HttpAnswer(
                status=response.status, headers=dict(response.headers), body=await response.read()
            )

    async def put(self, target: str, body: Any) -> HttpAnswer:
        """Write as the administrator."""
        return await self.ask("PUT", target, body=body, headers=self.authorization)

    async def delete(self, target: str) -> HttpAnswer:
        """Delete as the administrator."""
        return await self.ask("DELETE", target, headers=self.authorization)

    async def get(self, target: str) -> HttpAnswer:
        """Read as anybody."""
        return await self.ask("GET", target)


def basic(user: str, password: str) -> dict[str, str]:
    """Return the header of Basic authentication for a user name as it is."""
    return {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}


def registry_settings(dsn: str, directory: Path, **changes: Any) -> RegistrySettings:
    """Return the settings of a node on loopback, and give it a key; changes are fields of RegistrySettings."""
    plain: dict[str, Any] = {
        "name": "test",
        "data_dir": str(directory / "node"),
        "database": dsn,
        "homes": ["88.1"],
        "listen_addresses": [LOOPBACK],
        "handle_port": free_port(LOOPBACK),
        "http_port": free_port(LOOPBACK),
        "admin_port": free_port(LOOPBACK),
        "plain_http_credentials": "loopback",
        **changes,
    }
    settings = msgspec.convert(plain, RegistrySettings, dec_hook=lambda kind, value: kind(value))
    give_some_server_key(settings.data_dir / SERVER_KEY_FILE)
    return settings


@asynccontextmanager
async def running_registry(
    dsn: str, directory: Path, *, scheme: str = "http", **changes: Any
) -> AsyncIterator[RunningRegistry]:
    """Run a node for the duration of the block. The database may be forgetful: it is a test's."""
    node = RegistryNode(registry_settings(dsn, directory, **changes), unsafe=True)
    await node.start()
    try:
        async with aiohttp.ClientSession() as session:
            yield RunningRegistry(node=node, session=session, scheme=scheme)
    finally:
        await node.stop()
