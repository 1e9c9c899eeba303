"""Organisations, their review, people, identities and quotas."""

from typing import Final

import msgspec

from registry.accounts.organisation import Organisation, Quotas
from registry.accounts.roles import Right
from registry.api.call import Call, Reply, cursor_of, position_of
from registry.api.id_pages import id_cursor, id_position
from registry.api.route import Route
from registry.api.schemas.base import Paging
from registry.api.schemas.organisations import (
    Decision,
    FilingView,
    NewOrganisation,
    OrganisationAct,
    OrganisationActs,
    OrganisationChange,
    OrganisationFilter,
    OrganisationQuotas,
    Organisations,
    OrganisationState,
    OrganisationView,
    Reason,
    ReviewDecision,
)
from registry.problem_types import (
    FORBIDDEN,
    UNPROCESSABLE,
    ApiProblem,
)
from registry.problem_types.accounts import CERTIFICATE_TAKEN, ORGANISATION_STATE, SELF_REVIEW

TAG: Final = "Organisations"
PATH: Final = "/api/v1/organisations"
ONE: Final = PATH + "/{organisation}"


async def create(call: Call) -> Reply:
    """Takes an organisation in, for the operator; it is reviewed by somebody else."""
    if call.signed_in.organisation is not None:
        raise ApiProblem(FORBIDDEN, "Organisations are taken in by the node's operator.")
    body = call.body_as(NewOrganisation)
    made = await call.services.accounts.organisations.create(
        call.tx,
        body.profile,
        submit=body.submit,
        legal_representative=body.legal_representative,
        contact=body.contact,
    )
    return organisation_reply(made, location=f"{PATH}/{made.id}")


async def read(call: Call) -> Reply:
    """One organisation, without the data of people."""
    async with call.services.store.connection() as connection:
        found = await call.services.accounts.organisations.get(
            connection, call.signed_in, call.path["organisation"]
        )
    return organisation_reply(found)


async def list_all(call: Call) -> Reply:
    """The organisations that the caller sees, in the order of their ids."""
    query = call.query_as(OrganisationFilter)
    async with call.services.store.connection() as connection:
        found = await call.services.accounts.organisations.page(
            connection,
            call.signed_in,
            after=id_position(query.cursor),
            limit=query.limit + 1,
            state=query.state,
            certificate=None if query.uscc is None else f"uscc:{query.uscc}",
        )
    items = [_view(organisation) for organisation in found[: query.limit]]
    return Reply(body=Organisations(items=items, next=id_cursor(found, query.limit)))


async def change(call: Call) -> Reply:
    """Replaces the profile; where it touches what reviewers check, an approved organisation is submitted again."""
    found = await lock_version(call)
    profile = call.body_as(OrganisationChange).profile
    return organisation_reply(await call.services.accounts.organisations.change(call.tx, found, profile))


async def submit(call: Call) -> Reply:
    """Asks for the review of a draft or of a rejected organisation."""
    found = await lock_given_version(call)
    return organisation_reply(await call.services.accounts.organisations.submit(call.tx, found))


async def review(call: Call) -> Reply:
    """Approves or rejects the version that the reviewer has read; of two reviewers the first one decides."""
    body = call.body_as(ReviewDecision)
    found = await lock(call)
    service = call.services.accounts.organisations
    approve = body.decision is Decision.APPROVE
    service.check_review(found, approve=approve)  # who comes second is told so, whatever he has read
    call.require_match(str(found.version))
    return organisation_reply(await service.review(call.tx, found, approve=approve, reason=body.reason or ""))


async def suspend(call: Call) -> Reply:
    """Bars users, keys and identities of the organisation within a second; its prefixes go on resolving."""
    found = await lock_given_version(call)
    reason = call.body_as(Reason).reason
    return organisation_reply(await call.services.accounts.organisations.suspend(call.tx, found, reason))


async def resume(call: Call) -> Reply:
    """Lets users, keys and identities of the organisation in again; sessions have ended."""
    found = await lock_given_version(call)
    reason = call.body_as(Reason).reason
    return organisation_reply(await call.services.accounts.organisations.resume(call.tx, found, reason))


async def set_quotas(call: Call) -> Reply:
    """Allows an organisation more or less."""
    if call.signed_in.organisation is not None:
        raise ApiProblem(FORBIDDEN, "Quotas are set by the node's operator.")
    found = await lock_version(call)
    body = call.body_as(OrganisationQuotas)
    quotas = Quotas(
        requests_per_minute=body.requests_per_minute,
        identifiers_per_day=body.identifiers_per_day,
        users_max=body.users_max,
        keys_max=body.keys_max,
    )
    return organisation_reply(await call.services.accounts.organisations.set_quotas(call.tx, found, quotas))


async def history(call: Call) -> Reply:
    """What was done to the organisation, when, why and by whom."""
    query = call.query_as(Paging)
    position = position_of(query.cursor)
    before = None if position is None else int.from_bytes(position[:7], "big")
    service = call.services.accounts.organisations
    async with call.services.store.connection() as connection:
        found = await service.get(connection, call.signed_in, call.path["organisation"])
        acts = await service.history(connection, found.id, before=before, limit=query.limit + 1)
    items = [
        OrganisationAct(version=act.version, act=act.act, reason=act.reason, actor=act.actor, at=act.at)
        for act in acts[: query.limit]
    ]
    more = len(acts) > query.limit
    return Reply(
        body=OrganisationActs(
            items=items, next=cursor_of(items[-1].version.to_bytes(7, "big")) if more else None
        )
    )


