"""Reads requests: parameters, bodies and their JSON; bounded before they are believed."""

import asyncio
from collections.abc import Mapping
from typing import Final

import msgspec
from aiohttp import web

from protocol.transport.http_target import BadTarget, parse_target
from registry.api.faults import field_fault
from registry.problem_types import (
    INVALID_REQUEST,
    REQUEST_TIMEOUT,
    TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    ApiProblem,
    FieldFault,
)

JSON_DEPTH_MAX: Final = 64
"""Levels of a document; the deepest that is described has eight."""
BODY_WAIT_S: Final = 45.0
"""For a whole body; less than the front end's limit for the request, whose refusal is not in our form."""
PARAMETER_CHARACTERS_MAX: Final = 4_096

_BRACKETS_AND_QUOTES: Final = b'"[]{}'
_OTHERS: Final = bytes(octet for octet in range(256) if octet not in _BRACKETS_AND_QUOTES)
_ONE_KIND: Final = bytes.maketrans(b"{}", b"[]")
_NUL: Final = b"\\u0000"
_TRUE_OR_FALSE: Final = {"": True, "true": True, "1": True, "false": False, "0": False}


async def read_body(request: web.Request, octets_max: int) -> bytes:
    """Read the body of a request, which must be JSON by its Content-Type.

    Raises ApiProblem: 415, 413 above octets_max (before it is read where its length is told), 408, 400 when it ends
    early.
    """
    _check_media(request)
    _check_size(request.content_length or 0, octets_max)
    try:
        async with asyncio.timeout(BODY_WAIT_S):
            return await _read_bounded(request, octets_max)
    except TimeoutError:
        raise ApiProblem(REQUEST_TIMEOUT, f"The body did not end within {BODY_WAIT_S:.0f} seconds.") from None
    except (ConnectionError, web.RequestPayloadError):
        raise ApiProblem(INVALID_REQUEST, "The body ended early.") from None


def check_no_body(request: web.Request) -> None:
    """Raises ApiProblem 400 when a request has a body though its operation takes none."""
    if request.body_exists and request.content_length != 0:
        raise ApiProblem(INVALID_REQUEST, "This operation takes no body.")


def decode_body(decoder: "msgspec.json.Decoder[msgspec.Struct]", octets: bytes) -> msgspec.Struct:
    """Decode a body. Raises ApiProblem 400 that points at the field that is wrong."""
    check_json(octets)
    try:
        return decoder.decode(octets)
    except msgspec.ValidationError as error:
        fault = field_fault(str(error))
        raise ApiProblem(INVALID_REQUEST, f"{fault.pointer or '/'}: {fault.detail}", errors=[fault]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ApiProblem(INVALID_REQUEST, "The body is not valid JSON.") from None


def check_json(octets: bytes) -> None:
    """Raises ApiProblem 400 for JSON that is nested too deeply or holds NUL, which no text here may hold."""
    if not octets:
        raise ApiProblem(INVALID_REQUEST, "The body is empty.")
    plain = octets
    if b"\\" in octets:
        plain = octets.replace(b"\\\\", b"")
        if _NUL in plain:
            raise ApiProblem(INVALID_REQUEST, "The body holds the character U+0000.")
        plain = plain.replace(b'\\"', b"")
    if plain.count(b"[") + plain.count(b"{") > JSON_DEPTH_MAX and _is_deep(plain):
        raise ApiProblem(INVALID_REQUEST, f"The body is nested more than {JSON_DEPTH_MAX} levels deep.")


def decode_query(
    shape: type[msgspec.Struct] | None, parameters: Mapping[str, list[str]]
) -> msgspec.Struct | None:
    """Decode the parameters of a route. Raises ApiProblem 400 for one that is unknown, repeated or wrong."""
    known = () if shape is None else shape.__struct_encode_fields__
    for name, values in parameters.items():
        if name not in known:
            listed = ", ".join(known) or "none"
            raise _wrong_parameter(name, f"is not known here; known: {listed}")
        if len(values) > 1:
            raise _wrong_parameter(name, "stands there more than once")
        if "\x00" in values[0] or len(values[0]) > PARAMETER_CHARACTERS_MAX:
            raise _wrong_parameter(name, f"holds U+0000 or more than {PARAMETER_CHARACTERS_MAX} characters")
    if shape is None:
        return None
    try:
        return msgspec.convert({name: values[0] for name, values in parameters.items()}, shape, strict=False)
    except msgspec.ValidationError as error:
        fault = field_fault(str(error))
        raise _wrong_parameter(fault.pointer.removeprefix("/"), fault.detail) from None


def read_parameters(raw_target: str) -> dict[str, list[str]]:
    """The parameters of a raw target. Raises ApiProblem 400."""
    _, mark, query = raw_target.partition("?")
    if not mark:
        return {}
    try:
        return parse_target("?" + query).parameters
    except BadTarget as error:
        raise ApiProblem(INVALID_REQUEST, str(error)) from None


def take_flag(parameters: dict[str, list[str]], name: str) -> bool:
    """Take a parameter of the framework out: true when it stands there empty, as true or as 1. Raises ApiProblem."""
    values = parameters.pop(name, None)
    if values is None:
        return False
    flag = _TRUE_OR_FALSE.get(values[-1].lower())
    if flag is None or len(values) > 1:
        raise _wrong_parameter(name, "must be true or false")
    return flag


def _check_media(request: web.Request) -> None:
    media = request.content_type
    if media != "application/json" and not media.endswith("+json"):
        raise ApiProblem(UNSUPPORTED_MEDIA_TYPE, "The Content-Type must be application/json.")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ApiProblem(UNSUPPORTED_MEDIA_TYPE, "The body must not be compressed.")


def _check_size(octets: int, octets_max: int) -> None:
    if octets > octets_max:
        raise ApiProblem(TOO_LARGE, f"The body has more than {octets_max} octets.")


async def _read_bounded(request: web.Request, octets_max: int) -> bytes:
    first = await request.content.readany()
    if request.content.at_eof():  # small bodies come in one piece
        _check_size(len(first), octets_max)
        return first
    body = bytearray(first)
    while chunk := await request.content.readany():
        body += chunk
        _check_size(len(body), octets_max)
    return bytes(body)


def _is_deep(plain: bytes) -> bool:
    """Whether JSON without escaped quotes and backslashes is nested deeper than allowed, or its brackets do not close.

    Every replacement takes away the innermost level of all branches at once, at the speed of C.
    """
    outside = b"".join(plain.translate(_ONE_KIND, _OTHERS).split(b'"')[::2])
    for _ in range(JSON_DEPTH_MAX):
        outside = outside.replace(b"[]", b"")
        if not outside:
            return False
    return True


def _wrong_parameter(name: str, detail: str) -> ApiProblem:
    fault = FieldFault("?" + name[:100], detail)
    return ApiProblem(INVALID_REQUEST, f"The parameter {name[:100]} {detail}.", errors=[fault])
