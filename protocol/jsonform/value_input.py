"""From JSON objects to values."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from protocol.errors import InvalidHandle, InvalidValue
from protocol.handle import Handle
from protocol.jsonform.checks import U32_MAX, a_string, an_array, an_integer, an_object, utf8
from protocol.jsonform.key_input import key_from_json, octets_from_base64
from protocol.jsonform.site_input import site_from_json
from protocol.value import (
    DEFAULT_PERMISSIONS,
    DEFAULT_TTL_S,
    HandleValue,
    TtlType,
    ValueReference,
    check_index,
    parse_permissions,
)
from protocol.valuetypes.hs_admin import Admin, parse_mask
from protocol.valuetypes.hs_vlist import ValueReferences
from protocol.wire import text

MAX_REFERENCES: Final = 1_024


def value_from_json(form: object) -> HandleValue:
    """A value that somebody wrote. Raises InvalidValue naming the member that is wrong; the timestamp is ignored."""
    members = an_object(form, "a value")
    ttl_type, ttl = _ttl(members.get("ttl", DEFAULT_TTL_S))
    type_name = text(utf8(members.get("type"), "type"))
    if not type_name:
        raise InvalidValue("type: must not be empty")
    permissions = members.get("permissions")
    return HandleValue(
        index=check_index(an_integer(members.get("index"), "index")),
        type=type_name,
        data=data_from_json(members.get("data")),
        ttl_type=ttl_type,
        ttl=ttl,
        permissions=DEFAULT_PERMISSIONS
        if permissions is None
        else parse_permissions(a_string(permissions, "permissions")),
        references=_references(members.get("references", [])),
    )


def values_from_json(form: object) -> list[HandleValue]:
    """The values of a PUT body: an array of values, an object with `values`, or one value. Raises InvalidValue."""
    if isinstance(form, Mapping) and "values" in form:
        form = form["values"]
    items = form if isinstance(form, list) else [form]
    return [value_from_json(item) for item in items]


def data_from_json(form: object) -> bytes:
    """The octets of `data`: a bare string, or {"format", "value"}. Raises InvalidValue."""
    if isinstance(form, str):
        return utf8(form, "data")
    members = an_object(form, "data")
    name = a_string(members.get("format"), "data.format").lower()
    reader = _FORMAT_READERS.get(name)
    if reader is None:
        raise InvalidValue(f"data.format: {name[:20]!r} is none of {', '.join(_FORMAT_READERS)}")
    return reader(members.get("value"))


def _string_data(form: object) -> bytes:
    return utf8(form, "data.value")


def _hex_data(form: object) -> bytes:
    try:
        return bytes.fromhex(a_string(form, "data.value"))
    except ValueError:
        raise InvalidValue("data.value: is no hexadecimal") from None


def _admin_data(form: object) -> bytes:
    members = an_object(form, "data.value")
    permissions = parse_mask(a_string(members.get("permissions"), "data.value.permissions"))
    return Admin(_reference(members, lowest_index=0), permissions).encode()


def _vlist_data(form: object) -> bytes:
    members = an_array(form, "data.value", MAX_REFERENCES)
    return ValueReferences(tuple(_reference(member, lowest_index=0) for member in members)).encode()


def _site_data(form: object) -> bytes:
    return site_from_json(form).encode()


_FORMAT_READERS: Final[dict[str, Callable[[object], bytes]]] = {
    "string": _string_data,
    "base64": octets_from_base64,
    "hex": _hex_data,
    "admin": _admin_data,
    "vlist": _vlist_data,
    "site": _site_data,
    "key": key_from_json,
}


def _ttl(form: object) -> tuple[TtlType, int]:
    if isinstance(form, str):
        try:
            moment = datetime.fromisoformat(form)
            seconds = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
        except (ValueError, OverflowError):
            raise InvalidValue(
                "ttl: is neither a number of seconds nor a time such as 2027-01-15T08:00:00Z"
            ) from None
        return TtlType.ABSOLUTE, an_integer(seconds, "ttl", U32_MAX)
    return TtlType.RELATIVE, an_integer(form, "ttl", U32_MAX)


def _references(form: object) -> tuple[ValueReference, ...]:
    return tuple(_reference(item, lowest_index=0) for item in an_array(form, "references", MAX_REFERENCES))


def _reference(form: object, *, lowest_index: int) -> ValueReference:
    members = an_object(form, "a reference")
    handle = utf8(members.get("handle"), "handle")
    try:
        Handle.parse(handle)
    except InvalidHandle as error:
        raise InvalidValue(f"handle: {error}") from None
    index = an_integer(_number(members.get("index")), "index", U32_MAX)
    if index < lowest_index:
        raise InvalidValue(f"index: {index} is too small")
    return ValueReference(handle, index)


def _number(form: object) -> object:
    """A number that was written as a string of digits, as pyhandle writes the index of its default administrator."""
    return int(form) if isinstance(form, str) and re.fullmatch("[0-9]{1,10}", form) else form
