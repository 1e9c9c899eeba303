"""Answers: replies and problems as HTTP responses, with the headers that every answer of the API carries."""

from collections.abc import Mapping
from typing import Final

import msgspec
from aiohttp import web

from protocol.codes import ResponseCode
from protocol.runtime.logs import REQUEST_ID_HEADER, choose_request_id
from registry.api.call import Reply, matches
from registry.api.route import Route
from registry.api.schemas.base import FieldError, ProblemBody
from registry.problem_types import INTERNAL, OVERLOADED, REQUEST_TIMEOUT, ApiProblem
from registry.problem_types.common import NETWORK_RATE, NETWORK_REFUSED

JSON: Final = "application/json"
PROBLEM_JSON: Final = "application/problem+json"
NO_CONTENT: Final = 204
NOT_MODIFIED: Final = 304
SAFE: Final = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",  # what is true now, and often for the caller alone
}

_FRONT_END: Final = {
    403: NETWORK_REFUSED,
    408: REQUEST_TIMEOUT,
    429: NETWORK_RATE,
    500: INTERNAL,
    503: OVERLOADED,
}
_CODES: Final = {
    401: ResponseCode.AUTHENTICATION_NEEDED,
    403: ResponseCode.ACCESS_DENIED,
    404: ResponseCode.HANDLE_NOT_FOUND,
    429: ResponseCode.SERVER_TOO_BUSY,
}
_encoder: Final = msgspec.json.Encoder()


def reply_response(route: Route, reply: Reply, *, if_none_match: str | None = None) -> web.Response:
    """The response to a request that succeeded; 304 when the client has this version already."""
    headers = {**SAFE, **reply.headers}
    if reply.etag is not None:
        headers["ETag"] = f'"{reply.etag}"'
        headers["Cache-Control"] = "private, no-cache"
        if not route.is_write and if_none_match is not None and matches(if_none_match, reply.etag):
            return web.Response(status=NOT_MODIFIED, headers=headers)
    if route.secret_reply:
        headers["Cache-Control"] = "no-store"
    if reply.location is not None:
        headers["Location"] = reply.location
    octets = reply.content if reply.body is None else _encoder.encode(reply.body)
    status = reply.status or (NO_CONTENT if octets is None else route.status)
    if octets is not None:
        headers["Content-Type"] = reply.media or route.media
    return web.Response(status=status, headers=headers, body=octets)


def problem_response(problem: ApiProblem, request_id: str) -> web.Response:
    """The response to a request that was refused."""
    headers = {**SAFE, "Content-Type": PROBLEM_JSON, **problem.headers}
    body = _encoder.encode(_body(problem, request_id))
    return web.Response(status=problem.type.status, headers=headers, body=body)


def _body(problem: ApiProblem, request_id: str) -> ProblemBody:
    kind = problem.type
    return ProblemBody(
        type=kind.uri,
        title=kind.title,
        status=kind.status,
        detail=problem.detail,
        instance=f"urn:request:{request_id}",
        request_id=request_id,
        remedy=problem.remedy,
        retry=kind.retry,
        response_code=None if kind.response_code is None else int(kind.response_code),
        errors=[FieldError(pointer=fault.pointer, detail=fault.detail) for fault in problem.errors],
    )


def front_end_problem(status: int, text: str) -> tuple[dict[str, str], bytes]:
    """What the front end refuses before a request comes to the API, as header fields and body."""
    problem = ApiProblem(_FRONT_END[status], f"{text[:1].upper()}{text[1:]}.")
    request_id = choose_request_id(None)
    headers = {"Content-Type": PROBLEM_JSON, REQUEST_ID_HEADER: request_id}
    return headers, _encoder.encode(_body(problem, request_id))


def stored_response(status: int, headers: Mapping[str, str], octets: bytes | None) -> web.Response:
    """A response that was given before."""
    return web.Response(status=status, headers={**headers, "Idempotency-Replayed": "true"}, body=octets)


def response_code(status: int) -> ResponseCode:
    """The word of the Handle protocol under which an answer of the API is counted."""
    if status < 400:
        return ResponseCode.SUCCESS
    return ResponseCode.ERROR if status >= 500 else _CODES.get(status, ResponseCode.PROTOCOL_ERROR)
