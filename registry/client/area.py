"""Area: what the calls about one kind of object share."""

from collections.abc import AsyncIterator
from typing import Any, TypeVar

import msgspec

from registry.api.schemas.base import Page, Paging
from registry.client.address import Query
from registry.client.connection import Connection
from registry.client.pages import every_item

Item = TypeVar("Item")


class Area:
    """Calls about one kind of object, by one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def _every(self, path: str, shape: type[Page[Item]], which: Paging) -> AsyncIterator[Item]:
        """The items of all pages of a list, from the cursor of `which` on."""

        async def fetch(cursor: str) -> Page[Item]:
            begun = msgspec.structs.replace(which, cursor=cursor) if cursor else which
            answer = await self._connection.get(path, shape, parameters(begun))
            return answer.body

        return every_item(self._connection.url, fetch)


def parameters(which: msgspec.Struct) -> Query:
    """The parameters that a filter stands for."""
    content: dict[str, Any] = msgspec.to_builtins(which)
    return content
