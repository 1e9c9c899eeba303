"""Neighbours: the nodes below with their filings and reports, the nodes above and what is asked of them."""

from datetime import date
from typing import Final

import msgspec

from protocol.handle import Prefix
from protocol.site import Site
from registry.accounts.roles import Right
from registry.allocation.terms import NO_APPLICATION
from registry.api.call import Call, Reply, cursor_of, position_of
from registry.api.id_pages import id_cursor, id_position
from registry.api.resources.applications import number_cursor, number_position
from registry.api.route import Route
from registry.api.schemas.base import Paging
from registry.api.schemas.nodes import (
    Enrolments,
    EnrolmentView,
    FilingDecision,
    FilingFilter,
    Filings,
    FilingView,
    Letters,
    LetterView,
    NewEnrolment,
    NodeProbe,
    NodeReason,
    Nodes,
    NodeView,
    ProofView,
    Reports,
    ReportView,
    Upstreams,
    UpstreamView,
)
from registry.api.schemas.sites import site_form
from registry.peers.enrolments import Enrolment, Wanted
from registry.peers.hearing import Filing, profile_of
from registry.peers.messages import FilingState, ReportMessage
from registry.peers.neighbours import Downstream
from registry.peers.service import NO_NODE
from registry.problem_types import FORBIDDEN, INVALID_REQUEST, NOT_FOUND, ApiProblem, FieldFault
from registry.problem_types.allocation import APPLICATION_STATE
from registry.problem_types.peers import NODE_APPLICATION, NODE_SITE, NODE_UNREACHABLE

TAG: Final = "Nodes"
PATH: Final = "/api/v1/nodes"
ONE: Final = PATH + "/{node}"


# Nodes below.


async def list_nodes(call: Call) -> Reply:
    """The nodes below that the caller sees, in the order in which they came."""
    query = call.query_as(Paging)
    found = await call.services.peers.nodes(
        organisation=call.signed_in.organisation,
        after=number_position(query.cursor) or 0,
        limit=query.limit + 1,
    )
    following = number_cursor(found[query.limit - 1].number) if len(found) > query.limit else None
    return Reply(body=Nodes(items=[_node_view(node) for node in found[: query.limit]], next=following))


async def read_node(call: Call) -> Reply:
    """One node below."""
    return Reply(body=_node_view(await _visible(call)))


async def confirm(call: Call) -> Reply:
    """Says that a node that claims to belong to the caller's organisation does."""
    organisation = call.signed_in.organisation
    if organisation is None:
        raise ApiProblem(FORBIDDEN, "An organisation says of a node that it is its own; you belong to none.")
    return Reply(body=_node_view(await call.services.peers.confirm(call.tx, call.path["node"], organisation)))


async def bar(call: Call) -> Reply:
    """Listens to a node no more; the prefixes that are delegated to it stay so."""
    return await _bar(call, barred=True)


async def readmit(call: Call) -> Reply:
    """Listens to a barred node again."""
    return await _bar(call, barred=False)


async def _bar(call: Call, *, barred: bool) -> Reply:
    if call.signed_in.organisation is not None:
        raise ApiProblem(NOT_FOUND, NO_NODE)
    reason = call.body_as(NodeReason).reason
    below = await call.services.peers.bar(call.tx, call.path["node"], barred=barred, reason=reason)
    return Reply(body=_node_view(below))


async def list_reports(call: Call) -> Reply:
    """What a node below counted, day by day, the latest first."""
    query = call.query_as(Paging)
    below = await _visible(call)
    found = await call.services.peers.hearing.reports(
        below.node, before=_day(query.cursor), limit=query.limit + 1
    )
    items = [
        ReportView(
            node=report.node,
            day=report.day,
            received=report.received,
            report=msgspec.json.decode(report.contents, type=ReportMessage),
        )
        for report in found[: query.limit]
    ]
    following = cursor_of(items[-1].day.isoformat().encode()) if len(found) > query.limit else None
    return Reply(body=Reports(items=items, next=following))


async def list_filings(call: Call) -> Reply:
    """Organisations that nodes below have filed, the latest first."""
    query = call.query_as(FilingFilter)
    _only_node_level(call)
    found = await call.services.peers.hearing.filings(
        node=query.node, before=number_position(query.cursor), limit=query.limit + 1
    )
    following = number_cursor(found[query.limit - 1].number) if len(found) > query.limit else None
    return Reply(
        body=Filings(items=[_filing_view(filing) for filing in found[: query.limit]], next=following)
    )


async def decide_filing(call: Call) -> Reply:
    """Decides a filing otherwise than the rules did; the node below hears of it with its next heartbeat."""
    body = call.body_as(FilingDecision)
    _only_node_level(call)
    filing = await call.services.peers.hearing.decide(
        call.tx, call.path["node"], call.path["organisation"], state=body.state, reason=body.reason
    )
    return Reply(body=_filing_view(filing))


