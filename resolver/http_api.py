"""HTTP: records as JSON, redirects, readable pages, and the edge at which every error becomes an answer.

Paths are matched on the raw request target, since a handle may hold any octet, encoded or not.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from aiohttp import web

from protocol.codes import OpCode, ResponseCode, http_status
from protocol.errors import HandleError, InvalidHandle, ResolutionFailed, Unreachable
from protocol.handle import Handle
from protocol.jsonform import printable, record_to_json, site_reply
from protocol.runtime.logs import request_scope
from protocol.runtime.single_flight import TooBusy
from protocol.runtime.traffic import AnswerObserver
from protocol.site import Site
from protocol.statuses import Status, StatusText, parse_status
from protocol.transport.http import peer_host
from protocol.transport.http_answers import READING, for_any_origin, preflight
from protocol.transport.http_cache import REUSE, Reuse
from protocol.transport.http_target import BadTarget, Target, parse_target
from protocol.value import ValueList
from resolver.cache.policy import Denial, Entry, select
from resolver.cache.records import Clocks
from resolver.http_headers import (
    TimedHeaders,
    entity_tag,
    freshness,
    matches,
    static_freshness,
    wants_json,
    work_told,
)
from resolver.pages import Pages, local_path, redirect_target
from resolver.recursor import Origin, Recursor, Resolved, system_clocks
from resolver.scheme import strip_scheme

HANDLES: Final = b"/api/handles/"
SITE: Final = b"/api/site"
API: Final = b"/api"
RETRY_AFTER_S: Final = "2"
JSON_TYPE: Final = "application/json;charset=utf-8"
HTML_TYPE: Final = "text/html;charset=utf-8"
CODE: Final = web.ResponseKey("response_code", int)
OUTCOME: Final = web.ResponseKey("outcome", str)
OPERATION: Final = web.ResponseKey("operation", int)
NO_OPERATION: Final = 0
ANYBODY: Final = {
    **for_any_origin(["Age", "Cache-Status", "ETag"]),
    "X-Content-Type-Options": "nosniff",
}
"""Records are public: scripts of any origin may read them."""
ROBOTS: Final = "User-agent: *\nDisallow: /\n"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One request for one handle."""

    http: web.Request
    target: Target
    handle: Handle
    wants_json: bool

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
        *,
        site: Site,
        node: str,
        on_answer: AnswerObserver,
    ) -> None:
        """site is our own site record; node is the name that Cache-Status carries."""
        self._recursor = recursor
        self._pages = pages
        self._site = site
        self._node = node
        self._hit = work_told(node, Origin.HIT)
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
            return _problem(
                405, ResponseCode.OPERATION_NOT_SUPPORTED, f"Allowed here: {READING}.", Allow=READING
            )
        try:
            return await self._route(request, parse_target(request.raw_path))
        except BadTarget as error:
            return _problem(400, ResponseCode.PROTOCOL_ERROR, str(error))
        except Exception:
            log.exception("request_failed", peer=peer_host(request), method=request.method)
            return _problem(500, ResponseCode.ERROR, "Internal error.")

    async def _route(self, request: web.Request, target: Target) -> web.Response:
        path = target.path
        if path.startswith(HANDLES):
            return await self._named(request, target, path[len(HANDLES) :], wants_json=True)
        if path == SITE:
            response = _json(200, site_reply(self._site), target, static_freshness(self._node))
            response[OPERATION] = OpCode.GET_SITE_INFO
            return response
        if path == API or path.startswith(API + b"/"):
            text = "There is nothing at this path; records are at /api/handles/<handle>."
            return _problem(404, ResponseCode.PROTOCOL_ERROR, text)
        if path in (b"/", b""):
            return self._index(target)
        if path == b"/robots.txt":
            return web.Response(text=ROBOTS, headers=static_freshness(self._node))
        if path == b"/favicon.ico":
            return web.Response(status=404, headers=static_freshness(self._node))
        accept = ",".join(request.headers.getall("Accept", ()))
        return await self._named(request, target, strip_scheme(path[1:]), wants_json=wants_json(accept))

    def _index(self, target: Target) -> web.Response:
        """The page with the field, or what its form sends on: to the record's page, never to another site."""
        typed = target.parameters.get("handle") or target.parameters.get("hdl")
        name = strip_scheme(typed[-1].encode("utf-8", "surrogateescape")) if typed else b""
        if not name:
            return self._page(200, self._pages.index(), static_freshness(self._node))
        location = f"{local_path(Handle(name))}?noredirect"
        return self._page(
            303, self._pages.moved(location), {"Location": location, "Cache-Control": "no-store"}
        )

    async def _named(
        self, request: web.Request, target: Target, name: bytes, *, wants_json: bool
    ) -> web.Response:
        response = await self._resolve(request, target, name, wants_json=wants_json)
        response[OPERATION] = OpCode.RESOLUTION
        return response

    async def _resolve(
        self, request: web.Request, target: Target, name: bytes, *, wants_json: bool
    ) -> web.Response:
        try:
            handle = Handle.parse(name)
        except InvalidHandle as error:
            return self._refused(name, error, wants_json=wants_json)
        asked = _Asked(http=request, target=target, handle=handle, wants_json=wants_json)
        try:
            resolved = await self._recursor.resolve(handle, authoritative=asked.authoritative)
        except HandleError as error:
            return self._failed(asked, error)
        response = self._resolved(asked, resolved)
        response[OUTCOME] = "hit" if resolved.origin is Origin.HIT else "miss"
        if "Age" in response.headers:
            timed = TimedHeaders(resolved.entry.stored_s, resolved.entry.expires_s, self._hit)
            code = response.get(CODE, int(ResponseCode.SUCCESS))
            response[REUSE] = Reuse(
                operation=OpCode.RESOLUTION, code=code, until_s=timed.until_s, timed=timed
            )
        return response

    def _resolved(self, asked: _Asked, resolved: Resolved) -> web.Response:
        clocks = system_clocks()
        headers = freshness(
            resolved.entry,
            resolved.origin,
            authoritative=asked.authoritative,
            node=self._node,
            clocks=clocks,
        )
        match select(resolved.entry, asked.target.indexes(), asked.target.types()):
            case Denial() as denial:
                return self._denied(asked, denial, headers)
            case ValueList() as values if asked.wants_json:
                form = record_to_json(ResponseCode.SUCCESS, asked.handle, values=values.sorted())
                return _json(200, form, asked.target, headers)
            case ValueList() as values:
                return self._browsed(asked, values, resolved.entry, clocks, headers)

    def _browsed(
        self, asked: _Asked, values: ValueList, entry: Entry, clocks: Clocks, headers: dict[str, str]
    ) -> web.Response:
        """Send a browser where the record says, or show the record."""
        retired = _retirement(values)
        if retired is not None and not values.select(types=("HS_ALIAS",)).count:
            return self._gone(asked, retired, headers)
        location = None if asked.target.flag("noredirect") else redirect_target(values)
        if location is not None:
            return self._page(302, self._pages.moved(location), headers | {"Location": location})
        page = self._pages.record(
            asked.handle,
            values.sorted(),
            fetched_wall_s=clocks.wall_of(entry.stored_s),
            expires_wall_s=clocks.wall_of(entry.expires_s),
        )
        return self._page(200, page, headers)

    def _denied(self, asked: _Asked, denial: Denial, headers: dict[str, str]) -> web.Response:
        code = denial.code
        exists = code == ResponseCode.VALUES_NOT_FOUND
        status = http_status(code)
        if status == 503:
            headers |= {"Retry-After": RETRY_AFTER_S}
        if asked.wants_json:
            values = ValueList(b"", 0) if exists else None
            form = record_to_json(code, asked.handle, values=values, message=denial.message)
            return _json(status, form, asked.target, headers)
        if status == 503:
            page = self._pages.failed(asked.handle, cause=denial.message, remedy="", busy=False)
        else:
            page = self._pages.denied(asked.handle, message=denial.message, exists=exists)
            status = _status_of_denial(denial.message)
        response = self._page(status, page, headers)
        response[CODE] = int(code)
        return response

    def _gone(self, asked: _Asked, retired: StatusText, headers: dict[str, str]) -> web.Response:
        """A retired handle: 410, with its successor where there is one (RFC 5829)."""
        if retired.successor:
            successor = _successor_path(retired.successor)
            headers = headers | ({"Link": f'<{successor}>; rel="successor-version"'} if successor else {})
        page = self._pages.denied(asked.handle, message=str(retired), exists=True)
        return self._page(410, page, headers)

    def _failed(self, asked: _Asked, error: HandleError) -> web.Response:
        status, code, cause, remedy = _describe(error)
        headers = {"Cache-Control": "no-store", "Retry-After": RETRY_AFTER_S}
        if asked.wants_json:
            form = record_to_json(code, asked.handle, message=f"{cause} {remedy}".rstrip())
            return _json(status, form, asked.target, headers)
        page = self._pages.failed(
            asked.handle, cause=cause, remedy=remedy, busy=code == ResponseCode.SERVER_TOO_BUSY
        )
        response = self._page(status, page, headers)
        response[CODE] = int(code)
        return response

    def _refused(self, name: bytes, error: InvalidHandle, *, wants_json: bool) -> web.Response:
        if wants_json:
            return _problem(400, ResponseCode.INVALID_HANDLE, str(error))
        page = self._pages.refused(printable(name[:200]), cause=str(error))
        response = self._page(400, page, {"Cache-Control": "no-store"})
        response[CODE] = int(ResponseCode.INVALID_HANDLE)
        return response

    def _page(self, status: int, text: str, headers: Mapping[str, str]) -> web.Response:
        body = text.encode("utf-8", "replace")
        return web.Response(
            status=status, body=body, headers={"Content-Type": HTML_TYPE, **self._pages.headers, **headers}
        )


