"""HTTP application of a registry node: which path is whose, and the edge at which every error becomes JSON.

Paths are matched on the raw request target, since a handle may hold any octet, encoded or not.
"""

import time
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import web

from protocol.codes import OpCode, ResponseCode
from protocol.errors import HandleError, StoreUnavailable
from protocol.handle import Handle
from protocol.jsonform import site_reply
from protocol.runtime.logs import REQUEST_ID_HEADER, choose_request_id, request_scope
from protocol.runtime.traffic import AnswerObserver
from protocol.site import Site
from protocol.transport.http import peer_host
from protocol.transport.http_answers import REFUSAL_FORM, for_any_origin, preflight
from protocol.transport.http_target import Target, parse_target
from registry.api.app import PATH as API_PATH
from registry.api.app import ApiApp
from registry.api.respond import front_end_problem, response_code
from registry.rest.handles import HandleRequest, HandlesApi
from registry.rest.problem import CODE_KEY, Problem, json_response
from registry.rest.reverse import ReverseApi, belongs_here
from registry.rest.values import MAX_BODY_OCTETS

HANDLES_PATH: Final = b"/api/handles"
SITE_PATH: Final = b"/api/site"
NO_OPERATION: Final = 0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestApi:
    """The public HTTP interface of a node: the record API, the site record and the API for organisations."""

    handles: HandlesApi
    api: ApiApp
    site: Site
    on_answer: AnswerObserver
    reverse: ReverseApi | None = None
    """None while reverse look-up is off: its path does not exist then."""

    def application(self) -> web.Application:
        """Return the application, whose one route takes every request."""
        app = web.Application(client_max_size=MAX_BODY_OCTETS)
        app[REFUSAL_FORM] = _refusal_form
        app.router.add_route("*", r"/{path:[\s\S]*}", self.answer)  # names hold line ends too
        return app

    async def answer(self, request: web.Request) -> web.Response:
        """Answer any request; raises nothing but cancellation."""
        started_s = time.monotonic()
        if request.raw_path.startswith(API_PATH):
            response = await self.api.answer(request)
            return self._observed(request, response, response_code(response.status), started_s)
        with request_scope(choose_request_id(request.headers.get(REQUEST_ID_HEADER))) as request_id:
            response = await self._answer(request, request_id)
        response.headers[REQUEST_ID_HEADER] = request_id
        if request.method in {"GET", "HEAD"}:
            response.headers.update(for_any_origin())
        return self._observed(request, response, response[CODE_KEY], started_s)

    def _observed(
        self, request: web.Request, response: web.Response, code: int, started_s: float
    ) -> web.Response:
        elapsed_s = time.monotonic() - started_s
        self.on_answer(
            _operation(request), code, "miss", elapsed_s, host=peer_host(request), target=request.raw_path
        )
        return response

    async def _answer(self, request: web.Request, request_id: str) -> web.Response:
        if request.method == "OPTIONS":
            response = preflight()
            response[CODE_KEY] = int(ResponseCode.SUCCESS)
            return response
        pretty = False
        try:
            target = parse_target(request.raw_path)
            pretty = target.flag("pretty")
            return await self._route(request, target, request_id)
        except Problem as problem:
            return problem.response(pretty=pretty)
        except StoreUnavailable:
            return _store_unavailable(request).response(pretty=pretty)
        except HandleError as error:
            if error.code is ResponseCode.ERROR:  # a fault of ours, whose text is for operators
                return _internal_error(request, error).response(pretty=pretty)
            return Problem(error.code, str(error)).response(pretty=pretty)
        except (ConnectionError, web.RequestPayloadError):
            return Problem(ResponseCode.PROTOCOL_ERROR, "The body ended early.").response(pretty=pretty)
        except Exception as error:
            return _internal_error(request, error).response(pretty=pretty)

    async def _route(self, request: web.Request, target: Target, request_id: str) -> web.Response:
        path = target.path
        if path == SITE_PATH:
            return self._site(request, target)
        if path == HANDLES_PATH:
            return _collection(target)
        if path.startswith(HANDLES_PATH + b"/"):
            return await self._handle(request, target, path[len(HANDLES_PATH) + 1 :], request_id)
        if self.reverse is not None and belongs_here(path):
            return await self.reverse.answer(request, target)
        raise Problem(
            ResponseCode.PROTOCOL_ERROR,
            "There is nothing at this path; records are at /api/handles/<handle>, all of the API at /api/v1/docs.",
            status=404,
        )

    async def _handle(
        self, request: web.Request, target: Target, name: bytes, request_id: str
    ) -> web.Response:
        if not name:
            raise Problem(ResponseCode.INVALID_HANDLE, "The handle is empty.")
        handle_request = HandleRequest(
            http=request, target=target, handle=Handle.parse(name), request_id=request_id
        )
        match request.method:
            case "GET" | "HEAD":
                return await self.handles.get(handle_request)
            case "PUT":
                return await self.handles.put(handle_request)
            case "DELETE":
                return await self.handles.delete(handle_request)
            case _:
                raise _method_not_allowed("GET, HEAD, PUT, DELETE")

    def _site(self, request: web.Request, target: Target) -> web.Response:
        if request.method not in ("GET", "HEAD"):
            raise _method_not_allowed("GET, HEAD")
        return json_response(site_reply(self.site), status=200, pretty=target.flag("pretty"))


def _refusal_form(raw_target: str, status: int, text: str) -> tuple[dict[str, str], bytes] | None:
    return front_end_problem(status, text) if raw_target.startswith(API_PATH) else None


def _collection(target: Target) -> web.Response:
    if "prefix" in target.parameters:
        raise Problem(ResponseCode.OPERATION_NOT_SUPPORTED, "This server does not list handles.")
    raise Problem(ResponseCode.INVALID_HANDLE, "The handle is empty.")


def _method_not_allowed(allowed: str) -> Problem:
    return Problem(
        ResponseCode.OPERATION_NOT_SUPPORTED,
        f"Allowed here: {allowed}.",
        status=405,
        headers={"Allow": allowed},
    )


def _operation(request: web.Request) -> int:
    """Return the operation that a request stands for when requests are counted; 0 for a path that is none."""
    path = request.raw_path.partition("?")[0].encode("utf-8", "surrogateescape")
    if path == SITE_PATH:
        return OpCode.GET_SITE_INFO
    if not path.startswith(HANDLES_PATH + b"/"):
        return NO_OPERATION
    match request.method:
        case "PUT":
            return OpCode.CREATE_HANDLE
        case "DELETE":
            return OpCode.DELETE_HANDLE
        case "GET" | "HEAD":
            return OpCode.RESOLUTION
        case _:
            return NO_OPERATION


def _internal_error(request: web.Request, error: Exception) -> Problem:
    log.error("request_failed", peer=peer_host(request), method=request.method, exc_info=error)
    return Problem(ResponseCode.ERROR, "Internal error.")


def _store_unavailable(request: web.Request) -> Problem:
    text = "The database of this server does not answer."
    if request.method in {"PUT", "DELETE"}:
        text += " The write may or may not have been made; read the handle before you repeat it."
    return Problem(ResponseCode.ERROR, text, headers={"Retry-After": "5"})
