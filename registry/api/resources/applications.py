"""Applications for prefixes: made by organisations, decided by reviewers, allocated by operators."""

from typing import Final

from protocol.errors import InvalidHandle
from protocol.handle import Prefix
from protocol.site import Site
from registry.accounts.roles import Right
from registry.allocation.lifecycle import ApplicationAct, possible_acts
from registry.allocation.model import Application, Wish
from registry.allocation.terms import NO_APPLICATION, NO_ORGANISATION
from registry.api.call import Call, Reply, cursor_of, position_of
from registry.api.resources.prefix_views import item_view
from registry.api.route import Route
from registry.api.schemas.applications import (
    ApplicationFilter,
    Applications,
    ApplicationView,
    NewApplication,
    Withdrawal,
)
from registry.api.schemas.organisations import Decision, ReviewDecision
from registry.api.schemas.prefixes import PrefixItem
from registry.api.schemas.sites import SiteForm, site_form
from registry.problem_types import FORBIDDEN, INVALID_REQUEST, NOT_FOUND, ApiProblem, FieldFault
from registry.problem_types.accounts import ORGANISATION_NOT_APPROVED
from registry.problem_types.allocation import (
    APPLICATION_STATE,
    APPLICATIONS_OPEN,
    NODE_NOT_PROVED,
    OWN_APPLICATION,
    PREFIX_BUSY,
    PREFIX_NAME,
    PREFIX_NOT_EMPTY,
    PREFIX_PARENT,
    PREFIX_QUARANTINED,
    PREFIX_TAKEN,
    ROUTE_REFUSED,
)
from registry.text import check_text

PREFIX_MAX: Final = 2_048
"""Characters; the shape of a body may allow fewer."""
TAG: Final = "Applications"
PATH: Final = "/api/v1/applications"
ONE: Final = PATH + "/{application}"
NUMBER_OCTETS: Final = 8


async def create(call: Call) -> Reply:
    """Applies for a prefix: a certain one, or the next free number below a prefix of this node."""
    body = call.body_as(NewApplication)
    caller = call.signed_in
    if caller.prefixes is not None:
        raise ApiProblem(FORBIDDEN, "This key is limited to certain prefixes, and applies for no others.")
    organisation = body.organisation or caller.organisation
    if organisation is None:
        fault = FieldFault("/organisation", "is needed, since the caller belongs to none")
        raise ApiProblem(INVALID_REQUEST, "It is not said who shall hold the prefix.", errors=[fault])
    if not caller.sees(organisation):
        raise ApiProblem(NOT_FOUND, NO_ORGANISATION)
    wish = Wish(
        organisation=organisation,
        parent=None if body.parent is None else prefix_from(body.parent, "/parent"),
        label=body.label,
        hosting=body.hosting,
        site=None if body.site is None else site_from(body.site),
        purpose=body.purpose,
    )
    made = await call.services.allocation.apply(call.tx, wish)
    return application_reply(made, location=f"{PATH}/{made.id}")


async def read(call: Call) -> Reply:
    """One application."""
    return application_reply(await visible(call))


async def list_all(call: Call) -> Reply:
    """The applications that the caller sees, newest first."""
    query = call.query_as(ApplicationFilter)
    caller = call.signed_in
    if query.organisation is not None and not caller.sees(query.organisation):
        return Reply(body=Applications(items=[], next=None))
    found = await call.services.allocation.applications(
        organisation=query.organisation or caller.organisation,
        state=query.state,
        before=number_position(query.cursor),
        limit=query.limit,
    )
    following = number_cursor(found.items[-1].number) if found.more else None
    return Reply(body=Applications(items=[_view(one) for one in found.items], next=following))


async def review(call: Call) -> Reply:
    """Approves or rejects what the reviewer has read; of two reviewers the first one decides."""
    body = call.body_as(ReviewDecision)
    found = await visible(call)
    allocation = call.services.allocation
    approve = body.decision is Decision.APPROVE
    act = ApplicationAct.APPROVE if approve else ApplicationAct.REJECT
    allocation.check_application(found, act)  # who comes second is told so, whatever he has read
    call.require_match(str(found.version))
    return application_reply(
        await allocation.review(call.tx, found.id, approve=approve, reason=body.reason or "")
    )


async def withdraw(call: Call) -> Reply:
    """Takes an application back that is not allocated yet."""
    found = await visible(call)
    call.check_match(str(found.version))
    reason = call.body_as(Withdrawal).reason or ""
    return application_reply(await call.services.allocation.withdraw(call.tx, found.id, reason=reason))


async def allocate(call: Call) -> Reply:
    """Allocates what was approved: the prefix resolves from now on, and its holder may register below it."""
    found = await visible(call)
    call.check_match(str(found.version))
    allocated = await call.services.allocation.allocate(call.tx, found.id)
    location = f"/api/v1/prefixes/{allocated.prefix}"
    return Reply(body=item_view(allocated), location=location)


async def visible(call: Call) -> Application:
    """The application of the path. Raises ApiProblem (404) for an unknown one and for one of others, alike."""
    found = await call.services.allocation.application(call.path["application"], call.opened)
    if not call.signed_in.sees(found.wish.organisation):
        raise ApiProblem(NOT_FOUND, NO_APPLICATION)
    return found