async def lock(call: Call) -> Organisation:
    """The organisation of the path, which nobody else changes meanwhile. Raises ApiProblem (404)."""
    return await call.services.accounts.organisations.lock(call.tx, call.signed_in, call.path["organisation"])


async def lock_version(call: Call) -> Organisation:
    """Raises ApiProblem unless If-Match names the present version."""
    found = await lock(call)
    call.require_match(str(found.version))
    return found


async def lock_given_version(call: Call) -> Organisation:
    """Raises ApiProblem if If-Match names another version than the present one."""
    found = await lock(call)
    call.check_match(str(found.version))
    return found


def organisation_reply(organisation: Organisation, *, location: str | None = None) -> Reply:
    """An organisation with its version."""
    return Reply(body=_view(organisation), etag=str(organisation.version), location=location)


def _view(organisation: Organisation) -> OrganisationView:
    filing = organisation.filing
    return OrganisationView(
        id=organisation.id,
        version=organisation.version,
        state=OrganisationState(organisation.state),
        review=organisation.review,
        reason=organisation.reason,
        suspended_reason=organisation.suspended_reason,
        profile=organisation.profile,
        legal_representative=organisation.legal_representative,
        contact=organisation.contact,
        quotas=msgspec.convert(organisation.quotas, OrganisationQuotas, from_attributes=True),
        filing=FilingView(state=filing.state, reason=filing.reason, at=filing.at),
        created=organisation.created,
        changed=organisation.changed,
    )


ROUTES: Final = (
    Route(
        method="POST",
        path=PATH,
        name="organisation.create",
        summary="Take in an organisation",
        tag=TAG,
        handler=create,
        right=Right.ORGANISATION_WRITE,
        body=NewOrganisation,
        reply=OrganisationView,
        status=201,
        etag=True,
        problems=(UNPROCESSABLE,),
    ),
    Route(
        method="GET",
        path=PATH,
        name="organisation.list",
        summary="List organisations",
        tag=TAG,
        handler=list_all,
        right=Right.ORGANISATION_READ,
        query=OrganisationFilter,
        reply=Organisations,
    ),
    Route(
        method="GET",
        path=ONE,
        name="organisation.read",
        summary="Read an organisation",
        tag=TAG,
        handler=read,
        right=Right.ORGANISATION_READ,
        reply=OrganisationView,
        etag=True,
    ),
    Route(
        method="PUT",
        path=ONE,
        name="organisation.change",
        summary="Change an organisation",
        tag=TAG,
        handler=change,
        right=Right.ORGANISATION_WRITE,
        body=OrganisationChange,
        reply=OrganisationView,
        etag=True,
        if_match=True,
    ),
    Route(
        method="POST",
        path=ONE + "/submission",
        name="organisation.submit",
        summary="Submit an organisation for review",
        tag=TAG,
        handler=submit,
        right=Right.ORGANISATION_WRITE,
        heeds_match=True,
        reply=OrganisationView,
        etag=True,
        problems=(ORGANISATION_STATE, UNPROCESSABLE),
    ),
    Route(
        method="POST",
        path=ONE + "/review",
        name="organisation.review",
        summary="Decide on an organisation",
        tag=TAG,
        handler=review,
        right=Right.ORGANISATION_REVIEW,
        body=ReviewDecision,
        reply=OrganisationView,
        etag=True,
        if_match=True,
        problems=(ORGANISATION_STATE, SELF_REVIEW, CERTIFICATE_TAKEN),
    ),
    Route(
        method="POST",
        path=ONE + "/suspension",
        name="organisation.suspend",
        summary="Suspend an organisation",
        tag=TAG,
        handler=suspend,
        right=Right.ORGANISATION_SUSPEND,
        heeds_match=True,
        body=Reason,
        reply=OrganisationView,
        etag=True,
        problems=(ORGANISATION_STATE,),
    ),
    Route(
        method="POST",
        path=ONE + "/resumption",
        name="organisation.resume",
        summary="Resume an organisation",
        tag=TAG,
        handler=resume,
        right=Right.ORGANISATION_SUSPEND,
        heeds_match=True,
        body=Reason,
        reply=OrganisationView,
        etag=True,
        problems=(ORGANISATION_STATE,),
    ),
    Route(
        method="PUT",
        path=ONE + "/quotas",
        name="organisation.set_quotas",
        summary="Set what an organisation may use",
        tag=TAG,
        handler=set_quotas,
        right=Right.NODE_OPERATE,
        body=OrganisationQuotas,
        reply=OrganisationView,
        etag=True,
        if_match=True,
    ),
    Route(
        method="GET",
        path=ONE + "/history",
        name="organisation.history",
        summary="What was done to an organisation",
        tag=TAG,
        handler=history,
        right=Right.ORGANISATION_READ,
        query=Paging,
        reply=OrganisationActs,
    ),
)
