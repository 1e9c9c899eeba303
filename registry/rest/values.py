"""The body of a PUT: a JSON array of values, an object with `values`, or one value (PROTOCOL §8.2)."""

from typing import Any, Final

from aiohttp import web

from protocol.codes import ResponseCode
from protocol.errors import HandleError, InvalidValue
from protocol.jsonform import value_from_json
from protocol.transport.http_target import Target
from protocol.value import HandleValue, ValueList
from protocol.wire import MAX_VALUES
from registry.rest.problem import Problem
from registry.rest.request import decode_json, is_json, read_body

ANY_INDEX: Final = "various"


async def read_json(request: web.Request) -> bytes:
    """Read the body of a request, not yet parsed.

    Raises Problem: 400 when the media type is not JSON, 413 above MAX_BODY_OCTETS.
    """
    if not is_json(request.content_type):
        raise Problem(ResponseCode.PROTOCOL_ERROR, "The Content-Type must be application/json.")
    return await read_body(request)


def parse_values(body: bytes, *, default_ttl_s: int) -> list[HandleValue]:
    """Read the values of a request body; a value without `ttl` gets default_ttl_s seconds.

    Raises Problem: 4 for what is no JSON or no list of values, 202 for a value that cannot be stored.
    """
    values = []
    for position, item in enumerate(_items(decode_json(body))):
        if not isinstance(item, dict):
            raise Problem(ResponseCode.PROTOCOL_ERROR, f"values[{position}] is no JSON object.")
        try:
            values.append(value_from_json({"ttl": default_ttl_s, **item}))
        except InvalidValue as error:
            raise Problem(error.code, f"values[{position}]: {error}") from None
    return values


def encode_values(values: list[HandleValue]) -> ValueList:
    """Return values in wire form; raises Problem 202 when one does not fit its fields."""
    try:
        return ValueList.of(values)
    except HandleError as error:
        raise Problem(ResponseCode.INVALID_VALUE, str(error)) from None


def is_about_single_values(target: Target, values: list[HandleValue]) -> bool:
    """Tell whether a PUT is about single values (`index=n`, `index=various`) and not about the whole record.

    Raises Problem 4 when the numbers are not those of the body, BadTarget when one is no index.
    """
    wanted = target.parameters.get("index", [])
    if not wanted or ANY_INDEX in wanted:
        return bool(wanted)
    if set(target.indexes()) != {value.index for value in values}:
        raise Problem(
            ResponseCode.PROTOCOL_ERROR,
            "The indexes of the URL are not those of the body; index=various accepts any.",
        )
    return True


def _items(document: Any) -> list[Any]:
    match document:
        case list(items) | {"values": list(items)}:
            pass
        case {"index": _}:
            items = [document]
        case _:
            raise Problem(
                ResponseCode.PROTOCOL_ERROR,
                'The body must be an array of values, an object with "values", or one value with an "index".',
            )
    if len(items) > MAX_VALUES:
        raise Problem(ResponseCode.INVALID_VALUE, f"A record has at most {MAX_VALUES} values.")
    return items