def prefix_from(text: str, pointer: str) -> Prefix:
    """A prefix out of a body. Raises ApiProblem (400)."""
    try:
        return Prefix.parse(check_text(text, PREFIX_MAX))
    except (InvalidHandle, ValueError) as error:  # a refusal repeats the name, which must steer no terminal
        fault = FieldFault(pointer, str(error))
        raise ApiProblem(INVALID_REQUEST, "The text is no prefix.", errors=[fault]) from None


def site_from(form: SiteForm) -> Site:
    """A site record out of a body. Raises ApiProblem (400)."""
    try:
        return form.site()
    except ValueError as error:
        fault = FieldFault("/site", str(error))
        raise ApiProblem(INVALID_REQUEST, "The site record cannot be read.", errors=[fault]) from None


def number_cursor(number: int) -> str:
    """The cursor behind the item with a number."""
    return cursor_of(number.to_bytes(NUMBER_OCTETS, "big"))


def number_position(cursor: str) -> int | None:
    """The number before which a page begins; None for the first page. Raises ApiProblem (400)."""
    position = position_of(cursor)
    if position is None:
        return None
    number = int.from_bytes(position, "big")
    if len(position) != NUMBER_OCTETS or number >= 2**63:
        fault = FieldFault("?cursor", "is of another list")
        raise ApiProblem(INVALID_REQUEST, "The cursor is none.", errors=[fault])
    return number


def application_reply(application: Application, *, location: str | None = None) -> Reply:
    """An application with its version."""
    return Reply(body=_view(application), etag=str(application.version), location=location)


def _view(application: Application) -> ApplicationView:
    wish = application.wish
    return ApplicationView(
        id=application.id,
        version=application.version,
        organisation=wish.organisation,
        parent=None if wish.parent is None else str(wish.parent),
        label=wish.label,
        hosting=wish.hosting,
        site=None if wish.site is None else site_form(wish.site),
        purpose=wish.purpose,
        state=application.state,
        reason=application.reason,
        applied=application.applied,
        applied_by=application.applied_by,
        decided=application.decided,
        decided_by=application.decided_by,
        proved=application.proved,
        prefix=None if application.prefix is None else str(application.prefix),
        possible=list(possible_acts(application.state)),
    )


ROUTES: Final = (
    Route(
        method="POST",
        path=PATH,
        name="application.create",
        summary="Apply for a prefix",
        tag=TAG,
        handler=create,
        right=Right.PREFIX_APPLY,
        body=NewApplication,
        reply=ApplicationView,
        status=201,
        etag=True,
        problems=(
            NOT_FOUND,
            APPLICATIONS_OPEN,
            ORGANISATION_NOT_APPROVED,
            PREFIX_NAME,
            PREFIX_PARENT,
            PREFIX_TAKEN,
            PREFIX_BUSY,
            ROUTE_REFUSED,
        ),
    ),
    Route(
        method="GET",
        path=PATH,
        name="application.list",
        summary="List applications",
        tag=TAG,
        handler=list_all,
        right=Right.PREFIX_READ,
        query=ApplicationFilter,
        reply=Applications,
    ),
    Route(
        method="GET",
        path=ONE,
        name="application.read",
        summary="Read an application",
        tag=TAG,
        handler=read,
        right=Right.PREFIX_READ,
        reply=ApplicationView,
        etag=True,
    ),
    Route(
        method="POST",
        path=ONE + "/review",
        name="application.review",
        summary="Decide an application",
        tag=TAG,
        handler=review,
        right=Right.PREFIX_REVIEW,
        body=ReviewDecision,
        reply=ApplicationView,
        etag=True,
        if_match=True,
        problems=(
            APPLICATION_STATE,
            OWN_APPLICATION,
            ORGANISATION_NOT_APPROVED,
            PREFIX_NAME,
            PREFIX_PARENT,
            PREFIX_TAKEN,
            PREFIX_BUSY,
        ),
    ),
    Route(
        method="POST",
        path=ONE + "/withdrawal",
        name="application.withdraw",
        summary="Take an application back",
        tag=TAG,
        handler=withdraw,
        right=Right.PREFIX_APPLY,
        heeds_match=True,
        body=Withdrawal,
        reply=ApplicationView,
        etag=True,
        problems=(APPLICATION_STATE,),
    ),
    Route(
        method="POST",
        path=ONE + "/allocation",
        name="application.allocate",
        summary="Allocate what was approved",
        tag=TAG,
        handler=allocate,
        right=Right.PREFIX_OPERATE,
        heeds_match=True,
        reply=PrefixItem,
        status=201,
        problems=(
            APPLICATION_STATE,
            NODE_NOT_PROVED,
            ORGANISATION_NOT_APPROVED,
            PREFIX_PARENT,
            PREFIX_TAKEN,
            PREFIX_QUARANTINED,
            PREFIX_NOT_EMPTY,
            PREFIX_BUSY,
            ROUTE_REFUSED,
        ),
    ),
)
