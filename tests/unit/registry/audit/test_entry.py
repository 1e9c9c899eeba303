"""The octets of entries, digests and the chain."""

import hashlib
import json
from dataclasses import fields, replace
from typing import Any

import pytest

from registry.audit.entry import (
    DETAIL_OCTETS_MAX,
    ENTRY_COLUMNS,
    FIRST_LINK,
    Entry,
    canonical,
    canonical_detail,
    digest_of,
    link,
)

ROW = (b"88.100.1/PUMP-7", b"88.100.1/pump-7", 1, 1, 1_795_000_000_000)
ENTRY = Entry(
    xact=901,
    id=17,
    at_ms=1_795_000_000_123,
    actor="key_abc",
    organisation="org_one",
    via="api",
    action="identifier.create",
    target="88.100.1/pump-7",
    items=1,
    digest=digest_of([ROW]),
    detail='{"count":1}',
    request_id="req-12345678",
)
OTHER: dict[str, Any] = {
    "xact": 902,
    "id": 18,
    "at_ms": 1,
    "actor": "key_abd",
    "organisation": None,
    "via": "rest",
    "action": "identifier.delete",
    "target": "88.100.1/pump-8",
    "items": 2,
    "digest": None,
    "detail": "{}",
    "request_id": "",
}


def test_the_columns_are_the_fields_of_an_entry() -> None:
    assert tuple(field.name for field in fields(Entry)) == ENTRY_COLUMNS


@pytest.mark.parametrize("field", ENTRY_COLUMNS)
def test_the_chain_covers_every_field(field: str) -> None:
    changed = replace(ENTRY, **{field: OTHER[field]})
    assert canonical(changed) != canonical(ENTRY)
    assert link(FIRST_LINK, changed) != link(FIRST_LINK, ENTRY)


def test_the_chain_covers_what_stood_before() -> None:
    assert link(bytes([1] * 32), ENTRY) != link(FIRST_LINK, ENTRY)


def test_what_moves_from_one_field_to_the_next_changes_the_octets() -> None:
    apart = replace(ENTRY, action="ab", target="c")
    assert canonical(replace(ENTRY, action="a", target="bc")) != canonical(apart)


def test_no_organisation_is_not_an_empty_one() -> None:
    assert canonical(replace(ENTRY, organisation=None)) != canonical(replace(ENTRY, organisation=""))


def test_the_octets_of_an_entry_never_change() -> None:
    """A released chain has to verify for ever: this hash is written down, not computed."""
    assert link(FIRST_LINK, ENTRY).hex() == (
        "9ed6e9a253842e0d34292e6e8d53e16ee15c7eb5d02c165958667b934a1ac988"
    )


def test_the_digest_is_that_of_lengths_numbers_and_names() -> None:
    octets = bytes.fromhex("0000000f 0000000f 0001 0000000000000001 000001a1ee565e00") + ROW[0] + ROW[1]
    assert digest_of([ROW]) == hashlib.sha256(octets).digest()


@pytest.mark.parametrize("column", range(5))
def test_the_digest_covers_every_column(column: int) -> None:
    changed: list[Any] = list(ROW)
    changed[column] = ROW[column] + 1 if isinstance(ROW[column], int) else b"88.100.1/PUMP-8"  # type: ignore[operator]
    assert digest_of([(changed[0], changed[1], changed[2], changed[3], changed[4])]) != digest_of([ROW])


def test_the_digest_covers_the_order() -> None:
    other = (b"88.100.1/PUMP-8", b"88.100.1/pump-8", 1, 1, 1)
    assert digest_of([ROW, other]) != digest_of([other, ROW])


def test_detail_is_the_same_text_whatever_the_order_of_its_names() -> None:
    assert (
        canonical_detail({"b": 1, "a": "泵"}) == canonical_detail({"a": "泵", "b": 1}) == '{"a":"泵","b":1}'
    )


@pytest.mark.parametrize("detail", [None, {}])
def test_no_detail_is_the_empty_object(detail: dict[str, Any] | None) -> None:
    assert canonical_detail(detail) == "{}"


@pytest.mark.parametrize("text", ["\0", "\ud800", "line\nend", '"', "\\"])
def test_detail_can_be_stored_whatever_it_holds(text: str) -> None:
    stored = canonical_detail({"text": text})
    assert "\0" not in stored
    assert json.loads(stored.encode("utf-8")) == {"text": text}


@pytest.mark.parametrize("detail", [{"a": float("nan")}, {"a": "x" * DETAIL_OCTETS_MAX}])
def test_detail_that_no_json_can_say_or_that_is_too_long_is_refused(detail: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"JSON|octets"):
        canonical_detail(detail)
