"""Drafting: from what was asked for to what shall be stored, as far as that takes no look at the database."""

from collections.abc import Sequence
from datetime import date

import msgspec
from msgspec import UNSET, UnsetType

from protocol.handle import Handle, fold
from protocol.value import ValueList
from registry.identifiers.forms import NewIdentifier
from registry.identifiers.names import NotAllowed, check_name
from registry.identifiers.patterns import PatternRefused, Series, parse_pattern
from registry.identifiers.values import ValueForm, ValueRefused, encode_values
from registry.problem_types import INVALID_REQUEST, ApiProblem, FieldFault
from registry.problem_types.identifiers import NAME_REFUSED, PATTERN_REFUSED, VALUE_REFUSED
from registry.writing import State

NAMES: tuple[str, ...] = ("identifier", "prefix and suffix", "prefix and mint")
"""The ways to name a new identifier."""


class Draft(msgspec.Struct, gc=False):  # no part of a cycle, and one for each item of a batch
    """One new identifier on its way."""

    place: int
    """Its position in the batch."""
    handle: Handle
    """Without a suffix until one is minted."""
    prefix: bytes
    """Folded."""
    values: ValueList
    state: State
    range_id: str | None = None
    series: Series | None = None
    """Set when the suffix is to be minted."""
    number: int = 0
    """The number that the suffix was minted with."""


def draft_of(form: NewIdentifier, place: int, *, day: date, default_ttl_s: int) -> Draft:
    """What shall be stored. Raises ApiProblem, its pointers beginning at the form.

    day: what the date in a pattern is.
    """
    values = wire_values(form.values, default_ttl_s=default_ttl_s)
    state = State.STORED if form.state == "active" else State.DRAFT
    range_id = None if form.range is UNSET else form.range
    if form.mint is not UNSET:
        return _minted(form, place, values, state, day)
    octets = name_octets(_name(form))
    return Draft(place, Handle(octets), octets[: octets.index(b"/")].upper(), values, state, range_id)


def _name(form: NewIdentifier) -> str:
    name, prefix, suffix = form.identifier, form.prefix, form.suffix
    if name is not UNSET and prefix is UNSET and suffix is UNSET:
        return name
    if name is UNSET and prefix is not UNSET and suffix is not UNSET:
        return f"{_one_prefix(prefix)}/{suffix}"
    raise _misnamed()


def name_octets(name: str, member: str = "identifier") -> bytes:
    """The octets of a name. Raises ApiProblem 422 that points at the member."""
    try:
        return check_name(name)
    except NotAllowed as error:
        fault = FieldFault(f"/{member}", str(error))
        raise ApiProblem(NAME_REFUSED, f"The name {error}.", errors=[fault]) from None


def wire_values(forms: Sequence[ValueForm], *, default_ttl_s: int) -> ValueList:
    """Values as they are stored. Raises ApiProblem 422 that points at the one that is wrong."""
    try:
        return encode_values(forms, default_ttl_s=default_ttl_s)
    except ValueRefused as error:
        pointer = f"/values/{error.place}" + (f"/{error.member}" if error.member else "")
        raise ApiProblem(VALUE_REFUSED, f"{error}.", errors=[FieldFault(pointer, error.reason)]) from None


def series_on(pattern: str, day: date) -> Series:
    """A pattern on a day. Raises ApiProblem 422."""
    try:
        return parse_pattern(pattern).on(day)
    except PatternRefused as error:
        fault = FieldFault("/pattern", str(error))
        raise ApiProblem(PATTERN_REFUSED, f"The pattern {error}.", errors=[fault]) from None


def _minted(form: NewIdentifier, place: int, values: ValueList, state: State, day: date) -> Draft:
    taken = (form.identifier, form.suffix, form.range)
    if form.prefix is UNSET or any(member is not UNSET for member in taken):
        raise _misnamed()
    assert not isinstance(form.mint, UnsetType)
    series = series_on(form.mint, day)
    octets = prefix_octets(form.prefix)
    return Draft(place, Handle(octets + b"/"), fold(octets), values, state, series=series)


def prefix_octets(name: str) -> bytes:
    """The octets of a prefix as somebody named it. Raises ApiProblem 422."""
    return name_octets(f"{_one_prefix(name)}/-", "prefix")[:-2]


def _one_prefix(name: str) -> str:
    if "/" in name:
        fault = FieldFault("/prefix", "holds a slash, which ends a prefix")
        raise ApiProblem(NAME_REFUSED, f"The prefix {fault.detail}.", errors=[fault])
    return name


def _misnamed() -> ApiProblem:
    return ApiProblem(
        INVALID_REQUEST,
        f"A new identifier is named by one of: {'; '.join(NAMES)}. A range goes with a suffix that is given.",
    )
