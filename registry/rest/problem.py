"""JSON answers of the record API: a `responseCode` always, also when something is wrong (PROTOCOL §8.2)."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from protocol.codes import OpCode, ResponseCode, http_status
from protocol.errors import HandleError
from protocol.handle import Handle
from protocol.jsonform import record_to_json

CONTENT_TYPE: Final = "application/json;charset=utf-8"
SCRIPT_TYPE: Final = "application/javascript;charset=utf-8"
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",  # an authority is asked for what is true now, and may answer with secrets
}
CODE_KEY: Final = web.ResponseKey("response_code", int)
"""Where an answer carries its response code for whoever counts it."""
CALLBACK: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$.]{0,99}")
"""Names of functions that an answer may call: no brackets, no quotes, nothing that could be another script."""


@dataclass(frozen=True, slots=True)
class Form:
    """How an answer is written down."""

    pretty: bool = False
    """Indented."""
    callback: str = ""
    """The function of a script that gets it (JSONP); empty for plain JSON."""


PLAIN: Final = Form()


class Problem(HandleError):
    """A request that gets no for an answer; everything in it is safe to send to the peer."""

    def __init__(
        self,
        code: ResponseCode,
        message: str,
        *,
        status: int | None = None,
        handle: Handle | None = None,
        operation: OpCode = OpCode.RESOLUTION,
        headers: Mapping[str, str] | None = None,
        challenges: Sequence[str] = (),
    ) -> None:
        """Describe a refusal.

        status: the HTTP status when it is not the one that goes with the code. challenges: what WWW-Authenticate asks.
        """
        super().__init__(message)
        self.code = code
        self.status = http_status(code, operation=operation) if status is None else status
        self.handle = handle
        self.headers = headers or {}
        self.challenges = challenges

    def response(self, form: Form = PLAIN) -> web.Response:
        """Return the answer to the peer."""
        body = record_to_json(self.code, self.handle, message=str(self))
        response = json_response(body, status=self.status, form=form, headers=self.headers)
        for challenge in self.challenges:
            response.headers.add("WWW-Authenticate", challenge)
        return response


def json_response(
    body: Mapping[str, Any],
    *,
    status: int,
    form: Form = PLAIN,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Return a JSON answer; what has no member `responseCode` counts as a success."""
    text = json.dumps(
        body,
        ensure_ascii=bool(form.callback),  # two line ends of Unicode are text in JSON, and none in a script
        indent=2 if form.pretty else None,
        separators=(",", ": ") if form.pretty else (",", ":"),
    )
    if form.callback:
        text = f"{form.callback}({text});"
    response = web.Response(
        body=text.encode("utf-8", "replace"),
        status=status,
        headers={
            "Content-Type": SCRIPT_TYPE if form.callback else CONTENT_TYPE,
            **HEADERS,
            **(headers or {}),
        },
    )
    response[CODE_KEY] = int(body.get("responseCode", ResponseCode.SUCCESS))
    return response
