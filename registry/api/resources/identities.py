"""HS_ADMIN identities of organisations, and the records that still name them."""

from typing import Final

from protocol.errors import InvalidHandle
from protocol.handle import Handle
from protocol.value import MAX_INDEX
from registry.accounts.identities import OwnedIdentity
from registry.accounts.roles import Right
from registry.api.call import Call, Reply, cursor_of, position_of
from registry.api.resources.organisations import ONE, TAG, lock
from registry.api.route import Route
from registry.api.schemas.base import Paging
from registry.api.schemas.organisations import (
    Identities,
    IdentityView,
    NewIdentity,
    ReferenceFilter,
    ReferencePage,
    ReferenceView,
)
from registry.outcomes import Identity
from registry.problem_types import NOT_FOUND, UNPROCESSABLE, ApiProblem, FieldFault
from registry.problem_types.accounts import IDENTITY_TAKEN

INDEX_OCTETS: Final = 4


async def assign_identity(call: Call) -> Reply:
    """Notes whose an HS_ADMIN identity is: it is barred together with its owner."""
    found = await lock(call)
    body = call.body_as(NewIdentity)
    owned = await call.services.accounts.identities.assign(
        call.tx, _identity(body.identity), organisation=found.id, subject=body.subject
    )
    return Reply(body=_identity_view(owned))


async def list_identities(call: Call) -> Reply:
    """The HS_ADMIN identities of the organisation and of its people and keys."""
    query = call.query_as(Paging)
    position = position_of(query.cursor) or bytes(INDEX_OCTETS)
    after = (position[INDEX_OCTETS:], int.from_bytes(position[:INDEX_OCTETS], "big"))
    accounts = call.services.accounts
    async with call.services.store.connection() as connection:
        found = await accounts.organisations.get(connection, call.signed_in, call.path["organisation"])
        owned = await accounts.identities.page(connection, found.id, after=after, limit=query.limit + 1)
    items = owned[: query.limit]
    next_ = None
    if len(owned) > query.limit:
        next_ = cursor_of(items[-1].index.to_bytes(INDEX_OCTETS, "big") + items[-1].handle)
    return Reply(body=Identities(items=[_identity_view(entry) for entry in items], next=next_))


async def withdraw_identity(call: Call) -> Reply:
    """Forgets whose an identity is; the records that name it stay as they are."""
    found = await lock(call)
    try:
        identity = _identity(call.path["identity"])
    except ApiProblem:
        raise ApiProblem(NOT_FOUND, "There is no such identity.") from None
    await call.services.accounts.identities.withdraw(call.tx, identity, organisation=found.id)
    return Reply()


async def list_references(call: Call) -> Reply:
    """For off-boarding: the records that still name the identities in HS_ADMIN, or in a group that it may name."""
    query = call.query_as(ReferenceFilter)
    accounts = call.services.accounts
    async with call.services.store.connection() as connection:
        found = await accounts.organisations.get(connection, call.signed_in, call.path["organisation"])
    part = await accounts.references(
        found.id, subject=query.subject, after=position_of(query.cursor), limit=query.limit
    )
    items = [
        ReferenceView(identifier=str(named.handle), index=named.value, identity=named.identity)
        for named in part.found
    ]
    next_ = None if part.next is None else cursor_of(part.next)
    return Reply(body=ReferencePage(items=items, next=next_, examined=part.examined))


def _identity(text: str) -> Identity:
    """Raises ApiProblem (422) for what is no `index:handle`."""
    index, colon, name = text.partition(":")
    if not colon or not index.isascii() or not index.isdigit() or not 0 < int(index[:11]) <= MAX_INDEX:
        faults = [FieldFault("/identity", "is no index:handle, such as 300:88.100.1/ADMIN")]
        raise ApiProblem(UNPROCESSABLE, "The identity cannot be read.", errors=faults)
    try:
        return Identity(index=int(index), handle=Handle.parse(name))
    except InvalidHandle as error:
        faults = [FieldFault("/identity", str(error))]
        raise ApiProblem(UNPROCESSABLE, "The identity cannot be read.", errors=faults) from None


def _identity_view(owned: OwnedIdentity) -> IdentityView:
    return IdentityView(identity=str(owned), subject=owned.subject, created=owned.created)


ROUTES: Final = (
    Route(
        method="POST",
        path=ONE + "/identities",
        name="identity.assign",
        summary="Note whose an identity is",
        tag=TAG,
        handler=assign_identity,
        right=Right.ORGANISATION_WRITE,
        body=NewIdentity,
        reply=IdentityView,
        status=201,
        problems=(IDENTITY_TAKEN,),
    ),
    Route(
        method="GET",
        path=ONE + "/identities",
        name="identity.list",
        summary="List identities",
        tag=TAG,
        handler=list_identities,
        right=Right.ORGANISATION_READ,
        query=Paging,
        reply=Identities,
    ),
    Route(
        method="DELETE",
        path=ONE + "/identities/{identity}",
        name="identity.withdraw",
        summary="Forget whose an identity is",
        tag=TAG,
        handler=withdraw_identity,
        right=Right.ORGANISATION_WRITE,
        status=204,
    ),
    Route(
        method="GET",
        path=ONE + "/references",
        name="identity.references",
        summary="What still names identities",
        tag=TAG,
        handler=list_references,
        right=Right.ORGANISATION_READ,
        query=ReferenceFilter,
        reply=ReferencePage,
    ),
)
