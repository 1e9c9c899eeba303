"""HTTP: records as JSON, redirects, readable pages, and the edge at which every error becomes an answer.

Paths are matched on the raw request target, since a handle may hold any octet, encoded or not.
"""

import time
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import web

from protocol.codes import OpCode, ResponseCode, http_status
from protocol.errors import HandleError, InvalidHandle
from protocol.handle import Handle
from protocol.jsonform import record_to_json, site_reply
from protocol.runtime.logs import request_scope
from protocol.runtime.traffic import AnswerObserver
from protocol.site import Site
from protocol.transport.http import peer_host
from protocol.transport.http_answers import READING, preflight
from protocol.transport.http_target import BadTarget, Target, parse_target
from protocol.value import ValueList
from resolver.cache.policy import Denial, select
from resolver.gateway import Gateway
from resolver.http_headers import entity_tag, freshness, matches, static_freshness, wants_json
from resolver.http_replies import (
    CODE,
    OPERATION,
    OUTCOME,
    RETRY_AFTER_S,
    describe,
    json_reply,
    note_origin,
    page_reply,
    problem,
)
from resolver.pages import Pages
from resolver.recursor import Recursor, Resolved, system_clocks
from resolver.scheme import strip_scheme
from resolver.targets import local_path

HANDLES: Final = b"/api/handles/"
SITE: Final = b"/api/site"
API: Final = b"/api"
NO_OPERATION: Final = 0
ROBOTS: Final = "User-agent: *\nDisallow: /\n"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One request for one handle."""

    target: Target
    handle: Handle

    @property
    def authoritative(self) -> bool:
        """Whether the answer must come from the authority itself."""
        return self.target.flag("auth")


class HttpApi:
    """The public HTTP interface of a recursive node."""

    def __init__(
        self,
        recursor: Recursor,
        pages: Pages,
        gateway: Gateway,
        *,
        site: Site,
        node: str,
        on_answer: AnswerObserver,
    ) -> None:
        """site is our own site record; node is the name that Cache-Status carries."""
        self._recursor = recursor
        self._pages = pages
        self._gateway = gateway
        self._site = site
        self._node = node
        self._on_answer = on_answer

    def add_routes(self, app: web.Application) -> None:
        """Take every request of the application."""
        app.router.add_route("*", r"/{path:[\s\S]*}", self.answer)  # names hold line ends too

    async def answer(self, request: web.Request) -> web.Response:
        """Answer any request; raises nothing but cancellation."""
        started_s = time.monotonic()
        with request_scope():
            response = await self._answer(request)
        _finish(request, response)
        elapsed_s = time.monotonic() - started_s
        operation, outcome = response.get(OPERATION, NO_OPERATION), response.get(OUTCOME, "miss")
        code = response.get(CODE, int(ResponseCode.SUCCESS))
        self._on_answer(operation, code, outcome, elapsed_s, host=peer_host(request), target=request.raw_path)
        return response

    async def _answer(self, request: web.Request) -> web.Response:
        if request.method == "OPTIONS":
            return preflight()
        if request.method not in ("GET", "HEAD"):
            return problem(
                405, ResponseCode.OPERATION_NOT_SUPPORTED, f"Allowed here: {READING}.", Allow=READING
            )
        try:
            return await self._route(request, parse_target(request.raw_path))
        except BadTarget as error:
            return problem(400, ResponseCode.PROTOCOL_ERROR, str(error))
        except Exception:
            log.exception("request_failed", peer=peer_host(request), method=request.method)
            return problem(500, ResponseCode.ERROR, "Internal error.")

    async def _route(self, request: web.Request, target: Target) -> web.Response:
        path = target.path
        if path.startswith(HANDLES):
            return _as_resolution(await self._record(target, path[len(HANDLES) :]))
        if path == SITE:
            response = json_reply(200, site_reply(self._site), target, static_freshness(self._node))
            response[OPERATION] = OpCode.GET_SITE_INFO
            return response
        if path == API or path.startswith(API + b"/"):
            text = "There is nothing at this path; records are at /api/handles/<handle>."
            return problem(404, ResponseCode.PROTOCOL_ERROR, text)
        if path in (b"/", b""):
            return self._index(target)
        if path == b"/robots.txt":
            return web.Response(text=ROBOTS, headers=static_freshness(self._node))
        if path == b"/favicon.ico":
            return web.Response(status=404, headers=static_freshness(self._node))
        accept = ",".join(request.headers.getall("Accept", ()))
        name = strip_scheme(path[1:])
        if wants_json(accept):
            return _as_resolution(await self._record(target, name))
        return _as_resolution(await self._gateway.answer(request, target, name))

    def _index(self, target: Target) -> web.Response:
        """The page with the field, or what its form sends on: to the record's page, never to another site."""
        typed = target.parameters.get("handle") or target.parameters.get("hdl")
        name = strip_scheme(typed[-1].encode("utf-8", "surrogateescape")) if typed else b""
        if not name:
            return page_reply(self._pages, 200, self._pages.index(), static_freshness(self._node))
        location = f"{local_path(Handle(name))}?noredirect"
        return page_reply(
            self._pages, 303, self._pages.moved(location), {"Location": location, "Cache-Control": "no-store"}
        )

    async def _record(self, target: Target, name: bytes) -> web.Response:
        """The record as JSON."""
        try:
            asked = _Asked(target=target, handle=Handle.parse(name))
        except InvalidHandle as error:
            return problem(400, ResponseCode.INVALID_HANDLE, str(error))
        try:
            resolved = await self._recursor.resolve(asked.handle, authoritative=asked.authoritative)
        except HandleError as error:
            return _failed(asked, error)
        response = self._resolved(asked, resolved)
        note_origin(response, resolved.entry, resolved.origin, self._node)
        return response

    def _resolved(self, asked: _Asked, resolved: Resolved) -> web.Response:
        headers = freshness(
            resolved.entry,
            resolved.origin,
            authoritative=asked.authoritative,
            node=self._node,
            clocks=system_clocks(),
        )
        match select(resolved.entry, asked.target.indexes(), asked.target.types()):
            case Denial() as denial:
                return _denied(asked, denial, headers)
            case ValueList() as values:
                form = record_to_json(ResponseCode.SUCCESS, asked.handle, values=values.sorted())
                return json_reply(200, form, asked.target, headers)


