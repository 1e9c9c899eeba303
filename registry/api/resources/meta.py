"""What the API says about itself: its OpenAPI document, its reference page, its problem types."""

from typing import Final

from registry.api.call import Call, Reply
from registry.api.route import Access, Route

TAG: Final = "About the API"


async def openapi(call: Call) -> Reply:
    """The OpenAPI document."""
    return Reply(content=call.services.documents.openapi)


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
)
