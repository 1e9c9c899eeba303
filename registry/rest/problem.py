"""JSON answers of the record API: a `responseCode` always, also when something is wrong (PROTOCOL §8.2)."""

import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from protocol.codes import OpCode, ResponseCode, http_status
from protocol.errors import HandleError
from protocol.handle import Handle
from protocol.jsonform import record_to_json

CONTENT_TYPE: Final = "application/json;charset=utf-8"
REALM: Final = 'Basic realm="handle", charset="UTF-8"'
_HEADERS: Final = {
    "Content-Type": CONTENT_TYPE,
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",  # an authority is asked for what is true now, and may answer with secrets
}
CODE_KEY: Final = web.ResponseKey("response_code", int)
"""Where an answer carries its response code for whoever counts it."""


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
    ) -> None:
        """Describe a refusal.

        status: the HTTP status when it is not the one that goes with the code.
        """
        super().__init__(message)
        self.code = code
        self.status = http_status(code, operation=operation) if status is None else status
        self.handle = handle
        self.headers = headers or {}

    def response(self, *, pretty: bool = False) -> web.Response:
        """Return the answer to the peer."""
        body = record_to_json(self.code, self.handle, message=str(self))
        return json_response(body, status=self.status, pretty=pretty, headers=self.headers)


def unauthenticated(code: ResponseCode, message: str, handle: Handle | None = None) -> Problem:
    """Return the 401 that asks for credentials; code: 402 none came, 403 they prove nothing."""
    return Problem(code, message, status=401, handle=handle, headers={"WWW-Authenticate": REALM})


def json_response(
    body: Mapping[str, Any],
    *,
    status: int,
    pretty: bool = False,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Return a JSON answer; body has the member `responseCode`."""
    text = json.dumps(
        body,
        ensure_ascii=False,
        indent=2 if pretty else None,
        separators=(",", ": ") if pretty else (",", ":"),
    )
    response = web.Response(
        body=text.encode("utf-8", "replace"),
        status=status,
        headers={**_HEADERS, **(headers or {})},
    )
    response[CODE_KEY] = int(body["responseCode"])
    return response
