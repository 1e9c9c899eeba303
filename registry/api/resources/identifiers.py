"""Identifiers: register, read, change, list; one at a time or in batches."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from protocol.handle import Prefix
from protocol.jsonform import printable
from registry.accounts.roles import Right
from registry.api.call import Call, Reply, cursor_of, position_of
from registry.api.route import Route
from registry.api.schemas.base import Paging
from registry.api.schemas.identifiers import (
    Act,
    BatchResult,
    Identifier,
    IdentifierFilter,
    IdentifierList,
    IdentifierReading,
    IdentifierVersion,
    IdentifierVersions,
    ItemProblem,
    ItemResult,
    ListedIdentifier,
    RestrictedValues,
    ValueName,
    VersionState,
    Written,
)
from registry.identifiers import reading
from registry.identifiers.access import handle_of
from registry.identifiers.drafting import prefix_octets
from registry.identifiers.existing import path_of
from registry.identifiers.forms import (
    BatchForm,
    BatchItem,
    CreateItem,
    NewIdentifier,
    NewValues,
    StateChange,
)
from registry.identifiers.service import Done
from registry.identifiers.values import ValueForm, value_forms
from registry.outcomes import Created, Deleted, Replaced
from registry.problem_types import INVALID_REQUEST, NOT_FOUND, PRECONDITION_FAILED, ApiProblem, FieldFault
from registry.problem_types.identifiers import (
    BATCH_REFUSED,
    IDENTIFIER_EXISTS,
    NAME_REFUSED,
    PATTERN_REFUSED,
    PREFIX_MOVING,
    PREFIX_NOT_ACTIVE,
    RANGE_MISMATCH,
    RANGE_RESERVED,
    SERIES_EXHAUSTED,
    STATE_INCOMPLETE,
    STATE_REFUSED,
    VALUE_PROTECTED,
    VALUE_REFUSED,
)
from registry.transaction import Transaction

TAG: Final = "Identifiers"
BATCH_OCTETS_MAX: Final = 33_554_432
"""Of 10,000 items with three kilobytes each, which is more than most have."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ACTS: Final = {Created: Act.CREATED, Replaced: Act.UPDATED, Deleted: Act.DELETED}
_REGISTERING: Final = (
    NOT_FOUND,
    IDENTIFIER_EXISTS,
    NAME_REFUSED,
    VALUE_REFUSED,
    PATTERN_REFUSED,
    SERIES_EXHAUSTED,
    RANGE_RESERVED,
    RANGE_MISMATCH,
    PREFIX_NOT_ACTIVE,
    PREFIX_MOVING,
)
_CHANGING: Final = (
    NAME_REFUSED,
    VALUE_REFUSED,
    VALUE_PROTECTED,
    STATE_REFUSED,
    PRECONDITION_FAILED,
    PREFIX_NOT_ACTIVE,
    PREFIX_MOVING,
)
_READING: Final = (NOT_FOUND, NAME_REFUSED, PREFIX_NOT_ACTIVE)


async def create(call: Call) -> Reply:
    """Register an identifier with a suffix that is given, or minted."""
    call.count_identifiers(1)
    identifiers, form = call.services.identifiers, call.body_as(NewIdentifier)
    if call.dry_run:
        return _created(await identifiers.create(await call.begin(), form, call.signed_in))

    async def settle(tx: Transaction, made: Created | ApiProblem) -> Reply:
        assert isinstance(made, Created), "refusals are raised"
        return await call.settle(tx, _created(made))

    return await identifiers.gathering.do((form, call.signed_in), origin=call.origin, settle=settle)


async def batch(call: Call) -> Reply:
    """Register, change and delete up to 10,000 identifiers at once."""
    form = call.body_as(BatchForm)
    creations = sum(isinstance(item, CreateItem) for item in form.items)
    call.count_identifiers(creations)
    outcomes = await call.services.identifiers.batch(call.tx, form, call.signed_in)
    results = [_result(item, outcome) for item, outcome in zip(form.items, outcomes, strict=True)]
    refused = sum(isinstance(outcome, ApiProblem) for outcome in outcomes)
    call.identifiers_created -= creations - sum(isinstance(outcome, Created) for outcome in outcomes)
    return Reply(body=BatchResult(done=len(results) - refused, refused=refused, items=results))


async def read(call: Call) -> Reply:
    """An identifier as it is, or as it was."""
    reader, query = call.services.identifiers.reader, call.query_as(IdentifierReading)
    handle = handle_of(call.path["identifier"])
    if query.version is not None and query.at is not None:
        fault = FieldFault("?at", "goes without `version`")
        raise ApiProblem(INVALID_REQUEST, "Either `version` or `at` is given.", errors=[fault])
    if query.version is not None:
        found = await reader.read_version(handle, call.signed_in, query.version)
    elif query.at is not None:
        found = await reader.read_as_of(handle, call.signed_in, query.at)
    else:
        found = await reader.read(handle, call.signed_in)
    return Reply(body=_identifier(found), etag=str(found.version))


