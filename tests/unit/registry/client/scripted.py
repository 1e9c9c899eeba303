"""A small HTTP server whose answers a test writes down, and which remembers what it was asked."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from registry.api.schemas.base import FieldError, ProblemBody

TOKEN = "hg_live_abcdefghijkl_" + "s" * 43 + "_000000"


@dataclass(kw_only=True)
class Scripted:
    """One answer; `drop` cuts the connection in place of it, after so many octets of the body."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False


@dataclass(kw_only=True)
class Asked:
    """One request as it came."""

    method: str
    target: str
    headers: CIMultiDict[str]
    body: bytes


@dataclass(kw_only=True)
class ScriptedServer:
    """A server that gives its answers in their order, the last one again and again."""

    url: str = ""
    answers: list[Scripted] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def script(self, *answers: Scripted) -> None:
        """Give these from now on."""
        self.answers = list(answers)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.asked.append(
            Asked(
                method=request.method,
                target=request.raw_path,
                headers=CIMultiDict(request.headers),
                body=await request.read(),
            )
        )
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer.drop:
            assert request.transport is not None
            request.transport.abort()
        headers = {"Content-Type": "application/json", **answer.headers}
        return web.Response(status=answer.status, body=answer.body, headers=headers)


@asynccontextmanager
async def scripted_server() -> AsyncIterator[ScriptedServer]:
    """Run one on loopback."""
    server = ScriptedServer()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{any:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = "http://{}:{}".format(*runner.addresses[0])
    try:
        yield server
    finally:
        await runner.cleanup()


def problem(
    status: int,
    slug: str,
    *,
    detail: str = "it will not do",
    retry: bool = False,
    remedy: str = "do something else",
    errors: Sequence[tuple[str, str]] = (),
    headers: dict[str, str] | None = None,
) -> Scripted:
    """A refusal as the API sends it."""
    body = ProblemBody(
        type=f"/api/v1/problems/{slug}",
        title="It cannot be done",
        status=status,
        detail=detail,
        instance="urn:request:0123456789abcdef",
        request_id="0123456789abcdef",
        remedy=remedy,
        retry=retry,
        errors=[FieldError(pointer=pointer, detail=text) for pointer, text in errors],
    )
    given = {"Content-Type": "application/problem+json", **(headers or {})}
    return Scripted(status=status, body=msgspec.json.encode(body), headers=given)


def page(items: list[Any], next_cursor: str | None) -> Scripted:
    """A page of a list."""
    return Scripted(body=msgspec.json.encode({"items": items, "next": next_cursor}))