def _as_resolution(response: web.Response) -> web.Response:
    response[OPERATION] = OpCode.RESOLUTION
    return response


def _denied(asked: _Asked, denial: Denial, headers: dict[str, str]) -> web.Response:
    code = denial.code
    status = http_status(code)
    if status == 503:
        headers |= {"Retry-After": RETRY_AFTER_S}
    values = ValueList(b"", 0) if code == ResponseCode.VALUES_NOT_FOUND else None
    form = record_to_json(code, asked.handle, values=values, message=denial.message)
    return json_reply(status, form, asked.target, headers)


def _failed(asked: _Asked, error: HandleError) -> web.Response:
    status, code, cause, remedy = describe(error)
    headers = {"Cache-Control": "no-store", "Retry-After": RETRY_AFTER_S}
    form = record_to_json(code, asked.handle, message=f"{cause} {remedy}".rstrip())
    return json_reply(status, form, asked.target, headers)


def _finish(request: web.Request, response: web.Response) -> None:
    """Tag what may be kept, and tell a client that already holds it no more than that. Source: RFC 9110 §13.2."""
    if "Age" not in response.headers or not isinstance(response.body, bytes):
        return
    tag = entity_tag(response.body)
    response.headers["ETag"] = tag
    if response.status == 200 and matches(",".join(request.headers.getall("If-None-Match", ())), tag):
        response.set_status(304)
        response.body = None
        del response.headers["Content-Type"]