async def read_restricted(call: Call) -> Reply:
    """The values of an identifier that are not public."""
    handle = handle_of(call.path["identifier"])
    values = await call.services.identifiers.reader.restricted(handle, call.signed_in)
    return Reply(body=RestrictedValues(values=value_forms(values)))


async def list_identifiers(call: Call) -> Reply:
    """Identifiers below a prefix, in order of their names."""
    query = call.query_as(IdentifierFilter)
    prefix = Prefix(prefix_octets(query.prefix))
    start = position_of(query.cursor)
    if start is None and query.start:
        start = call.services.operations.context.key_of(handle_of(f"{prefix}/{query.start}"))
    items, following = await call.services.identifiers.reader.list(
        prefix, call.signed_in, state=query.state, start=start, limit=query.limit
    )
    listed = [
        ListedIdentifier(
            identifier=printable(item.handle.octets),
            state=item.state,
            version=item.version,
            changed=_instant(item.changed_ms),
        )
        for item in items
    ]
    return Reply(body=IdentifierList(items=listed, next=None if following is None else cursor_of(following)))


async def list_versions(call: Call) -> Reply:
    """What an identifier was, the latest first."""
    query = call.query_as(Paging)
    octets = position_of(query.cursor)
    below = None if octets is None else int.from_bytes(octets[:8], "big") >> 1
    versions, following = await call.services.identifiers.reader.versions(
        handle_of(call.path["identifier"]), call.signed_in, below=below, limit=query.limit
    )
    items = [
        IdentifierVersion(
            version=version.version,
            state=VersionState.DELETED if version.state is None else VersionState(version.state.value),
            since=_instant(version.since_ms),
            until=None if version.until_ms is None else _instant(version.until_ms),
        )
        for version in versions
    ]
    cursor = None if following is None else cursor_of((following << 1).to_bytes(8, "big"))
    return Reply(body=IdentifierVersions(items=items, next=cursor))


async def replace(call: Call) -> Reply:
    """Give an identifier new values."""
    done = await call.services.identifiers.replace(
        call.tx,
        call.path["identifier"],
        call.body_as(NewValues).values,
        call.signed_in,
        match=call.require_match,
    )
    return _changed(done)


async def put_value(call: Call) -> Reply:
    """Add a value to an identifier, or replace the one of the same index."""
    value = call.body_as(ValueForm)
    if str(value.index) != call.path["index"]:
        fault = FieldFault("/index", "is not the one in the path")
        raise ApiProblem(
            INVALID_REQUEST, "The index of the value is not the one in the path.", errors=[fault]
        )
    done = await call.services.identifiers.put_value(
        call.tx, call.path["identifier"], value, call.signed_in, match=call.require_match
    )
    return _changed(done)


async def remove_value(call: Call) -> Reply:
    """Remove a value of an identifier."""
    done = await call.services.identifiers.remove_value(
        call.tx,
        call.path["identifier"],
        int(call.path["index"]),
        call.signed_in,
        match=call.require_match,
    )
    return _changed(done)


async def set_state(call: Call) -> Reply:
    """Activate, suspend, resume or retire an identifier."""
    done = await call.services.identifiers.set_state(
        call.tx,
        call.path["identifier"],
        call.body_as(StateChange),
        call.signed_in,
        match=call.check_match,
    )
    return _changed(done)


async def delete(call: Call) -> Reply:
    """Delete an identifier; its name may be registered again."""
    await call.services.identifiers.delete(
        call.tx, call.path["identifier"], call.signed_in, match=call.check_match
    )
    return Reply()


def _changed(done: Done) -> Reply:
    return Reply(body=_written(done), etag=str(done.version))


def _created(made: Created) -> Reply:
    return Reply(body=_written(made), etag=str(made.version), location=path_of(made.handle))


def _written(done: Done) -> Written:
    return Written(
        identifier=printable(done.handle.octets),
        result=_ACTS.get(type(done), Act.UNCHANGED),
        version=done.version,
    )


def _result(item: BatchItem, outcome: Done | ApiProblem) -> ItemResult:
    if not isinstance(outcome, ApiProblem):
        act = _ACTS.get(type(outcome), Act.UNCHANGED)
        return ItemResult(result=act, identifier=printable(outcome.handle.octets), version=outcome.version)
    name = item.identifier
    problem = ItemProblem(
        type=outcome.type.uri,
        title=outcome.type.title,
        status=outcome.type.status,
        detail=outcome.detail,
        remedy=outcome.remedy,
        retry=outcome.type.retry,
        pointer=outcome.errors[0].pointer if outcome.errors else "",
    )
    return ItemResult(result=Act.REFUSED, identifier=name if isinstance(name, str) else None, problem=problem)


