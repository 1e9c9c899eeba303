"""Allocated prefixes: what they are, and what operators and holders do with them."""

from typing import Final

from protocol.errors import InvalidHandle
from protocol.handle import Prefix
from registry.accounts.roles import Right
from registry.allocation.model import AllocatedPrefix
from registry.allocation.terms import NO_PREFIX
from registry.api.call import Call, Reply, cursor_of, position_of
from registry.api.resources.applications import number_cursor, number_position, prefix_from, site_from
from registry.api.resources.prefix_views import etag_of, history_view, item_view, prefix_view
from registry.api.route import Handler, Route
from registry.api.schemas.base import Body, Paging
from registry.api.schemas.prefixes import (
    AdministratorKey,
    History,
    Holder,
    HolderView,
    NewRoute,
    Prefixes,
    PrefixFilter,
    PrefixItem,
    PrefixView,
    PublicReason,
    Transfer,
)
from registry.problem_types import CONFLICT, FORBIDDEN, NOT_FOUND, ApiProblem, ProblemType
from registry.problem_types.accounts import ORGANISATION_NOT_APPROVED
from registry.problem_types.allocation import (
    NODE_NOT_PROVED,
    PREFIX_BUSY,
    PREFIX_HOSTING,
    PREFIX_NOT_EMPTY,
    PREFIX_QUARANTINED,
    PREFIX_STATE,
    PREFIX_TAKEN,
    ROUTE_REFUSED,
)

TAG: Final = "Prefixes"
PATH: Final = "/api/v1/prefixes"
ONE: Final = PATH + "/{prefix}"
HISTORY_SHOWN: Final = 20
"""Acts that are shown with a prefix itself; the others are listed."""


async def read(call: Call) -> Reply:
    """One prefix: state, who serves it, what was done to it, what its node's last probe found."""
    allocated = await visible(call)
    row, job = await call.services.allocation.work(allocated.prefix)
    acts = await call.services.allocation.history(allocated.prefix, limit=HISTORY_SHOWN)
    return Reply(body=prefix_view(allocated, row, job, acts.items), etag=etag_of(allocated, row, job))


async def list_all(call: Call) -> Reply:
    """The prefixes that the caller sees."""
    query = call.query_as(PrefixFilter)
    caller = call.signed_in
    if query.organisation is not None and not caller.sees(query.organisation):
        return Reply(body=Prefixes(items=[], next=None))
    found = await call.services.allocation.prefixes(
        organisation=query.organisation or caller.organisation,
        among=caller.prefixes,
        state=query.state,
        parent=None if query.parent is None else prefix_from(query.parent, "?parent"),
        after=position_of(query.cursor),
        limit=query.limit,
    )
    following = cursor_of(found.items[-1].prefix.key) if found.more else None
    return Reply(body=Prefixes(items=[item_view(one) for one in found.items], next=following))


async def history(call: Call) -> Reply:
    """What was done to a prefix, when, why and by whom."""
    query = call.query_as(Paging)
    allocated = await visible(call)
    before = number_position(query.cursor)
    found = await call.services.allocation.history(allocated.prefix, before=before, limit=query.limit)
    following = number_cursor(found.items[-1].version) if found.more else None
    return Reply(body=History(items=[history_view(entry) for entry in found.items], next=following))


async def suspend(call: Call) -> Reply:
    """Answers nothing below the prefix any more but that it is suspended, since when and why, within a second."""
    allocated = await given_version(call)
    reason = call.body_as(PublicReason).reason
    return _done(await call.services.allocation.suspend(call.tx, allocated.prefix, reason=reason))


async def resume(call: Call) -> Reply:
    """Answers again as before the suspension."""
    allocated = await given_version(call)
    reason = call.body_as(PublicReason).reason
    return _done(await call.services.allocation.resume(call.tx, allocated.prefix, reason=reason))


async def revoke(call: Call) -> Reply:
    """Ends the allocation; what is stored below is kept unanswered, and the prefix given to nobody for a while."""
    allocated = await given_version(call)
    reason = call.body_as(PublicReason).reason
    return _done(await call.services.allocation.revoke(call.tx, allocated.prefix, reason=reason))


async def purge(call: Call) -> Reply:
    """Begins to delete what is left below a revoked prefix, so that somebody else may be given it."""
    allocated = await given_version(call)
    reason = call.body_as(PublicReason).reason
    return _done(await call.services.allocation.purge(call.tx, allocated.prefix, reason=reason))


async def transfer(call: Call) -> Reply:
    """Gives the prefix to another organisation; its records are handed over before they can be written again."""
    body = call.body_as(Transfer)
    allocated = await given_version(call)
    return _done(
        await call.services.allocation.transfer(
            call.tx, allocated.prefix, body.organisation, reason=body.reason
        )
    )


async def change_route(call: Call) -> Reply:
    """Lets the holder's node be found at other addresses; another key takes the node's own signature."""
    body = call.body_as(NewRoute)
    allocated = await visible(call)
    row, job = await call.services.allocation.work(allocated.prefix, call.tx)
    call.require_match(etag_of(allocated, row, job))
    changed = await call.services.allocation.change_route(
        call.tx, allocated.prefix, site_from(body.site), reason=body.reason
    )
    return _done(changed)


