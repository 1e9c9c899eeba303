"""The JSON form inverts: what we write we read; what we cannot read we refuse by name."""

import json

from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import InvalidValue
from protocol.handle import Handle
from protocol.jsonform import (
    record_to_json,
    site_from_json,
    site_to_json,
    value_from_json,
    value_to_json,
    values_from_json,
)
from protocol.site import Interface, Server, Site
from protocol.value import MAX_INDEX, HandleValue, TtlType, ValueList, ValueReference
from tests.support import strategies as some

MEMBERS = [
    "index",
    "type",
    "data",
    "ttl",
    "permissions",
    "references",
    "format",
    "value",
    "handle",
    "values",
    "kty",
]

utf8_names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).map(str.encode)
ordinary = st.builds(
    HandleValue,
    index=st.integers(1, MAX_INDEX),
    type=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12) | st.just("HS_ADMIN"),
    data=some.octets | st.text(max_size=20).map(lambda string: string.encode("utf-8", "ignore")),
    ttl=some.u32,
    ttl_type=st.sampled_from(list(TtlType)),
    permissions=st.integers(0, 15),
    references=st.lists(st.builds(ValueReference, utf8_names, some.u32), max_size=2).map(tuple),
)
ordinary_sites = st.builds(
    Site,
    protocol_major=some.u8,
    protocol_minor=some.u8,
    serial=some.u16,
    primary=st.booleans(),
    multi_primary=st.booleans(),
    hash_option=some.u8,
    attributes=st.lists(st.tuples(utf8_names, utf8_names), max_size=3).map(tuple),
    servers=st.lists(
        st.builds(
            Server,
            server_id=some.u32,
            address=st.binary(min_size=16, max_size=16),
            interfaces=st.lists(
                st.builds(
                    Interface,
                    admin=st.booleans(),
                    query=st.booleans(),
                    protocol=st.integers(0, 3),
                    port=some.u16,
                ),
                max_size=3,
            ).map(tuple),
        ),
        max_size=3,
    ).map(tuple),
)


@given(ordinary)
def test_a_value_survives_its_json_form(value: HandleValue) -> None:
    form = json.loads(json.dumps(value_to_json(value)))
    assert value_from_json(form).encode() == value.encode()


@given(some.values)
def test_every_value_has_a_json_form(value: HandleValue) -> None:
    json.dumps(value_to_json(value), allow_nan=False).encode("ascii")


@given(some.handles, some.value_lists)
def test_every_record_has_a_json_form_that_is_utf8(handle: Handle, values: ValueList) -> None:
    json.dumps(record_to_json(1, handle, values=values), ensure_ascii=False).encode("utf-8")


@given(ordinary_sites)
def test_a_site_survives_its_json_form(site: Site) -> None:
    assert site_from_json(json.loads(json.dumps(site_to_json(site)))) == site


@given(some.sites)
def test_every_site_has_a_json_form(site: Site) -> None:
    json.dumps(site_to_json(site), ensure_ascii=False).encode("utf-8")


@st.composite
def nearly(draw: st.DrawFn) -> object:
    """Make a value's form in which some members are replaced by anything."""
    form = value_to_json(draw(ordinary))
    target = form if draw(st.booleans()) or not isinstance(form["data"], dict) else form["data"]
    for member in draw(st.lists(st.sampled_from(MEMBERS), max_size=3)):
        target[member] = draw(some.json_values)
    return form


@given(some.json_values | nearly())
def test_any_json_is_a_value_or_is_refused(form: object) -> None:
    for read in (value_from_json, values_from_json, site_from_json):
        try:
            result = read(form)
        except InvalidValue:
            continue
        for value in result if isinstance(result, list) else [result]:
            value.encode()
