"""The audit as its readers see it: auditors of the node all of it, those of an organisation what concerns it."""

import struct
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from registry.accounts.roles import Right
from registry.api.call import Call, Reply, cursor_of, position_of
from registry.api.route import Route
from registry.api.schemas.audit import (
    AuditEntries,
    AuditEntry,
    AuditFilter,
    AuditHead,
    ChangeFilter,
    EntryChange,
    EntryChanges,
)
from registry.audit.log import Change, Choice, NumberedEntry, Position
from registry.problem_types import INVALID_REQUEST, NOT_FOUND, ApiProblem, FieldFault
from registry.writing import Action

TAG: Final = "Audit"
NUMBER_DIGITS_MAX: Final = 18
"""Digits of a number that the database can hold."""
_ACTIONS: Final = {int(action): action.name.lower() for action in Action}
_PLACE: Final = struct.Struct(">i")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


async def list_entries(call: Call) -> Reply:
    """Who did what, the latest first; callers who belong to an organisation see what concerns it."""
    query = call.query_as(AuditFilter)
    organisation = query.organisation or call.signed_in.organisation
    if organisation is not None and not call.signed_in.sees(organisation):
        raise ApiProblem(NOT_FOUND, "There is no such organisation.")
    choice = Choice(
        organisation=organisation,
        actor=query.actor,
        target=query.target,
        action=query.action,
        **({} if query.since is None else {"since_ms": _milliseconds(query.since)}),
        **({} if query.until is None else {"until_ms": _milliseconds(query.until)}),
    )
    page = await call.services.audit.list(choice, after=_position(query.cursor), limit=query.limit)
    following = None if page.next is None else cursor_of(page.next.octets())
    return Reply(body=AuditEntries(items=[_entry(each) for each in page.entries], next=following))


async def read_entry(call: Call) -> Reply:
    """One act, by its number."""
    return Reply(body=_entry(await _found(call)))


async def list_changes(call: Call) -> Reply:
    """The identifiers that an act changed, and how."""
    query = call.query_as(ChangeFilter)
    found = await _found(call)
    after = _place(query.cursor)
    changes = await call.services.audit.changes(found.entry, after=after, limit=query.limit + 1)
    page = changes[: query.limit]
    following = cursor_of(_PLACE.pack(page[-1].position)) if len(changes) > len(page) else None
    return Reply(body=EntryChanges(items=[_change(each) for each in page], next=following))


async def read_head(call: Call) -> Reply:
    """How far the entries are numbered and chained; noted elsewhere, it is proof against later changes."""
    head, waiting = await call.services.audit.head()
    return Reply(
        body=AuditHead(
            number=head.number,
            chain=head.chain.hex(),
            changes=head.log_number,
            numbered=_instant(head.numbered_ms) if head.number else None,
            waiting=waiting,
        )
    )


async def _found(call: Call) -> NumberedEntry:
    number = call.path["entry"]
    if number.isascii() and number.isdigit() and len(number) <= NUMBER_DIGITS_MAX:
        found = await call.services.audit.read(int(number))
        if found is not None and call.signed_in.sees(found.entry.organisation):
            return found
    raise ApiProblem(NOT_FOUND, "There is no such entry.")


def _entry(numbered: NumberedEntry) -> AuditEntry:
    entry = numbered.entry
    return AuditEntry(
        number=numbered.number,
        at=_instant(entry.at_ms),
        actor=entry.actor,
        organisation=entry.organisation,
        via=entry.via,
        action=entry.action,
        target=entry.target,
        changes=entry.items,
        detail=_detail(entry.detail),
        request_id=entry.request_id,
        transaction=entry.xact,
        id=entry.id,
        digest=None if entry.digest is None else entry.digest.hex(),
        chain=numbered.chain.hex(),
    )


def _change(change: Change) -> EntryChange:
    return EntryChange(
        identifier=change.name.decode("utf-8", "replace"),
        action=_ACTIONS.get(change.action, str(change.action)),
        version=change.version,
        at=_instant(change.changed_ms),
    )


def _detail(text: str) -> dict[str, Any]:
    """The detail of an entry; in the form of text when somebody has made it unreadable."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except ValueError:
        return {"unreadable": text}


def _position(cursor: str) -> Position | None:
    octets = position_of(cursor)
    try:
        return None if octets is None else Position.of(octets)
    except ValueError:
        raise _other_list() from None


def _place(cursor: str) -> int:
    """The position behind which a page of changes begins."""
    octets = position_of(cursor)
    if octets is None:
        return -1
    if len(octets) != _PLACE.size:
        raise _other_list()
    (place,) = _PLACE.unpack(octets)
    assert isinstance(place, int)
    return place


def _other_list() -> ApiProblem:
    fault = FieldFault("?cursor", "is of another list")
    return ApiProblem(INVALID_REQUEST, "The cursor is none.", errors=[fault])


def _instant(ms: int) -> datetime:
    return _EPOCH + ms * _MILLISECOND


def _milliseconds(instant: datetime) -> int:
    """Rounded up: an entry of an earlier fraction of the millisecond is before it."""
    return -((_EPOCH - instant) // _MILLISECOND)


ROUTES: Final = (
    Route(
        method="GET",
        path="/api/v1/audit",
        name="audit.list",
        summary="Who did what",
        tag=TAG,
        handler=list_entries,
        right=Right.AUDIT_READ,
        query=AuditFilter,
        reply=AuditEntries,
        problems=(NOT_FOUND,),
        audited_read=True,
    ),
    Route(
        method="GET",
        path="/api/v1/audit/head",
        name="audit.head",
        summary="How far the entries are numbered and chained",
        tag=TAG,
        handler=read_head,
        right=Right.AUDIT_READ,
        reply=AuditHead,
    ),
    Route(
        method="GET",
        path="/api/v1/audit/{entry}",
        name="audit.read",
        summary="One act",
        tag=TAG,
        handler=read_entry,
        right=Right.AUDIT_READ,
        reply=AuditEntry,
        problems=(NOT_FOUND,),
        audited_read=True,
    ),
    Route(
        method="GET",
        path="/api/v1/audit/{entry}/changes",
        name="audit.changes",
        summary="What one act changed",
        tag=TAG,
        handler=list_changes,
        right=Right.AUDIT_READ,
        query=ChangeFilter,
        reply=EntryChanges,
        problems=(NOT_FOUND,),
        audited_read=True,
    ),
)
