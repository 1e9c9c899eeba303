"""What nodes ask of each other: every request but the challenge is signed with the key of the sender's site record."""

from typing import Final

from registry.api.call import Call, Reply
from registry.api.route import Access, Route
from registry.peers.messages import (
    PAGE_BODY_OCTETS_MAX,
    ApplicationAnswer,
    ApplicationMessage,
    ChallengeAnswer,
    ChallengeMessage,
    FilingAnswer,
    FilingMessage,
    HeartbeatAnswer,
    HeartbeatMessage,
    MoveAnswer,
    MoveMessage,
    PageRequest,
    Received,
    ReportMessage,
    SealedPage,
    StepMessage,
)
from registry.problem_types import NOT_FOUND
from registry.problem_types.accounts import CERTIFICATE_TAKEN
from registry.problem_types.allocation import ROUTE_REFUSED
from registry.problem_types.peers import (
    CLOCKS_DIFFER,
    MOVE_REFUSED,
    NODE_APPLICATION,
    NODE_REPLAY,
    NODE_SIGNATURE,
    NODE_SITE,
    NODE_UNCONFIRMED,
    NODE_UNKNOWN,
    TOO_MANY_NODE_REQUESTS,
)

TAG: Final = "Between nodes"
PATH: Final = "/api/v1/node"
_SIGNED: Final = (NODE_SIGNATURE, CLOCKS_DIFFER, NODE_REPLAY, NODE_UNKNOWN, TOO_MANY_NODE_REQUESTS)


async def challenge(call: Call) -> Reply:
    """Proves to anybody that this node holds the key of its site record, by a signature over the nonce."""
    return Reply(body=call.services.peers.answer_challenge(call.body_as(ChallengeMessage)))


async def apply(call: Call) -> Reply:
    """A node introduces itself and applies for a prefix; sent again, it is told how far the application has come."""
    message = call.body_as(ApplicationMessage)
    return Reply(body=await call.services.peers.applicants.receive(call.tx, call.node_key, message))


async def ready(call: Call) -> Reply:
    """A node says that it serves the prefix that it was offered, so that it is probed and the prefix goes live."""
    id_ = call.path["enrolment"]
    return Reply(body=await call.services.peers.applicants.ready(call.tx, call.node_key, id_))


async def heartbeat(call: Call) -> Reply:
    """A node below says that it is alive, and where it is; it is told what was decided about its filings."""
    message = call.body_as(HeartbeatMessage)
    return Reply(body=await call.services.peers.hearing.heartbeat(call.tx, call.node_key, message))


async def file(call: Call) -> Reply:
    """A node below files an organisation (备案): its description, without people."""
    message = call.body_as(FilingMessage)
    return Reply(body=await call.services.peers.hearing.file(call.tx, call.node_key, message))


async def report(call: Call) -> Reply:
    """A node below reports what it counted in a day."""
    message = call.body_as(ReportMessage)
    return Reply(body=await call.services.peers.hearing.report(call.tx, call.node_key, message))


async def begin_move(call: Call) -> Reply:
    """The node above begins to move a prefix here or from here; `ready` false: send it again."""
    message = call.body_as(MoveMessage)
    return Reply(body=await call.services.peers.lower.begin(call.tx, call.node_key, message))


async def take_page(call: Call) -> Reply:
    """Stores a page of a prefix that moves here; it is sealed for this node."""
    parcel = call.body_as(SealedPage)
    answer = await call.services.peers.lower.take(call.tx, call.node_key, call.path["move"], parcel)
    return Reply(body=answer)


async def give_page(call: Call) -> Reply:
    """Gives a page of a prefix that moves from here, sealed for the node above."""
    request = call.body_as(PageRequest)
    return Reply(body=await call.services.peers.lower.give(call.node_key, call.path["move"], request))


async def take_step(call: Call) -> Reply:
    """Takes a step of a move; `ready` false: it takes a moment, send it again."""
    message = call.body_as(StepMessage)
    answer = await call.services.peers.lower.step(call.tx, call.node_key, call.path["move"], message)
    return Reply(body=answer)


ROUTES: Final = (
    Route(
        method="POST",
        path=PATH + "/challenges",
        name="node.challenge",
        summary="Let the node prove that it holds its key",
        tag=TAG,
        handler=challenge,
        access=Access.PUBLIC,
        body=ChallengeMessage,
        reply=ChallengeAnswer,
        writes=False,
    ),
    Route(
        method="POST",
        path=PATH + "/applications",
        name="node.apply",
        summary="Apply as a node",
        tag=TAG,
        handler=apply,
        access=Access.NODE,
        body=ApplicationMessage,
        reply=ApplicationAnswer,
        problems=(*_SIGNED, NODE_APPLICATION, ROUTE_REFUSED, CERTIFICATE_TAKEN),
    ),
    Route(
        method="POST",
        path=PATH + "/applications/{enrolment}/ready",
        name="node.ready",
        summary="Say that the offered prefix is served",
        tag=TAG,
        handler=ready,
        access=Access.NODE,
        reply=ApplicationAnswer,
        problems=_SIGNED,
    ),
    Route(
        method="POST",
        path=PATH + "/heartbeats",
        name="node.heartbeat",
        summary="Say that the node is alive",
        tag=TAG,
        handler=heartbeat,
        access=Access.NODE,
        body=HeartbeatMessage,
        reply=HeartbeatAnswer,
        problems=(*_SIGNED, NOT_FOUND, NODE_SITE),
    ),
    Route(
        method="POST",
        path=PATH + "/filings",
        name="node.file",
        summary="File an organisation",
        tag=TAG,
        handler=file,
        access=Access.NODE,
        body=FilingMessage,
        reply=FilingAnswer,
        problems=(*_SIGNED, NOT_FOUND, NODE_UNCONFIRMED),
    ),
    Route(
        method="POST",
        path=PATH + "/reports",
        name="node.report",
        summary="Report a day",
        tag=TAG,
        handler=report,
        access=Access.NODE,
        body=ReportMessage,
        reply=Received,
        problems=(*_SIGNED, NOT_FOUND, NODE_UNCONFIRMED),
    ),
    Route(
        method="POST",
        path=PATH + "/moves",
        name="node.begin_move",
        summary="Begin to move a prefix",
        tag=TAG,
        handler=begin_move,
        access=Access.NODE,
        body=MoveMessage,
        reply=MoveAnswer,
        problems=(*_SIGNED, MOVE_REFUSED),
    ),
    Route(
        method="POST",
        path=PATH + "/moves/{move}/pages",
        name="node.take_page",
        summary="Store a page of a prefix",
        tag=TAG,
        handler=take_page,
        access=Access.NODE,
        body=SealedPage,
        reply=MoveAnswer,
        body_octets_max=PAGE_BODY_OCTETS_MAX,
        problems=(*_SIGNED, MOVE_REFUSED),
    ),
    Route(
        method="POST",
        path=PATH + "/moves/{move}/page",
        name="node.give_page",
        summary="Read a page of a prefix",
        tag=TAG,
        handler=give_page,
        access=Access.NODE,
        body=PageRequest,
        reply=SealedPage,
        writes=False,
        problems=(*_SIGNED, MOVE_REFUSED),
    ),
    Route(
        method="POST",
        path=PATH + "/moves/{move}/steps",
        name="node.take_step",
        summary="Take a step of a move",
        tag=TAG,
        handler=take_step,
        access=Access.NODE,
        body=StepMessage,
        reply=MoveAnswer,
        problems=(*_SIGNED, MOVE_REFUSED),
    ),
)
