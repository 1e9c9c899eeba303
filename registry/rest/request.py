"""A request to the record API, and what its parameters are when they come in a body (PROTOCOL §8.2)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
from aiohttp import web

from protocol.codes import ResponseCode
from protocol.handle import Handle
from protocol.transport.http_target import MAX_PARAMETERS, BadTarget, Target, parse_parameters
from registry.outcomes import Identity, Origin
from registry.rest.problem import CALLBACK, Form, Problem
from registry.work import target_text

MAX_BODY_OCTETS: Final = 1_048_576  # base64 and JSON around a record of at most 262144 octets take less
PARAMETERS_OCTETS_MAX: Final = 16_384  # of parameters in a body, as much as a request target has
FORM_TYPE: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestRequest:
    """One request; handle: whom it is about, where it is about one."""

    http: web.Request
    target: Target
    request_id: str
    form: Form
    handle: Handle | None = None

    @property
    def about(self) -> Handle:
        """The handle of a request that is about one."""
        assert self.handle is not None
        return self.handle

    def origin(self, by: Identity) -> Origin:
        """Who does it, for the audit log."""
        actor = f"{by.index}:{target_text(by.handle.octets)}"
        return Origin(actor=actor, via="rest", request_id=self.request_id)

    def parameter(self, name: str) -> str | None:
        """The last value of a parameter; None when it is not there."""
        values = self.target.parameters.get(name)
        return values[-1] if values else None


def form_of(http: web.Request, target: Target) -> Form:
    """How the answer to a request shall be written down.

    A script of any page gets what JSONP answers, so it is for what everybody may read: a request that carries
    credentials gets plain JSON. Raises Problem for a callback that is no name.
    """
    callback = target.parameters.get("callback", [""])[-1]
    if callback and not CALLBACK.fullmatch(callback):
        raise Problem(ResponseCode.PROTOCOL_ERROR, "The callback is no name of a function.")
    is_harmless = http.method == "GET" and "Authorization" not in http.headers
    return Form(pretty=target.flag("pretty"), callback=callback if is_harmless else "")


async def read_body(http: web.Request, octets_max: int = MAX_BODY_OCTETS) -> bytes:
    """Read the body of a request. Raises Problem 413 when it is larger than that."""
    too_large = Problem(
        ResponseCode.PROTOCOL_ERROR, f"The body has more than {octets_max} octets.", status=413
    )
    if (http.content_length or 0) > octets_max:
        raise too_large
    try:
        body = await http.read()
    except web.HTTPRequestEntityTooLarge:
        raise too_large from None
    if len(body) > octets_max:
        raise too_large
    return body


def is_json(content_type: str) -> bool:
    """Whether a media type is JSON."""
    return content_type in ("application/json", "text/json") or content_type.endswith("+json")


def decode_json(body: bytes) -> Any:
    """Parse JSON of any depth and nonsense. Raises Problem 4."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem(ResponseCode.PROTOCOL_ERROR, "The body is not valid JSON.") from None


async def read_object(http: web.Request) -> dict[str, Any]:
    """Read a JSON object of parameters; no body is an empty one. Raises Problem 4."""
    body = await read_body(http, PARAMETERS_OCTETS_MAX)
    if not body:
        return {}
    if not is_json(http.content_type):
        raise Problem(ResponseCode.PROTOCOL_ERROR, "The Content-Type must be application/json.")
    document = decode_json(body)
    if not isinstance(document, dict):
        raise Problem(ResponseCode.PROTOCOL_ERROR, "The body must be a JSON object.")
    return document


async def with_parameters_of_body(http: web.Request, target: Target) -> Target:
    """The target with the parameters of a form, or of a JSON object, added to its own.

    Raises Problem or BadTarget when they cannot be read.
    """
    parameters = {name: list(values) for name, values in target.parameters.items()}
    if http.content_type == FORM_TYPE:
        body = await read_body(http, PARAMETERS_OCTETS_MAX)
        given = parse_parameters(body.decode("utf-8", "surrogateescape"))
        pairs = [(name, value) for name, values in given.items() for value in values]
    else:
        pairs = list(_pairs(await read_object(http)))
    if len(pairs) > MAX_PARAMETERS:
        raise BadTarget(f"More than {MAX_PARAMETERS} parameters.")
    for name, value in pairs:
        parameters.setdefault(name, []).append(value)
    return replace(target, parameters=parameters)


def _pairs(members: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in members.items():
        for item in value if isinstance(value, list) else [value]:
            yield name, _parameter_text(name, item)


def _parameter_text(name: str, item: object) -> str:
    match item:
        case bool():
            return "true" if item else "false"
        case str() | int():
            return str(item)
        case _:
            raise Problem(
                ResponseCode.PROTOCOL_ERROR, f"The parameter {name[:40]!r} is neither text nor number."
            )
