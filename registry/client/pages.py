"""Lists: page after page as one sequence of items."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from registry.api.schemas.base import Page
from registry.client.errors import UnexpectedAnswer

Item = TypeVar("Item")


async def every_item(url: str, fetch: Callable[[str], Awaitable[Page[Item]]]) -> AsyncIterator[Item]:
    """Yield the items of all pages; the next page is asked for when the one before is used up.

    url: who is asked, for errors. fetch: the page that begins at a cursor, "" for the first one. Raises
    UnexpectedAnswer when the cursors go in a circle, and what fetch raises.
    """
    cursor = ""
    while True:
        page = await fetch(cursor)
        for item in page.items:
            yield item
        if page.next is None:
            return
        if page.next == cursor:
            raise UnexpectedAnswer(url, "a page names itself as the next one")
        cursor = page.next
