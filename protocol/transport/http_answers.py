"""Answers that every HTTP interface gives alike: refusals as JSON, and who may read from a script."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from aiohttp import web

from protocol.codes import ResponseCode
from protocol.jsonform import record_to_json

SERVER: Final = "handlegrid"  # no version: whoever looks for a weak one shall not be told
READERS: Final = ("GET", "HEAD")
READ_FIELDS: Final = ("Accept", "Content-Type", "X-Requested-With")
READING: Final = ", ".join((*READERS, "OPTIONS"))
_EXPOSED: Final = ("Content-Length", "Retry-After")
_PREFLIGHT_LIFE_S: Final = 86_400  # browsers keep it for two hours at most

RefusalForm = Callable[[str, int, str], tuple[dict[str, str], bytes] | None]
"""From raw target, status and text to header fields and body of a refusal; None: the form of the record API."""
REFUSAL_FORM: Final = web.AppKey[RefusalForm]("refusal_form")
"""Where an application says how the front end refuses what comes for it."""

_CODES: Final = {
    403: ResponseCode.ACCESS_DENIED,
    405: ResponseCode.OPERATION_NOT_SUPPORTED,
    429: ResponseCode.SERVER_TOO_BUSY,
    500: ResponseCode.ERROR,
    503: ResponseCode.ERROR,
}


def for_any_origin(exposed: Sequence[str] = ()) -> dict[str, str]:
    """Headers that let scripts of any origin read an answer, without credentials. Source: PROTOCOL.md §8.2.

    exposed: names of further headers that scripts may read.
    """
    return {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": ", ".join(sorted({*_EXPOSED, *exposed})),
    }


def preflight(methods: Sequence[str] = READERS, fields: Sequence[str] = READ_FIELDS) -> web.Response:
    """The answer to a browser that asks what scripts may do here: read, unless more is said.

    A browser never adds credentials of its own: the origin is any, which forbids them.
    methods: beside OPTIONS. fields: of a request, that a script may set.
    """
    allowed = ", ".join((*methods, "OPTIONS"))
    headers = {
        **for_any_origin(),
        "Allow": allowed,
        "Access-Control-Allow-Methods": allowed,
        "Access-Control-Allow-Headers": ", ".join(fields),
        "Access-Control-Max-Age": str(_PREFLIGHT_LIFE_S),
    }
    return web.Response(status=204, headers=headers)


def refusal(
    status: int,
    text: str,
    *,
    retry_after_s: int | None = None,
    close: bool = False,
    form: tuple[dict[str, str], bytes] | None = None,
) -> web.Response:
    """What the front end itself answers, in the form of the record API unless another one is given.

    text: for the person who reads it; it never repeats what came. close: end the connection afterwards.
    form: header fields, Content-Type among them, and body.
    """
    code = _CODES.get(status, ResponseCode.PROTOCOL_ERROR)
    media = {"Content-Type": "application/json;charset=utf-8"}
    fields, body = form or (media, msgspec.json.encode(record_to_json(code, message=text)))
    response = web.Response(
        status=status,
        body=body,
        headers={
            **for_any_origin(),
            **fields,
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Server": SERVER,
        },
    )
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(retry_after_s)
    if close:
        response.force_close()
    return response
