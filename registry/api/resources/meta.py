"""What the API says about itself: its OpenAPI document, its reference page, its problem types."""

import asyncio
from typing import Final

from registry.api.call import Call, Reply
from registry.api.catalogue import problem_types, problem_view
from registry.api.pages import HTML
from registry.api.route import Access, Route
from registry.api.schemas.meta import ProblemTypes, ProblemTypeView
from registry.problem_types import ALL, NOT_FOUND, ApiProblem

TAG: Final = "About the API"
_VARY: Final = {"Vary": "Accept"}
_BY_SLUG: Final = {kind.slug: kind for kind in ALL}


async def openapi(call: Call) -> Reply:
    """The document from which clients are generated."""
    documents = call.services.documents
    return Reply(content=await asyncio.to_thread(lambda: documents.openapi))


async def reference(call: Call) -> Reply:
    """Every operation on one page, for people."""
    documents = call.services.documents
    return _page(call, await asyncio.to_thread(lambda: documents.reference))


async def list_problems(call: Call) -> Reply:
    """Every problem type and response code, with cause and remedy; for a browser as a page."""
    if call.wants_html:
        return _page(call, call.services.documents.pages.problems())
    return Reply(body=problem_types(), headers=_VARY)


async def read_problem(call: Call) -> Reply:
    """One problem type: where the member `type` of a problem leads; for a browser as a page."""
    kind = _BY_SLUG.get(call.path["slug"])
    if kind is None:
        raise ApiProblem(NOT_FOUND, "There is no such problem type.")
    if call.wants_html:
        return _page(call, call.services.documents.pages.problem(kind))
    return Reply(body=problem_view(kind), headers=_VARY)


def _page(call: Call, octets: bytes) -> Reply:
    headers = {**call.services.documents.pages.headers, **_VARY}
    return Reply(content=octets, media=HTML, headers=headers)


ROUTES: Final = (
    Route(
        method="GET",
        path="/api/v1/openapi.json",
        name="api.describe",
        summary="The OpenAPI 3.1 document of this API",
        tag=TAG,
        handler=openapi,
        access=Access.PUBLIC,
    ),
    Route(
        method="GET",
        path="/api/v1/docs",
        name="api.reference",
        summary="The reference as a page",
        tag=TAG,
        handler=reference,
        access=Access.PUBLIC,
        media=HTML,
    ),
    Route(
        method="GET",
        path="/api/v1/problems",
        name="problem.list",
        summary="Every problem type and response code",
        tag=TAG,
        handler=list_problems,
        access=Access.PUBLIC,
        reply=ProblemTypes,
        other_media=(HTML,),
    ),
    Route(
        method="GET",
        path="/api/v1/problems/{slug}",
        name="problem.read",
        summary="One problem type",
        tag=TAG,
        handler=read_problem,
        access=Access.PUBLIC,
        reply=ProblemTypeView,
        other_media=(HTML,),
    ),
)
