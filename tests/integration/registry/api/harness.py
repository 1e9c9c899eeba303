"""The framework of the API around routes of a test's own, on a real database."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from registry.accounts.roles import Caller, Right
from registry.api.app import ApiApp
from registry.api.credentials import Credentials
from registry.api.documents import make_documents
from registry.api.limits import RateLimits
from registry.api.route import Route
from registry.api.services import Services, make_services
from registry.metrics import RegistryMetrics
from registry.node import open_node
from tests.support.registries import registry_settings

ORGANISATION = "org_aaaaaaaaaaaaaaaaaaaa"
OTHER_ORGANISATION = "org_bbbbbbbbbbbbbbbbbbbb"
RIGHTS = frozenset({Right.IDENTIFIER_READ, Right.IDENTIFIER_WRITE, Right.USAGE_READ})


def caller(name: str, organisation: str | None = ORGANISATION, **changes: Any) -> Caller:
    """Somebody who has proven who he is."""
    plain: dict[str, Any] = {"id": name, "organisation": organisation, "rights": RIGHTS, "kind": "key"}
    return Caller(**{**plain, **changes})


CALLERS = {
    "one": caller("key_one"),
    "two": caller("key_two"),
    "other": caller("key_other", OTHER_ORGANISATION),
    "test": caller("key_test", test=True),
    "nobody": caller("key_nobody", rights=frozenset()),
    "node": caller("key_node", None),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a client sees."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return msgspec.json.decode(self.body)

    @property
    def slug(self) -> str:
        """The problem type of a refusal."""
        assert self.headers["content-type"] == "application/problem+json", self
        return str(self.json["type"]).rpartition("/")[2]


@dataclass(slots=True, kw_only=True)
class Front:
    """A running API."""

    app: ApiApp
    services: Services
    metrics: RegistryMetrics
    base: URL
    session: aiohttp.ClientSession
    token: str = "one"
    headers: dict[str, str] = field(default_factory=dict)

    async def ask(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        octets: bytes | None = None,
        token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send a request; token "" sends none."""
        given = {**self.headers, **(headers or {})}
        if token != "":
            given.setdefault("Authorization", f"Bearer {token or self.token}")
        if body is not None:
            octets = msgspec.json.encode(body)
        if octets is not None:
            given.setdefault("Content-Type", "application/json")
        url = URL(str(self.base).rstrip("/") + target, encoded=True)
        data = None if octets is None else BytesIO(octets)
        async with self.session.request(method, url, data=data, headers=given) as response:
            names = {name.lower(): value for name, value in response.headers.items()}
            return Answer(status=response.status, headers=names, body=await response.read())


@asynccontextmanager
async def running_front(
    dsn: str, directory: Path, routes: Sequence[Route], **settings: Any
) -> AsyncIterator[Front]:
    """Serve these routes for the duration of the block."""
    made = registry_settings(dsn, directory, **settings)
    metrics = RegistryMetrics()
    async with open_node(made, unsafe=True) as node:
        services = make_services(node, made, make_documents(routes))

        async def authenticate(token: str) -> Caller | None:
            return CALLERS.get(token) or await services.accounts.authenticate(token)

        credentials = Credentials(
            authenticate=authenticate,
            metrics=metrics,
            plain_http_credentials=made.plain_http_credentials,
        )
        app = ApiApp(
            services=services,
            routes=routes,
            credentials=credentials,
            metrics=metrics,
            limits=RateLimits(),
        )
        async with services.store.connection() as connection:
            for organisation in (ORGANISATION, OTHER_ORGANISATION):
                await add_organisation(connection, organisation)
        application = web.Application()
        application.router.add_route("*", r"/{path:[\s\S]*}", app.answer)
        async with TestServer(application) as server, aiohttp.ClientSession() as session:
            yield Front(
                app=app, services=services, metrics=metrics, base=server.make_url("/"), session=session
            )


async def add_organisation(connection: Any, organisation: str) -> None:
    """Add an organisation with nothing but its quotas."""
    await connection.execute(
        """INSERT INTO organisations (id, version, review, profile, certificate, created, changed)
        VALUES ($1, 1, 'approved', '{}', $1, now(), now())""",
        organisation,
    )
