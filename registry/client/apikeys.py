"""Calls about API keys."""

from collections.abc import AsyncIterator
from typing import Final

from registry.api.schemas.apikeys import (
    ApiKeyFilter,
    ApiKeys,
    ApiKeyShown,
    ApiKeyView,
    KeyRotation,
    NewApiKey,
)
from registry.api.schemas.organisations import Reason
from registry.client.address import path_of
from registry.client.area import Area
from registry.client.connection import ONCE, Write

KEYS: Final = "api-keys"
EVERY: Final = ApiKeyFilter()
USUAL_ROTATION: Final = KeyRotation()


class ApiKeyCalls(Area):
    """API keys."""

    async def create(self, new: NewApiKey, *, how: Write = ONCE) -> ApiKeyShown:
        """Make a key; its token is told this once."""
        return (await self._connection.write("POST", path_of(KEYS), ApiKeyShown, body=new, how=how)).body

    async def get(self, key: str) -> ApiKeyView:
        """One key, without its secret."""
        return (await self._connection.get(path_of(KEYS, key), ApiKeyView)).body

    def every(self, which: ApiKeyFilter = EVERY) -> AsyncIterator[ApiKeyView]:
        """The keys that the caller sees."""
        return self._every(path_of(KEYS), ApiKeys, which)

    async def rotate(
        self, key: str, rotation: KeyRotation = USUAL_ROTATION, *, how: Write = ONCE
    ) -> ApiKeyShown:
        """Give a key another token; the present one stays valid for a while."""
        path = path_of(KEYS, key, "rotation")
        return (await self._connection.write("POST", path, ApiKeyShown, body=rotation, how=how)).body

    async def suspend(self, key: str, reason: str, *, how: Write = ONCE) -> ApiKeyView:
        """Refuse it, within a second, until it is resumed."""
        return await self._because(key, "suspension", reason, how)

    async def resume(self, key: str, reason: str, *, how: Write = ONCE) -> ApiKeyView:
        """Accept it again."""
        return await self._because(key, "resumption", reason, how)

    async def revoke(self, key: str, *, how: Write = ONCE) -> None:
        """Refuse it for good, within a second."""
        await self._connection.write("DELETE", path_of(KEYS, key), type(None), how=how)

    async def _because(self, key: str, act: str, reason: str, how: Write) -> ApiKeyView:
        path = path_of(KEYS, key, act)
        return (
            await self._connection.write("POST", path, ApiKeyView, body=Reason(reason=reason), how=how)
        ).body
