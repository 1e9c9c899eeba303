"""Values as JSON and in wire form: the way in for everything that is registered, once per value.

Source of the form: PROTOCOL §8.4, as protocol/jsonform. Values that are plain text, as nearly all are, are encoded
without a detour: what stands before their data is the same for every item of a catalogue and is kept.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from protocol.errors import HandleError, InvalidValue
from protocol.handle import fold
from protocol.jsonform import value_from_json, value_to_json
from protocol.value import (
    DEFAULT_PERMISSIONS,
    MAX_INDEX,
    VALUE_HEAD,
    HandleValue,
    TtlType,
    ValueList,
    parse_permissions,
)
from protocol.wire import MAX_VALUES
from registry.identifiers.names import CHECKS, TYPE_CHARACTERS_MAX, NotAllowed, check_target, check_type

_NO_REFERENCES: Final = bytes(4)
_STRING: Final = "string"
_TTL_MAX_S: Final = 0xFFFF_FFFF
_HEADS_MAX: Final = 4_096
"""Combinations of index, type, TTL and permissions that are kept: those of a few hundred catalogues."""


class DataForm(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Data of a value, with the form in which they are written."""

    format: Annotated[str, Meta(description="string, base64, hex, admin, vlist, site or key")]
    value: Annotated[
        Any, Meta(description="Text for string, base64 and hex; an object or a list for the others")
    ]


class ReferenceForm(msgspec.Struct, forbid_unknown_fields=True):
    """A value somewhere else, as index and handle."""

    handle: Annotated[str, Meta(min_length=1, max_length=2_048)]
    index: Annotated[int, Meta(ge=0, le=0xFFFF_FFFF)]


class ValueForm(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One value of an identifier."""

    index: Annotated[int, Meta(ge=1, le=MAX_INDEX, description="Place of the value in the record; each once")]
    type: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=TYPE_CHARACTERS_MAX,
            description="What the data mean: URL, EMAIL, DESC, HS_ADMIN or any other",
        ),
    ]
    data: Annotated[
        str | DataForm, Meta(description="Text, or an object that says in which form the data are written")
    ]
    ttl: Annotated[
        int | str | UnsetType,
        Meta(description="Seconds that the value may be cached for, or the moment at which that ends"),
    ] = UNSET
    permissions: Annotated[
        str | UnsetType,
        Meta(
            description="Four digits: administrators read, administrators write, public reads, public writes"
        ),
    ] = UNSET
    timestamp: Annotated[str | UnsetType, Meta(description="Last change; the registry sets it")] = UNSET
    references: list[ReferenceForm] | UnsetType = UNSET


class ValueRefused(ValueError):
    """A value that cannot be registered; place is its position in the list, the text says why."""

    def __init__(self, place: int, member: str, reason: str) -> None:
        self.place = place
        self.member = member
        """The member of the value that is wrong; empty for the whole value."""
        self.reason = reason
        super().__init__(f"values[{place}]: {member + ' ' if member else ''}{reason}")


def encode_values(forms: Sequence[ValueForm], *, default_ttl_s: int) -> ValueList:
    """Values in wire form, timestamps 0.

    default_ttl_s: of a value that names none. Raises ValueRefused.
    """
    if len(forms) > MAX_VALUES:
        raise ValueRefused(MAX_VALUES, "", f"is one too many: a record has at most {MAX_VALUES}")
    parts: list[bytes] = []
    for place, form in enumerate(forms):
        data = form.data
        if type(data) is DataForm and data.format == _STRING:
            data = data.value
        if type(data) is not str or type(form.ttl) is str or form.references:
            parts.append(_encode_unusual(place, form, default_ttl_s))
            continue
        ttl_s = default_ttl_s if form.ttl is UNSET else form.ttl
        try:
            head, check = _head(form.index, form.type, ttl_s, form.permissions)
            if check is not None:
                check(data)
            octets = data.encode()
        except UnicodeEncodeError:
            raise ValueRefused(place, "data", "holds half a surrogate pair, which is no text") from None
        except _MemberRefused as error:
            raise ValueRefused(place, error.member, str(error)) from None
        except NotAllowed as error:
            raise ValueRefused(place, "data", str(error)) from None
        parts += (head, len(octets).to_bytes(4, "big"), octets, _NO_REFERENCES)
    return ValueList(b"".join(parts), len(forms))


def value_forms(values: Iterable[HandleValue]) -> list[ValueForm]:
    """Values as they are answered, ascending by index."""
    return [_form(value) for value in sorted(values, key=lambda value: value.index)]


class _MemberRefused(ValueError):
    def __init__(self, member: str, reason: str) -> None:
        self.member = member
        super().__init__(reason)


@lru_cache(maxsize=_HEADS_MAX)
def _head(
    index: int, type_: str, ttl_s: int, permissions: str | UnsetType
) -> tuple[bytes, Callable[[str], None] | None]:
    """What stands before the data of a value, and what is asked of the data. Raises _MemberRefused."""
    try:
        check_type(type_)
    except NotAllowed as error:
        raise _MemberRefused("type", str(error)) from None
    if not 0 <= ttl_s <= _TTL_MAX_S:
        raise _MemberRefused("ttl", f"is a number of seconds from 0 to {_TTL_MAX_S}")
    try:
        mask = DEFAULT_PERMISSIONS if permissions is UNSET else parse_permissions(permissions)
    except InvalidValue as error:
        raise _MemberRefused("permissions", str(error)) from None
    type_octets = type_.encode()
    head = VALUE_HEAD.pack(index, 0, TtlType.RELATIVE, ttl_s, mask, len(type_octets))
    return head + type_octets, CHECKS.get(fold(type_octets))


def _encode_unusual(place: int, form: ValueForm, default_ttl_s: int) -> bytes:
    """A value with structured data, references or an absolute TTL."""
    members = {"ttl": default_ttl_s, **msgspec.to_builtins(form)}
    try:
        check_type(form.type)
        value = value_from_json(members)
        check_target(value.type.encode(), value.data)
        return value.encode()
    except RecursionError:
        raise ValueRefused(place, "data", "is nested too deeply") from None
    except (HandleError, NotAllowed) as error:
        raise ValueRefused(place, "", str(error)) from None


def _form(value: HandleValue) -> ValueForm:
    members = value_to_json(value)
    references = [ReferenceForm(**reference) for reference in members.pop("references", ())]
    return ValueForm(data=DataForm(**members.pop("data")), references=references or UNSET, **members)
