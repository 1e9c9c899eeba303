"""The OpenAPI 3.1 document of the API, generated from its routes and the shapes of their bodies."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, TypeAlias

import msgspec

from protocol.runtime.build import version
from protocol.runtime.logs import REQUEST_ID_HEADER
from registry.api.descriptions import describe_fields
from registry.api.idempotency import HEADER as IDEMPOTENCY_KEY
from registry.api.parameters import PARAMETERS, SEGMENT_CHARACTERS_MAX
from registry.api.respond import JSON, PROBLEM_JSON
from registry.api.route import Access, Route
from registry.api.schemas.base import ProblemBody
from registry.problem_types import (
    CREDENTIAL_IN_TARGET,
    FORBIDDEN,
    HTTPS_REQUIRED,
    IN_PROGRESS,
    INTERNAL,
    INVALID_REQUEST,
    KEY_REUSED,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    OVERLOADED,
    PRECONDITION_FAILED,
    PRECONDITION_REQUIRED,
    REQUEST_TIMEOUT,
    STORE_UNAVAILABLE,
    TEST_KEY,
    TOO_LARGE,
    TOO_MANY_REQUESTS,
    UNAUTHENTICATED,
    UNPROCESSABLE,
    UNSUPPORTED_MEDIA_TYPE,
    ProblemType,
)
from registry.problem_types.common import NETWORK_RATE, NETWORK_REFUSED
from registry.problem_types.peers import NODE_SIGNATURE

Json: TypeAlias = dict[str, Any]

REFERENCE: Final = "#/components/schemas/{name}"
DESCRIPTION: Final = (
    "Organisations, prefixes, keys and identifiers of one node. Every refusal is a problem (RFC 9457) whose `remedy` "
    "says what to do; see /api/v1/problems. Every write takes `?dry_run=true` and, but for public ones, an "
    "`Idempotency-Key`. Credentials travel in `Authorization: Bearer` only."
)

_ALWAYS: Final = (
    INVALID_REQUEST,
    CREDENTIAL_IN_TARGET,
    NETWORK_REFUSED,
    METHOD_NOT_ALLOWED,
    NETWORK_RATE,
    INTERNAL,
    OVERLOADED,
    STORE_UNAVAILABLE,
)
HEADERS: Final[dict[str, Json]] = {
    "X-Request-Id": {
        "description": "The request id: the client's, or a fresh one; it is in the node's log and audit too.",
        "schema": {"type": "string"},
        "required": True,
    },
    "RateLimit": {"description": "What is left of the quota of requests.", "schema": {"type": "string"}},
    "RateLimit-Policy": {"description": "The quota of requests.", "schema": {"type": "string"}},
    "ETag": {
        "description": "Version of the object; send it back in If-Match.",
        "schema": {"type": "string"},
    },
    "Location": {"description": "Path of what was made.", "schema": {"type": "string"}},
    "Idempotency-Replayed": {
        "description": "true: this answer was given before.",
        "schema": {"type": "string"},
    },
    "Dry-Run": {"description": "true: nothing was kept.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "string"}},
    "WWW-Authenticate": {"description": "How to authenticate.", "schema": {"type": "string"}},
    "Allow": {"description": "What is allowed here.", "schema": {"type": "string"}},
}

_REFUSAL_HEADERS: Final[dict[int, tuple[str, ...]]] = {
    401: ("WWW-Authenticate",),
    405: ("Allow",),
    429: ("Retry-After", "RateLimit", "RateLimit-Policy"),
    503: ("Retry-After",),
}


def _header(name: str, text: str, pattern: str) -> Json:
    schema = {"type": "string", "pattern": pattern}
    return {"name": name, "in": "header", "required": False, "description": text, "schema": schema}


PARTS: Final[dict[str, Json]] = {
    "RequestId": _header(
        REQUEST_ID_HEADER, "Id of this request, for logs and audit.", "^[A-Za-z0-9._-]{8,64}$"
    ),
    "DryRun": {
        "name": "dry_run",
        "in": "query",
        "required": False,
        "description": "Whether to answer as if it were done, and keep nothing.",
        "schema": {"type": "boolean", "default": False},
    },
    "IdempotencyKey": _header(
        IDEMPOTENCY_KEY,
        "The same key with the same request within 24 hours gives the first answer again.",
        "^[!-~]{8,255}$",
    ),
    "IfMatch": _header("If-Match", "ETag of the version that was read.", "^[ -~]{1,200}$"),
    "IfNoneMatch": _header("If-None-Match", "ETag of a version that is known.", "^[ -~]{1,200}$"),
}
"""The parameters and header fields of the framework."""


def problems_of(route: Route) -> tuple[ProblemType, ...]:
    """Every problem that a route can answer with: its own and those of the framework."""
    kinds = [*_ALWAYS]
    if route.access in (Access.RIGHT, Access.SIGNED_IN):
        kinds += [UNAUTHENTICATED, HTTPS_REQUIRED, TOO_MANY_REQUESTS]
    if route.access is Access.NODE:
        kinds += [NODE_SIGNATURE, HTTPS_REQUIRED]
    if route.access is Access.RIGHT:
        kinds.append(FORBIDDEN)
    if route.access is Access.PUBLIC and route.is_write:
        kinds.append(HTTPS_REQUIRED)
    if route.parameters:
        kinds.append(NOT_FOUND)
    if route.body is not None:
        kinds += [REQUEST_TIMEOUT, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, UNPROCESSABLE]
    if _takes_key(route):
        kinds += [TEST_KEY, IN_PROGRESS, KEY_REUSED]
    if route.if_match:
        kinds += [PRECONDITION_FAILED, PRECONDITION_REQUIRED]
    if route.heeds_match:
        kinds.append(PRECONDITION_FAILED)
    return tuple(dict.fromkeys([*kinds, *route.problems]))


def make_document(routes: Sequence[Route]) -> Json:
    """The whole document."""
    shapes = list(dict.fromkeys(shape for route in routes for shape in _shapes(route)))
    references, long_named = msgspec.json.schema_components([ProblemBody, *shapes], ref_template=REFERENCE)
    describe_fields(long_named, [ProblemBody, *shapes])
    components = {_short(name): _with_short_names(schema) for name, schema in sorted(long_named.items())}
    schemas = {shape: _with_short_names(schema) for shape, schema in zip(shapes, references[1:], strict=True)}
    queries = {route.query: _target(schemas[route.query]) for route in routes if route.query is not None}
    refusals: dict[str, Json] = {}
    paths: dict[str, Json] = {}
    for route in routes:
        parameters = [] if route.query is None else _query_parameters(components[queries[route.query]])
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(
            route, schemas, parameters, refusals
        )
    for name in queries.values():  # spelled out as parameters
        components.pop(name, None)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "handlegrid",
            "version": version(),
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(route.tag for route in routes)],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": dict(sorted(refusals.items())),
            "parameters": PARTS,
            "headers": HEADERS,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, or a session's token.",
                }
            },
        },
    }


def _short(name: str) -> str:
    """The name of a component: that of its class, after the last part of its module where two classes have one."""
    module, dot, own = name.rpartition(".")
    return own if not dot else module.rpartition(".")[2].title().replace("_", "") + own


def _with_short_names(schema: Any) -> Any:
    """The same schema, whose references have short names."""
    match schema:
        case dict():
            return {
                key: REFERENCE.format(name=_short(_target(schema)))
                if key == "$ref"
                else _with_short_names(value)
                for key, value in schema.items()
            }
        case list():
            return [_with_short_names(item) for item in schema]
        case _:
            return schema


def _target(reference: Json) -> str:
    """What a reference leads to."""
    return str(reference["$ref"]).rpartition("/")[2]


def _shapes(route: Route) -> list[type[msgspec.Struct]]:
    return [shape for shape in (route.body, route.query, route.reply) if shape is not None]


def _operation(
    route: Route,
    schemas: Mapping[type[msgspec.Struct], Any],
    parameters: list[Json],
    refusals: dict[str, Json],
) -> Json:
    """One operation; refusals: takes in what several operations refuse alike, by name."""
    operation: Json = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": [*_path_parameters(route), *parameters, *_framework_parameters(route)],
        "responses": {**_successes(route, schemas), **_refusals(route, refusals)},
    }
    if route.access in (Access.RIGHT, Access.SIGNED_IN):
        operation["security"] = [{"bearer": []}]
    if route.right is not None:
        operation["x-right"] = route.right.value
    if route.handler.__doc__:
        operation["description"] = " ".join(route.handler.__doc__.split())
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": schemas[route.body]}}}
    return operation


def _path_parameters(route: Route) -> list[Json]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": PARAMETERS[name].description,
            "schema": {"type": "string", "minLength": 1, "maxLength": SEGMENT_CHARACTERS_MAX},
            "example": PARAMETERS[name].example,
        }
        for name in route.parameters
    ]


def _query_parameters(component: Json) -> list[Json]:
    required = component.get("required", ())
    parameters = []
    for name, described in component.get("properties", {}).items():
        schema = dict(described)
        text = schema.pop("description", None)
        parameter = {"name": name, "in": "query", "required": name in required, "schema": _as_text(schema)}
        parameters.append(parameter if text is None else {**parameter, "description": text})
    return parameters


def _as_text(schema: Json) -> Json:
    """Without null, which no text of a parameter means."""
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name != "anyOf" and value is not None}
    return rest if not options else rest | options[0] if len(options) == 1 else rest | {"anyOf": options}


def _framework_parameters(route: Route) -> list[Json]:
    """The parameters and header fields that the framework reads."""
    names = ["RequestId"]
    if route.is_write:
        names.append("DryRun")
    if _takes_key(route):
        names.append("IdempotencyKey")
    if route.if_match or route.heeds_match:
        names.append("IfMatch")
    if route.etag and not route.is_write:
        names.append("IfNoneMatch")
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _successes(route: Route, schemas: Mapping[type[msgspec.Struct], Any]) -> Json:
    content: Json = {media: {} for media in (route.media, *route.other_media)}
    if route.reply is not None:
        content[route.media] = {"schema": schemas[route.reply]}
    elif route.status == HTTPStatus.NO_CONTENT:
        content = {}
    statuses: Json = {}
    for status in (route.status, *route.also):
        response: Json = {
            "description": HTTPStatus(status).phrase,
            "headers": _references(_sent(route, status)),
        }
        if content and status != HTTPStatus.NO_CONTENT:
            response["content"] = content
        statuses[str(status)] = response
    if route.etag and not route.is_write:
        statuses["304"] = {"description": "Not Modified", "headers": _references(("X-Request-Id", "ETag"))}
    return statuses


def _sent(route: Route, status: int) -> tuple[str, ...]:
    names = ["X-Request-Id"]
    if route.access in (Access.RIGHT, Access.SIGNED_IN):
        names += ["RateLimit", "RateLimit-Policy"]
    if route.etag:
        names.append("ETag")
    if status == HTTPStatus.CREATED:
        names.append("Location")
    if route.is_write:
        names.append("Dry-Run")
    if _takes_key(route):
        names.append("Idempotency-Replayed")
    return tuple(names)


def _refusals(route: Route, known: dict[str, Json]) -> Json:
    by_status: dict[int, list[ProblemType]] = {}
    for kind in problems_of(route):
        by_status.setdefault(kind.status, []).append(kind)
    return {
        str(status): {"$ref": f"#/components/responses/{_refusal_name(status, by_status[status], known)}"}
        for status in sorted(by_status)
    }


def _refusal_name(status: int, kinds: Sequence[ProblemType], known: dict[str, Json]) -> str:
    """The name of the response that tells of these problems, such as Refusal409, taken in where it is new."""
    slugs = [kind.slug for kind in kinds]
    number = 1
    while True:
        name = f"Refusal{status}" if number == 1 else f"Refusal{status}No{number}"
        if name not in known:
            known[name] = _refusal(status, kinds)
            return name
        if known[name]["x-problems"] == slugs:
            return name
        number += 1


def _refusal(status: int, kinds: Sequence[ProblemType]) -> Json:
    lines = [f"- [{kind.slug}]({kind.uri}): {kind.title}" for kind in kinds]
    headers = ["X-Request-Id", *_REFUSAL_HEADERS.get(status, ())]
    return {
        "description": "\n".join(lines),
        "headers": _references(headers),
        "content": {PROBLEM_JSON: {"schema": {"$ref": REFERENCE.format(name=ProblemBody.__name__)}}},
        "x-problems": [kind.slug for kind in kinds],
    }


def _references(names: Sequence[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _takes_key(route: Route) -> bool:
    return route.is_write and route.access is not Access.PUBLIC
