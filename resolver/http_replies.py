"""HTTP answers of a recursive node, as JSON and as pages, and what each of them counts as."""

import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from protocol.codes import OpCode, ResponseCode, http_status
from protocol.errors import HandleError, ResolutionFailed, Unreachable
from protocol.jsonform import record_to_json
from protocol.runtime.single_flight import TooBusy
from protocol.transport.http_answers import for_any_origin
from protocol.transport.http_cache import REUSE, Reuse
from protocol.transport.http_target import Target
from resolver.cache.policy import Entry
from resolver.http_headers import Life, TimedHeaders, work_told
from resolver.pages import Pages
from resolver.recursor import Origin

RETRY_AFTER_S: Final = "2"
JSON_TYPE: Final = "application/json;charset=utf-8"
HTML_TYPE: Final = "text/html;charset=utf-8"
CODE: Final = web.ResponseKey("response_code", int)
OUTCOME: Final = web.ResponseKey("outcome", str)
OPERATION: Final = web.ResponseKey("operation", int)
ANYBODY: Final = {
    **for_any_origin(["Age", "Cache-Status", "ETag"]),
    "X-Content-Type-Options": "nosniff",
}
"""Records are public: scripts of any origin may read them."""


def json_reply(status: int, form: dict[str, Any], target: Target, headers: Mapping[str, str]) -> web.Response:
    """An answer in the JSON form of records, for scripts of any origin."""
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


def problem(status: int, code: ResponseCode, message: str, **headers: str) -> web.Response:
    """A refusal as JSON that nobody keeps."""
    form = record_to_json(code, message=message)
    return json_reply(status, form, Target(path=b""), {"Cache-Control": "no-store", **headers})


def page_reply(
    pages: Pages, status: int, text: str, headers: Mapping[str, str], code: int = ResponseCode.SUCCESS
) -> web.Response:
    """A page, with the headers that keep it harmless. code: the response code that it counts as."""
    body = text.encode("utf-8", "replace")
    response = web.Response(
        status=status, body=body, headers={"Content-Type": HTML_TYPE, **pages.headers, **headers}
    )
    response[CODE] = int(code)
    return response


def note_origin(response: web.Response, life: Entry | Life, origin: Origin, node: str) -> None:
    """Say whether an answer came from the record cache, and let the HTTP cache give it again while it lives.

    Only for what depends on nothing but the records, the request line and the class of the Accept fields.
    """
    response[OUTCOME] = "hit" if origin is Origin.HIT else "miss"
    if "Age" not in response.headers:
        return
    timed = TimedHeaders(life.stored_s, life.expires_s, work_told(node, Origin.HIT))
    code = response.get(CODE, int(ResponseCode.SUCCESS))
    response[REUSE] = Reuse(operation=OpCode.RESOLUTION, code=code, until_s=timed.until_s, timed=timed)


def describe(error: HandleError) -> tuple[int, ResponseCode, str, str]:
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