def _identifier(found: reading.Identifier) -> Identifier:
    return Identifier(
        identifier=printable(found.handle.octets),
        prefix=printable(found.handle.prefix.octets),
        suffix=printable(found.handle.suffix),
        state=found.state,
        version=found.version,
        changed=_instant(found.changed_ms),
        registered=None if found.registered_ms is None else _instant(found.registered_ms),
        values=value_forms(found.values or ()),
        restricted=_names(found.restricted),
        range=found.range_id,
        reason=found.reason,
        successor=None if found.successor is None else printable(found.successor.octets),
        since=None if found.since_ms is None else _instant(found.since_ms),
    )


def _names(restricted: Sequence[tuple[int, str]]) -> list[ValueName]:
    return [ValueName(index=index, type=kind) for index, kind in restricted]


def _instant(unix_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=unix_ms)


ROUTES: Final = (
    Route(
        method="POST",
        path="/api/v1/identifiers",
        name="identifier.create",
        summary="Register an identifier",
        tag=TAG,
        handler=create,
        eager=False,
        shared=True,
        right=Right.IDENTIFIER_WRITE,
        body=NewIdentifier,
        reply=Written,
        status=201,
        etag=True,
        problems=_REGISTERING,
    ),
    Route(
        method="POST",
        path="/api/v1/identifiers/batch",
        name="identifier.batch",
        summary="Register, change and delete up to 10,000 identifiers",
        tag=TAG,
        handler=batch,
        right=Right.IDENTIFIER_WRITE,
        body=BatchForm,
        reply=BatchResult,
        body_octets_max=BATCH_OCTETS_MAX,
        problems=(BATCH_REFUSED, PREFIX_MOVING),
    ),
    Route(
        method="GET",
        path="/api/v1/identifiers",
        name="identifier.list",
        summary="List the identifiers below a prefix",
        tag=TAG,
        handler=list_identifiers,
        right=Right.IDENTIFIER_READ,
        query=IdentifierFilter,
        reply=IdentifierList,
        problems=_READING,
    ),
    Route(
        method="GET",
        path="/api/v1/identifiers/{identifier}",
        name="identifier.read",
        summary="Read an identifier, as it is or was",
        tag=TAG,
        handler=read,
        right=Right.IDENTIFIER_READ,
        query=IdentifierReading,
        reply=Identifier,
        etag=True,
        problems=_READING,
    ),
    Route(
        method="GET",
        path="/api/v1/identifiers/{identifier}/restricted",
        name="identifier.read_restricted",
        summary="Read the values that are not public",
        tag=TAG,
        handler=read_restricted,
        right=Right.IDENTIFIER_WRITE,
        reply=RestrictedValues,
        audited_read=True,
        secret_reply=True,
        problems=_READING,
    ),
    Route(
        method="GET",
        path="/api/v1/identifiers/{identifier}/versions",
        name="identifier.versions",
        summary="List what an identifier was",
        tag=TAG,
        handler=list_versions,
        right=Right.IDENTIFIER_READ,
        query=Paging,
        reply=IdentifierVersions,
        problems=_READING,
    ),
    Route(
        method="PUT",
        path="/api/v1/identifiers/{identifier}",
        name="identifier.replace",
        summary="Give an identifier new values",
        tag=TAG,
        handler=replace,
        right=Right.IDENTIFIER_WRITE,
        body=NewValues,
        reply=Written,
        etag=True,
        if_match=True,
        problems=_CHANGING,
    ),
    Route(
        method="PUT",
        path="/api/v1/identifiers/{identifier}/values/{index}",
        name="identifier.put_value",
        summary="Add or replace one value",
        tag=TAG,
        handler=put_value,
        right=Right.IDENTIFIER_WRITE,
        body=ValueForm,
        reply=Written,
        etag=True,
        if_match=True,
        problems=_CHANGING,
    ),
    Route(
        method="DELETE",
        path="/api/v1/identifiers/{identifier}/values/{index}",
        name="identifier.remove_value",
        summary="Remove one value",
        tag=TAG,
        handler=remove_value,
        right=Right.IDENTIFIER_WRITE,
        reply=Written,
        etag=True,
        if_match=True,
        problems=_CHANGING,
    ),
    Route(
        method="POST",
        path="/api/v1/identifiers/{identifier}/state",
        name="identifier.set_state",
        summary="Activate, suspend, resume or retire an identifier",
        tag=TAG,
        handler=set_state,
        right=Right.IDENTIFIER_WRITE,
        body=StateChange,
        reply=Written,
        etag=True,
        heeds_match=True,
        problems=(*_CHANGING, STATE_INCOMPLETE),
    ),
    Route(
        method="DELETE",
        path="/api/v1/identifiers/{identifier}",
        name="identifier.delete",
        summary="Delete an identifier",
        tag=TAG,
        handler=delete,
        right=Right.IDENTIFIER_DELETE,
        status=204,
        heeds_match=True,
        problems=_CHANGING,
    ),
)