async def prove(call: Call) -> Reply:
    """Has the node of an application's site prove that it holds the key of the site."""
    application = await call.services.allocation.application(call.path["application"])
    caller = call.signed_in
    if not caller.sees(application.wish.organisation) or caller.prefixes is not None:
        raise ApiProblem(NOT_FOUND, NO_APPLICATION)
    call.check_match(str(application.version))
    site = application.wish.site
    if site is None:
        raise ApiProblem(APPLICATION_STATE, "The application is for a hosted prefix, whose node is this one.")
    node = await call.services.peers.prove(site, application.prefix or application.wish.parent)
    proved = await call.services.allocation.note_proof(await call.begin(), application.id)
    assert proved.proved is not None
    return Reply(body=ProofView(application=proved.id, node=node, proved=proved.proved))


# Nodes above.


async def list_upstreams(call: Call) -> Reply:
    """The nodes above: whether they answer, and whether they know where this node is."""
    _only_node_level(call)
    found = await call.services.peers.upstreams()
    items = [
        UpstreamView(
            node=above.node,
            url=above.url,
            pinned=above.pinned,
            last_contact=above.last_contact,
            fault=above.fault,
            route_checked=above.route_checked,
            route_fault=above.route_fault,
        )
        for above in found
    ]
    return Reply(body=Upstreams(items=items, next=None))


async def forget_upstream(call: Call) -> Reply:
    """Forgets a node above with its pinned key and what waits for it; its prefixes are served here as before."""
    _only_node_level(call)
    await call.services.peers.forget_upstream(call.tx, call.path["node"])
    return Reply()


async def list_letters(call: Call) -> Reply:
    """Messages to nodes above that wait, the longest first, with what went wrong."""
    _only_node_level(call)
    found = await call.services.peers.outbox.page(limit=call.query_as(Paging).limit)
    items = [
        LetterView(
            node=letter.node,
            kind=letter.kind,
            subject=letter.subject,
            attempts=letter.attempts,
            next_at=letter.next_at,
            fault=letter.fault,
            created=letter.created,
        )
        for letter in found
    ]
    return Reply(body=Letters(items=items, next=None))


async def enrol(call: Call) -> Reply:
    """Asks a node above for a prefix, or joins it; it goes on by itself until there is an answer."""
    body = call.body_as(NewEnrolment)
    _only_node_level(call)
    enrolments = call.services.peers.enrolments
    node, site = await enrolments.pin(body.url, body.node)
    wanted = Wanted(
        url=body.url,
        node=body.node,
        organisation=body.organisation,
        claim=body.claim,
        label=body.label,
        joins=body.joins,
        held=body.held,
    )
    made = await enrolments.enrol(await call.begin(), wanted, node, site)
    return Reply(body=_enrolment_view(made), location=f"/api/v1/enrolments/{made.id}")


async def list_enrolments(call: Call) -> Reply:
    """What this node has asked of nodes above."""
    query = call.query_as(Paging)
    _only_node_level(call)
    found = await call.services.peers.enrolments.page(after=id_position(query.cursor), limit=query.limit + 1)
    items = [_enrolment_view(one) for one in found[: query.limit]]
    return Reply(body=Enrolments(items=items, next=id_cursor(found, query.limit)))


async def read_enrolment(call: Call) -> Reply:
    """How far an enrolment has come."""
    _only_node_level(call)
    return Reply(body=_enrolment_view(await call.services.peers.enrolments.get(call.path["enrolment"])))


def _only_node_level(call: Call) -> None:
    """Raises ApiProblem (404) for who belongs to an organisation: what concerns the node is not there for him."""
    if call.signed_in.organisation is not None:
        raise ApiProblem(NOT_FOUND, "There is no such thing.")


async def _visible(call: Call) -> Downstream:
    found = await call.services.peers.node(call.path["node"])
    if not call.signed_in.sees(found.organisation):
        raise ApiProblem(NOT_FOUND, NO_NODE)
    return found


def _day(cursor: str) -> date | None:
    position = position_of(cursor)
    try:
        return None if position is None else date.fromisoformat(position.decode("ascii"))
    except ValueError:
        fault = FieldFault("?cursor", "is of another list")
        raise ApiProblem(INVALID_REQUEST, "The cursor is none.", errors=[fault]) from None


def _node_view(below: Downstream) -> NodeView:
    probe = None if below.probed is None else NodeProbe(at=below.probed, fault=below.probe_fault)
    return NodeView(
        node=below.node,
        organisation=below.organisation,
        claim=below.claim,
        state=below.state,
        reason=below.reason,
        software=below.version,
        site=site_form(Site.decode(below.site)),
        first_seen=below.first_seen,
        last_seen=below.last_seen,
        proved=below.proved,
        probe=probe,
    )


def _filing_view(filing: Filing) -> FilingView:
    return FilingView(
        node=filing.node,
        organisation=filing.organisation,
        version=filing.version,
        profile=profile_of(filing),
        state=FilingState(filing.state),
        reason=filing.reason,
        decided_by=filing.decided_by,
        received=filing.received,
        decided=filing.decided,
    )