async def make_key(call: Call) -> Reply:
    """Makes a key for the administrator of a hosted prefix, in the place of an earlier one, and shows it once."""
    allocated = await given_version(call)
    caller = call.signed_in
    if not (caller.may(Right.IDENTIFIER_WRITE) and caller.may(Right.IDENTIFIER_DELETE)):
        raise ApiProblem(
            FORBIDDEN, "The key allows what the caller does not have: to write and delete identifiers."
        )
    identity, key = await call.services.allocation.make_administrator_key(call.tx, allocated.prefix)
    return Reply(body=AdministratorKey(identity=str(identity), key=key))


async def assign(call: Call) -> Reply:
    """Lets an organisation hold a prefix that this node serves in its own name."""
    organisation = call.body_as(Holder).organisation
    if call.signed_in.organisation is not None:
        raise ApiProblem(NOT_FOUND, NO_PREFIX)
    prefix = _prefix(call)
    await call.services.allocation.assign(call.tx, prefix, organisation)
    return Reply(body=HolderView(prefix=str(prefix), organisation=organisation))


async def given_version(call: Call) -> AllocatedPrefix:
    """As visible, for a write. Raises ApiProblem (412) too, if If-Match names another version than the present one."""
    allocated = await visible(call)
    if call.if_match is not None:
        row, job = await call.services.allocation.work(allocated.prefix, call.tx)
        call.check_match(etag_of(allocated, row, job))
    return allocated


async def visible(call: Call) -> AllocatedPrefix:
    """The prefix of the path. Raises ApiProblem (404) for an unknown one and for one of others, alike."""
    found = await call.services.allocation.prefix(_prefix(call), call.opened)
    caller = call.signed_in
    limited = caller.prefixes is not None and found.prefix.key not in caller.prefixes
    if limited or not caller.sees(found.organisation):
        raise ApiProblem(NOT_FOUND, NO_PREFIX)
    return found


def _prefix(call: Call) -> Prefix:
    try:
        return Prefix.parse(call.path["prefix"])
    except InvalidHandle:
        raise ApiProblem(NOT_FOUND, NO_PREFIX) from None


def _done(allocated: AllocatedPrefix) -> Reply:
    return Reply(body=item_view(allocated))


def _act(
    word: str,
    summary: str,
    handler: Handler,
    name: str,
    *problems: ProblemType,
    body: type[Body] = PublicReason,
) -> Route:
    """An act of the operator."""
    return Route(
        method="POST",
        path=f"{ONE}/{word}",
        name=name,
        summary=summary,
        tag=TAG,
        handler=handler,
        right=Right.PREFIX_OPERATE,
        heeds_match=True,
        body=body,
        reply=PrefixItem,
        problems=(PREFIX_STATE, *problems),
    )


ROUTES: Final = (
    Route(
        method="GET",
        path=PATH,
        name="prefix.list",
        summary="List prefixes",
        tag=TAG,
        handler=list_all,
        right=Right.PREFIX_READ,
        query=PrefixFilter,
        reply=Prefixes,
    ),
    Route(
        method="GET",
        path=ONE,
        name="prefix.read",
        summary="Read a prefix",
        tag=TAG,
        handler=read,
        right=Right.PREFIX_READ,
        reply=PrefixView,
        etag=True,
    ),
    Route(
        method="GET",
        path=ONE + "/history",
        name="prefix.history",
        summary="List what was done to a prefix",
        tag=TAG,
        handler=history,
        right=Right.PREFIX_READ,
        query=Paging,
        reply=History,
    ),
    _act("suspension", "Suspend a prefix", suspend, "prefix.suspend", PREFIX_TAKEN),
    _act("resumption", "Resume a suspended prefix", resume, "prefix.resume", PREFIX_TAKEN),
    _act(
        "revocation", "Revoke a prefix", revoke, "prefix.revoke", PREFIX_NOT_EMPTY, PREFIX_BUSY, PREFIX_TAKEN
    ),
    _act(
        "purge",
        "Delete what is left below a revoked prefix",
        purge,
        "prefix.purge",
        PREFIX_QUARANTINED,
        PREFIX_BUSY,
    ),
    _act(
        "transfer",
        "Give a prefix to another organisation",
        transfer,
        "prefix.transfer",
        ORGANISATION_NOT_APPROVED,
        PREFIX_BUSY,
        PREFIX_TAKEN,
        CONFLICT,
        body=Transfer,
    ),
    Route(
        method="PUT",
        path=ONE + "/route",
        name="prefix.change_route",
        summary="Change the addresses of a delegated prefix's node",
        tag=TAG,
        handler=change_route,
        right=Right.PREFIX_APPLY,
        body=NewRoute,
        reply=PrefixItem,
        if_match=True,
        problems=(PREFIX_STATE, PREFIX_HOSTING, PREFIX_BUSY, PREFIX_TAKEN, NODE_NOT_PROVED, ROUTE_REFUSED),
    ),
    Route(
        method="POST",
        path=ONE + "/administrator-key",
        name="prefix.make_key",
        summary="Make a key for the administrator of a hosted prefix",
        tag=TAG,
        handler=make_key,
        right=Right.PREFIX_APPLY,
        heeds_match=True,
        reply=AdministratorKey,
        status=201,
        secret_reply=True,
        problems=(PREFIX_STATE, PREFIX_HOSTING, PREFIX_TAKEN),
    ),
    Route(
        method="PUT",
        path=ONE + "/holder",
        name="prefix.assign",
        summary="Let an organisation hold a prefix of the node's own",
        tag=TAG,
        handler=assign,
        right=Right.PREFIX_OPERATE,
        body=Holder,
        reply=HolderView,
        problems=(PREFIX_TAKEN, ORGANISATION_NOT_APPROVED),
    ),
)
