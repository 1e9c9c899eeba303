"""Lists over the wire: the handles of a prefix, the prefixes below it, and the prefixes that the node homes.

Fifty names a message, as deployed servers send them; a page of the database is read when the client has taken those
before it, so that a list of millions holds neither memory nor a connection (PROTOCOL.md §4.11, §4.12).
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final

from protocol.admin_bodies import HandleListResponse, HandleRequest
from protocol.codes import ResponseCode
from protocol.handle import Prefix
from registry.listing import PAGE_MAX, Page
from registry.operations import Operations
from registry.outcomes import Rejected
from registry.record import Refusal
from registry.wire.administration import Administration
from registry.wire.call import Call
from registry.wire.names import prefix_of
from registry.wire.response import Part, Response

NAMES_MAX: Final = 50  # of one message; deployed clients are built for no other number

Pages = Callable[[bytes], Awaitable[Page | Rejected]]
"""The page that begins behind what the one before gave; empty octets begin."""


class Lists:
    """Lists of one node. Every method raises Refusal, HandleError, or Unproven for who must say who he is."""

    def __init__(self, operations: Operations, administration: Administration) -> None:
        self._operations = operations
        self._administration = administration

    async def handles(self, call: Call) -> Response:
        """OC 105."""
        prefix = await self._prefix(call)
        by = call.proven()
        return await self._stream(
            call, lambda after: self._operations.list_handles(prefix, by=by, after=after, limit=PAGE_MAX)
        )

    async def derived_prefixes(self, call: Call) -> Response:
        """OC 106: the prefix records that this node holds below a prefix."""
        prefix = await self._prefix(call)
        by = call.proven()
        return await self._stream(
            call, lambda after: self._operations.list_derived(prefix, by=by, after=after, limit=PAGE_MAX)
        )

    async def homed_prefixes(self, call: Call) -> Response:
        """OC 302, as names of prefix records; what the request names does not matter."""
        HandleRequest.decode(call.request.body)
        await self._administration.check_server_admin(call)

        async def page(after: bytes) -> Page:
            homed = await self._operations.homed(after=after, limit=PAGE_MAX)
            return Page(tuple(Prefix(name).record.octets for name in homed.names), homed.after)

        return await self._stream(call, page)

    async def _prefix(self, call: Call) -> Prefix:
        """The prefix of a request. Raises Refusal: 102, and 301 for one that is not homed here."""
        prefix = prefix_of(HandleRequest.decode(call.request.body).handle)
        row = await self._operations.context.prefixes.row(prefix.key)
        if row is None or not row.homed:
            message = f"this node does not home the prefix {prefix}"
            raise Refusal(ResponseCode.SERVER_NOT_RESPONSIBLE, message)
        return prefix

    async def _stream(self, call: Call, pages: Pages) -> Response:
        """The first message of a list, and what follows it. Raises Refusal for who may not have it."""
        first = await pages(b"")
        if isinstance(first, Rejected):
            if first.code is not ResponseCode.INVALID_ADMINISTRATOR:
                call.end_trial()
            raise Refusal(first.code, first.message)
        call.end_trial()
        parts = _parts(_names(first, pages))
        body, follows = await anext(parts)
        if follows:
            return Response(body=body, more=parts)
        await parts.aclose()
        return Response(body=body)


async def _names(page: Page, pages: Pages) -> AsyncGenerator[tuple[bytes, ...], None]:
    """The names of all pages, page by page."""
    yield page.names
    while page.after is not None:
        following = await pages(page.after)
        if isinstance(following, Rejected):  # the right was taken away meanwhile
            raise Refusal(following.code, following.message)
        page = following
        yield page.names


async def _parts(pages: AsyncGenerator[tuple[bytes, ...], None]) -> AsyncGenerator[Part, None]:
    """The bodies of the messages, at least one."""
    waiting: list[bytes] = []
    async for names in pages:
        waiting += names
        while len(waiting) > NAMES_MAX:
            yield HandleListResponse(names=tuple(waiting[:NAMES_MAX])).encode(), True
            del waiting[:NAMES_MAX]
    yield HandleListResponse(names=tuple(waiting)).encode(), False
