"""/api/prefixes: which prefixes the node homes, told and changed by its administrators (PROTOCOL §8.1)."""

from dataclasses import dataclass

from aiohttp import web

from protocol.codes import OpCode, ResponseCode
from protocol.handle import Handle
from protocol.jsonform import printable, record_to_json
from registry.operations import Operations
from registry.outcomes import Identity
from registry.rest.callers import Callers
from registry.rest.listing import prefix_of, refused
from registry.rest.problem import Problem, json_response
from registry.rest.request import RestRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixesApi:
    """Homing at one node."""

    operations: Operations
    callers: Callers

    async def get(self, request: RestRequest) -> web.Response:
        """Answer with the prefixes that the node homes, as the names of their records."""
        await self._administrator(request, OpCode.LIST_HOMED_PREFIXES)
        names: list[str] = []
        after: bytes | None = b""
        while after is not None:
            page = await self.operations.homed(after=after)
            names += [f"0.NA/{printable(name)}" for name in page.names]
            after = page.after
        body = {
            "responseCode": int(ResponseCode.SUCCESS),
            "totalCount": str(len(names)),
            "prefixes": names,
        }
        return json_response(body, status=200, form=request.form)

    async def home(self, request: RestRequest) -> web.Response:
        """Home the prefix."""
        by = await self._administrator(request, OpCode.HOME_PREFIX)
        result = await self.operations.home(prefix_of(request.about), by=by, origin=request.origin(by))
        if result is not None:
            raise refused(request, result, OpCode.HOME_PREFIX)
        return self._done(request)

    async def unhome(self, request: RestRequest) -> web.Response:
        """Answer for the prefix no more."""
        by = await self._administrator(request, OpCode.UNHOME_PREFIX)
        result = await self.operations.unhome(prefix_of(request.about), by=by, origin=request.origin(by))
        if result is not None:
            raise refused(request, result, OpCode.UNHOME_PREFIX)
        return self._done(request)

    def _done(self, request: RestRequest) -> web.Response:
        record: Handle = prefix_of(request.about).record
        return json_response(record_to_json(ResponseCode.SUCCESS, record), status=200, form=request.form)

    async def _administrator(self, request: RestRequest, operation: OpCode) -> Identity:
        by = await self.callers.required(request)
        if await self.operations.context.is_server_admin(by):
            return by
        message = "This is for administrators of the server (setting server_admins)."
        raise Problem(ResponseCode.INVALID_ADMINISTRATOR, message, handle=request.handle, operation=operation)
