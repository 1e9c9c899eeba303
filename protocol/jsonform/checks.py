"""What a member of a JSON object must be; each check raises InvalidValue naming the member."""

from collections.abc import Mapping
from typing import Any, Final

from protocol.errors import InvalidValue

U32_MAX: Final = 0xFFFF_FFFF


def an_object(form: object, member: str) -> Mapping[str, Any]:
    """The members of a JSON object."""
    if not isinstance(form, Mapping):
        raise InvalidValue(f"{member}: must be an object")
    return form


def an_array(form: object, member: str, items_max: int) -> list[Any]:
    """The items of a JSON array of at most items_max."""
    if not isinstance(form, list):
        raise InvalidValue(f"{member}: must be an array")
    if len(form) > items_max:
        raise InvalidValue(f"{member}: {len(form)} items, {items_max} allowed")
    return form


def a_string(form: object, member: str) -> str:
    """A JSON string."""
    if not isinstance(form, str):
        raise InvalidValue(f"{member}: must be a string")
    return form


def a_boolean(form: object, member: str) -> bool:
    """A JSON true or false."""
    if not isinstance(form, bool):
        raise InvalidValue(f"{member}: must be true or false")
    return form


def an_integer(form: object, member: str, highest: int = U32_MAX) -> int:
    """A JSON whole number from 0 to highest."""
    if isinstance(form, bool) or not isinstance(form, int):
        raise InvalidValue(f"{member}: must be a whole number")
    if not 0 <= form <= highest:
        raise InvalidValue(f"{member}: must lie between 0 and {highest}")
    return form


def utf8(form: object, member: str) -> bytes:
    """The octets of a JSON string."""
    try:
        return a_string(form, member).encode()
    except UnicodeEncodeError:
        raise InvalidValue(f"{member}: holds half a surrogate pair, which is no text") from None