def _retirement(values: ValueList) -> StatusText | None:
    """What a record says of its retirement; None for any other record."""
    for value in values.select(types=("DESC",)):
        status = parse_status(value.data.decode("utf-8", "replace"))
        if status is not None and status.status is Status.RETIRED:
            return status
    return None


def _successor_path(name: str) -> str | None:
    try:
        return local_path(Handle.parse(name))
    except InvalidHandle:
        return None


def _status_of_denial(message: str) -> int:
    """What a browser gets for a denial: 403 for what is suspended, 410 for what is revoked, else 404."""
    status = parse_status(message)
    if status is None or status.status is Status.RETIRED:
        return 404
    return 403 if status.status is Status.SUSPENDED else 410


def _describe(error: HandleError) -> tuple[int, ResponseCode, str, str]:
    """HTTP status, response code, cause and remedy of a question that nobody answered."""
    match error:
        case TooBusy():
            return 503, error.code, str(error), ""
        case Unreachable():
            return 504, error.code, error.explain(), ""
        case ResolutionFailed():
            return 502, error.code, error.explain(), ""
        case _:
            return http_status(error.code), error.code, str(error), ""


def _json(status: int, form: dict[str, Any], target: Target, headers: Mapping[str, str]) -> web.Response:
    pretty = target.flag("pretty")
    text = json.dumps(
        form,
        ensure_ascii=False,
        indent=2 if pretty else None,
        separators=(",", ": ") if pretty else (",", ":"),
    )
    response = web.Response(
        status=status,
        body=text.encode("utf-8", "replace"),
        headers={"Content-Type": JSON_TYPE, **ANYBODY, **headers},
    )
    response[CODE] = int(form["responseCode"])
    return response


def _problem(status: int, code: ResponseCode, message: str, **headers: str) -> web.Response:
    form = record_to_json(code, message=message)
    return _json(status, form, Target(path=b""), {"Cache-Control": "no-store", **headers})


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
