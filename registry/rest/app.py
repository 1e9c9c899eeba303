"""HTTP application of a registry node: which path is whose, and the edge at which every error becomes JSON.

Paths are matched on the raw request target, since a handle may hold any octet, encoded or not.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote_from_bytes

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
from protocol.transport.http_target import parse_target
from registry.api.app import PATH as API_PATH
from registry.api.app import ApiApp
from registry.api.respond import front_end_problem, response_code
from registry.rest.handles import HandlesApi
from registry.rest.listing import ListingApi
from registry.rest.prefixes import PrefixesApi
from registry.rest.problem import CODE_KEY, HEADERS, PLAIN, Problem, json_response
from registry.rest.request import MAX_BODY_OCTETS, RestRequest, form_of, with_parameters_of_body
from registry.rest.reverse import ReverseApi, belongs_here
from registry.rest.session_api import SessionApi
from registry.rest.verifications import VerificationsApi

HANDLES_PATH: Final = b"/api/handles"
HANDLE_PATH: Final = b"/api/handles/"
PREFIXES_PATH: Final = b"/api/prefixes"
SITE_PATH: Final = b"/api/site"
VERIFICATION_PATH: Final = b"/api/verifications/"
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE")
"""What scripts of any origin may do: a browser adds no credentials of its own, so a script needs a key, as anybody."""
FIELDS: Final = ("Accept", "Authorization", "Content-Type", "Origin", "X-Requested-With")
EXPOSED: Final = ("Location", "WWW-Authenticate", REQUEST_ID_HEADER)
NO_OPERATION: Final = 0
_NO_SEARCH: Final = "Reverse look-up is off at this node (setting reverse_lookup)."
BUSY_RETRY_S: Final = 1
_OPERATIONS: Final = {
    (HANDLES_PATH, "GET"): OpCode.LIST_HANDLES,
    (PREFIXES_PATH, "GET"): OpCode.LIST_HOMED_PREFIXES,
    (PREFIXES_PATH, "POST"): OpCode.HOME_PREFIX,
    (PREFIXES_PATH, "DELETE"): OpCode.UNHOME_PREFIX,
    (SITE_PATH, "GET"): OpCode.GET_SITE_INFO,
    (VERIFICATION_PATH, "GET"): OpCode.VERIFY_CHALLENGE,
    (HANDLE_PATH, "GET"): OpCode.RESOLUTION,
    (HANDLE_PATH, "POST"): OpCode.RESOLUTION,
    (HANDLE_PATH, "PUT"): OpCode.CREATE_HANDLE,
    (HANDLE_PATH, "DELETE"): OpCode.DELETE_HANDLE,
}
"""What a request is counted as, by path or what it begins with, and by method."""

log = structlog.get_logger(__name__)

Act = Callable[[RestRequest], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RestApi:
    """The public HTTP interface of a node: the record API, the site record and the API for organisations."""

    handles: HandlesApi
    listing: ListingApi
    prefixes: PrefixesApi
    sessions: SessionApi
    verifications: VerificationsApi
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
        response.headers.update(for_any_origin(EXPOSED))
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
            response = preflight(METHODS, FIELDS)
            response[CODE_KEY] = int(ResponseCode.SUCCESS)
            return response
        form = PLAIN
        try:
            target = parse_target(request.raw_path)
            form = form_of(request, target)
            return await self._route(
                RestRequest(http=request, target=target, request_id=request_id, form=form)
            )
        except Problem as problem:
            return problem.response(form)
        except StoreUnavailable:
            return _store_unavailable(request).response(form)
        except HandleError as error:
            if error.code is ResponseCode.ERROR:  # a fault of ours, whose text is for operators
                return _internal_error(request, error).response(form)
            return _refused(error).response(form)
        except (ConnectionError, web.RequestPayloadError):
            return Problem(ResponseCode.PROTOCOL_ERROR, "The body ended early.").response(form)
        except Exception as error:
            return _internal_error(request, error).response(form)

    async def _route(self, request: RestRequest) -> web.Response:
        path = request.target.path
        match path:
            case b"/api/site":
                return await _by_method(request, {"GET": self._site})
            case b"/api/handles":
                return await self._listing(request)
            case b"/api/prefixes":
                return await self._prefixes(request)
            case b"/api/sessions":
                return await _by_method(request, {"POST": self.sessions.open})
            case b"/api/sessions/this":
                acts = {"GET": self.sessions.show, "PUT": self.sessions.answer, "DELETE": self.sessions.end}
                return await _by_method(request, acts)
            case _ if path.startswith(HANDLE_PATH):
                return await self._handle(_about(request, path[len(HANDLE_PATH) :]))
            case _ if path.startswith(VERIFICATION_PATH):
                asked = _about(request, path[len(VERIFICATION_PATH) :])
                return await _by_method(asked, {"GET": self.verifications.get})
            case _ if belongs_here(path):
                return await self._search(request)
            case _ if _is_name(path) and request.http.method in ("GET", "HEAD"):
                return _elsewhere(request, path)
            case _:
                raise Problem(
                    ResponseCode.PROTOCOL_ERROR,
                    "There is nothing at this path; records are at /api/handles/<handle>, "
                    "all of the API at /api/v1/docs.",
                    status=404,
                )

    async def _handle(self, request: RestRequest) -> web.Response:
        """POST asks as GET does, with parameters in its body."""
        if request.http.method == "POST":
            target = await with_parameters_of_body(request.http, request.target)
            request = replace(request, target=target)
        acts: dict[str, Act] = {
            "GET": self.handles.get,
            "POST": self.handles.get,
            "PUT": self.handles.put,
            "DELETE": self.handles.delete,
        }
        return await _by_method(request, acts)

    async def _search(self, request: RestRequest) -> web.Response:
        if self.reverse is None:
            raise Problem(ResponseCode.OPERATION_NOT_SUPPORTED, _NO_SEARCH, status=404)
        return await _by_method(request, {"GET": self.reverse.get})

    async def _listing(self, request: RestRequest) -> web.Response:
        prefix = request.parameter("prefix")
        if prefix is None:
            raise Problem(ResponseCode.INVALID_HANDLE, "The handle is empty.")
        return await _by_method(_about(request, prefix.encode()), {"GET": self.listing.get})

    async def _prefixes(self, request: RestRequest) -> web.Response:
        prefix = request.parameter("prefix")
        if prefix is None:
            return await _by_method(request, {"GET": self.prefixes.get})
        acts = {"POST": self.prefixes.home, "DELETE": self.prefixes.unhome}
        return await _by_method(_about(request, prefix.encode()), acts)

    async def _site(self, request: RestRequest) -> web.Response:
        return json_response(site_reply(self.site), status=200, form=request.form)


def _refusal_form(raw_target: str, status: int, text: str) -> tuple[dict[str, str], bytes] | None:
    return front_end_problem(status, text) if raw_target.startswith(API_PATH) else None


async def _by_method(request: RestRequest, acts: Mapping[str, Act]) -> web.Response:
    """Do what the method asks for; HEAD is answered as GET, and its body is not sent. Raises Problem 405."""
    method = request.http.method
    act = acts.get("GET" if method == "HEAD" else method)
    if act is not None:
        return await act(request)
    allowed = [name for method in acts for name in ([method, "HEAD"] if method == "GET" else [method])]
    raise Problem(
        ResponseCode.OPERATION_NOT_SUPPORTED,
        "The method is not allowed here.",
        status=405,
        headers={"Allow": ", ".join(allowed)},
    )


def _about(request: RestRequest, name: bytes) -> RestRequest:
    if not name:
        raise Problem(ResponseCode.INVALID_HANDLE, "The handle is empty.")
    return replace(request, handle=Handle.parse(name))


def _is_name(path: bytes) -> bool:
    """Whether a path is a handle, as it stands behind the address of a proxy: prefixes in use begin with a digit."""
    return path[1:2].isdigit()


def _elsewhere(request: RestRequest, path: bytes) -> web.Response:
    """Where the record of a handle is: a registry sends browsers to no address of somebody's choice."""
    place = HANDLES_PATH.decode() + quote_from_bytes(path, safe="/-._~")
    query = request.http.raw_path.partition("?")[2]
    response = web.Response(
        status=302, headers={**HEADERS, "Location": f"{place}?{query}" if query else place}
    )
    response[CODE_KEY] = int(ResponseCode.SUCCESS)
    return response


def _operation(request: web.Request) -> int:
    """Return the operation that a request stands for when requests are counted; 0 for a path that is none."""
    path = request.raw_path.partition("?")[0].encode("utf-8", "surrogateescape")
    for start in (HANDLE_PATH, VERIFICATION_PATH):
        if path.startswith(start):
            path = start
    method = "GET" if request.method == "HEAD" else request.method
    return _OPERATIONS.get((path, method), NO_OPERATION)


def _refused(error: HandleError) -> Problem:
    headers = {"Retry-After": str(BUSY_RETRY_S)} if error.code is ResponseCode.SERVER_TOO_BUSY else None
    return Problem(error.code, str(error), headers=headers)


def _internal_error(request: web.Request, error: Exception) -> Problem:
    log.error("request_failed", peer=peer_host(request), method=request.method, exc_info=error)
    return Problem(ResponseCode.ERROR, "Internal error.")


def _store_unavailable(request: web.Request) -> Problem:
    text = "The database of this server does not answer."
    if request.method in {"PUT", "DELETE"}:
        text += " The write may or may not have been made; read the handle before you repeat it."
    return Problem(ResponseCode.ERROR, text, headers={"Retry-After": "5"})