def _enrolment_view(enrolment: Enrolment) -> EnrolmentView:
    return EnrolmentView(
        id=enrolment.id,
        node=enrolment.node,
        organisation=enrolment.organisation,
        claim=enrolment.claim,
        label=enrolment.wanted,
        joins=enrolment.joins,
        state=enrolment.state,
        reason=enrolment.reason,
        prefix=None if enrolment.prefix is None else str(Prefix(enrolment.prefix)),
        created=enrolment.created,
        changed=enrolment.changed,
    )


ROUTES: Final = (
    Route(
        method="GET",
        path=PATH,
        name="node.list",
        summary="List nodes below",
        tag=TAG,
        handler=list_nodes,
        right=Right.PREFIX_READ,
        query=Paging,
        reply=Nodes,
    ),
    Route(
        method="GET",
        path=ONE,
        name="node.read",
        summary="Read a node below",
        tag=TAG,
        handler=read_node,
        right=Right.PREFIX_READ,
        reply=NodeView,
    ),
    Route(
        method="POST",
        path=ONE + "/confirmation",
        name="node.confirm",
        summary="Confirm that a node belongs to the organisation",
        tag=TAG,
        handler=confirm,
        right=Right.PREFIX_APPLY,
        reply=NodeView,
    ),
    Route(
        method="POST",
        path=ONE + "/barring",
        name="node.bar",
        summary="Bar a node",
        tag=TAG,
        handler=bar,
        right=Right.NODE_OPERATE,
        body=NodeReason,
        reply=NodeView,
    ),
    Route(
        method="POST",
        path=ONE + "/readmission",
        name="node.readmit",
        summary="Let a barred node in again",
        tag=TAG,
        handler=readmit,
        right=Right.NODE_OPERATE,
        body=NodeReason,
        reply=NodeView,
    ),
    Route(
        method="GET",
        path=ONE + "/reports",
        name="node.list_reports",
        summary="List the reports of a node",
        tag=TAG,
        handler=list_reports,
        right=Right.PREFIX_READ,
        query=Paging,
        reply=Reports,
    ),
    Route(
        method="PUT",
        path=ONE + "/filings/{organisation}",
        name="filing.decide",
        summary="Decide a filing",
        tag=TAG,
        handler=decide_filing,
        right=Right.NODE_OPERATE,
        body=FilingDecision,
        reply=FilingView,
    ),
    Route(
        method="GET",
        path="/api/v1/filings",
        name="filing.list",
        summary="List filings",
        tag=TAG,
        handler=list_filings,
        right=Right.NODE_OPERATE,
        query=FilingFilter,
        reply=Filings,
    ),
    Route(
        method="POST",
        path="/api/v1/applications/{application}/proof",
        name="application.prove",
        summary="Have the node of an application prove its key",
        tag=TAG,
        handler=prove,
        right=Right.PREFIX_APPLY,
        heeds_match=True,
        reply=ProofView,
        eager=False,
        problems=(APPLICATION_STATE, NODE_SITE, NODE_UNREACHABLE),
    ),
    Route(
        method="GET",
        path="/api/v1/upstream",
        name="upstream.list",
        summary="List nodes above",
        tag=TAG,
        handler=list_upstreams,
        right=Right.NODE_OPERATE,
        reply=Upstreams,
    ),
    Route(
        method="DELETE",
        path="/api/v1/upstream/{node}",
        name="upstream.forget",
        summary="Forget a node above",
        tag=TAG,
        handler=forget_upstream,
        right=Right.NODE_OPERATE,
        status=204,
    ),
    Route(
        method="GET",
        path="/api/v1/outbox",
        name="outbox.list",
        summary="List messages that wait",
        tag=TAG,
        handler=list_letters,
        right=Right.NODE_OPERATE,
        query=Paging,
        reply=Letters,
    ),
    Route(
        method="POST",
        path="/api/v1/enrolments",
        name="enrolment.create",
        summary="Ask a node above for a prefix, or join it",
        tag=TAG,
        handler=enrol,
        right=Right.NODE_OPERATE,
        body=NewEnrolment,
        reply=EnrolmentView,
        status=201,
        eager=False,
        problems=(NODE_SITE, NODE_UNREACHABLE, NODE_APPLICATION, NOT_FOUND),
    ),
    Route(
        method="GET",
        path="/api/v1/enrolments",
        name="enrolment.list",
        summary="List enrolments",
        tag=TAG,
        handler=list_enrolments,
        right=Right.NODE_OPERATE,
        query=Paging,
        reply=Enrolments,
    ),
    Route(
        method="GET",
        path="/api/v1/enrolments/{enrolment}",
        name="enrolment.read",
        summary="Read an enrolment",
        tag=TAG,
        handler=read_enrolment,
        right=Right.NODE_OPERATE,
        reply=EnrolmentView,
    ),
)
