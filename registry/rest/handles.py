"""GET, POST, PUT and DELETE of /api/handles/<handle> (PROTOCOL §8.2): parse, call the operation, format its result."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import web

from protocol.codes import OpCode, ResponseCode, http_status
from protocol.handle import Handle
from protocol.jsonform import record_to_json
from protocol.jsonform.output import printable
from protocol.runtime.logs import REQUEST_ID_HEADER
from protocol.transport.http_cache import REUSE, Reuse
from protocol.value import HandleValue, ValueList
from registry.operations import Operations, minted
from registry.outcomes import (
    CACHE_TIME_MAX_S,
    Answer,
    Created,
    Creation,
    Denied,
    Found,
    Identity,
    Referred,
    Rejected,
    Replaced,
    Result,
    Unchanged,
)
from registry.rest.callers import Callers
from registry.rest.problem import CODE_KEY, Problem, json_response
from registry.rest.request import RestRequest
from registry.rest.values import encode_values, is_about_single_values, parse_values, read_json
from registry.single_creations import SingleCreations
from registry.statistics import RegistryObserver


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlesApi:
    """The record API of one node. Every method gives an answer or raises HandleError."""

    operations: Operations
    creations: SingleCreations
    callers: Callers
    observer: RegistryObserver
    default_ttl_s: int

    async def get(self, request: RestRequest) -> web.Response:
        """Answer GET and HEAD; who authenticates also reads restricted values, unless `publicOnly` is set."""
        target = request.target
        reader = await self.callers.known(request)
        public_only = target.flag("publicOnly", default=reader is None)
        outcome = await self.operations.resolve(
            request.about,
            indexes=target.indexes(),
            types=target.types(),
            refer=not target.flag("doNotRefer"),
            reader=None if public_only else reader,
            public_only=public_only,
        )
        if isinstance(outcome, Denied) and outcome.code is ResponseCode.AUTHENTICATION_NEEDED:
            await self.callers.required(request)
        response = _read(request, outcome)
        if reader is None:
            if not target.flag("auth"):
                response[REUSE] = _reuse(outcome, response[CODE_KEY])
        elif isinstance(outcome, Found):
            await self.operations.note_reading(request.about, outcome.values, request.origin(reader))
        return response

    async def put(self, request: RestRequest) -> web.Response:
        """Create or replace a record, or with `index` add or replace single values."""
        by = await self.callers.required(request)
        values = parse_values(await read_json(request.http), default_ttl_s=self.default_ttl_s)
        encoded = encode_values(values)
        overwrite = request.target.flag("overwrite", default=True)
        if request.target.flag("mintNewSuffix"):
            return await self._create(request, _mint(request), encoded, by, overwrite=False)
        if not is_about_single_values(request.target, values):
            return await self._create(request, request.about, encoded, by, overwrite=overwrite)
        result = await self.operations.put_values(
            request.about, encoded, by=by, overwrite=overwrite, origin=request.origin(by)
        )
        return self._written(request, OpCode.ADD_VALUE, result)

    async def delete(self, request: RestRequest) -> web.Response:
        """Delete a record, or with `index` single values."""
        by = await self.callers.required(request)
        indexes = request.target.indexes()
        if indexes:
            result = await self.operations.remove_values(
                request.about, indexes, by=by, origin=request.origin(by)
            )
            return self._written(request, OpCode.REMOVE_VALUE, result)
        (result,) = await self.operations.delete([request.about], by=by, origin=request.origin(by))
        return self._written(request, OpCode.DELETE_HANDLE, result)

    async def _create(
        self, request: RestRequest, handle: Handle, values: ValueList, by: Identity, *, overwrite: bool
    ) -> web.Response:
        result = await self.creations.create(
            Creation(handle, values), by=by, replace=overwrite, origin=request.origin(by)
        )
        if isinstance(result, Unchanged) and not overwrite:  # that it exists is what was excluded
            result = Rejected(handle, ResponseCode.HANDLE_ALREADY_EXISTS, "")
        return self._written(request, OpCode.CREATE_HANDLE, result)

    def _written(self, request: RestRequest, operation: OpCode, result: Result) -> web.Response:
        self.observer.registered("rest", operation, result)
        if isinstance(result, Rejected):
            raise Problem(result.code, result.message, handle=request.handle, operation=operation)
        status = http_status(ResponseCode.SUCCESS, created=_made_something(operation, result))
        body = record_to_json(ResponseCode.SUCCESS, result.handle)
        return json_response(body, status=status, form=request.form)


def _mint(request: RestRequest) -> Handle:
    """A new name that begins as the URL says. Raises Problem 102 when that has no slash, InvalidHandle for too long."""
    if b"/" not in request.about.octets:
        message = (
            "A new suffix is added to a prefix and a slash, such as /api/handles/88.100/?mintNewSuffix=true."
        )
        raise Problem(ResponseCode.INVALID_HANDLE, message, handle=request.handle)
    return minted(request.about)


def _read(request: RestRequest, outcome: Answer) -> web.Response:
    values: Iterable[HandleValue] | None
    code, message = ResponseCode.SUCCESS, ""
    match outcome:
        case Found():
            values = outcome.values.sorted()
        case Referred():
            code, values = outcome.code, outcome.values.sorted()
        case Denied():
            code, message = outcome.code, outcome.message
            values = () if code is ResponseCode.VALUES_NOT_FOUND else None
    body = record_to_json(code, request.handle, values=values, message=message)
    if isinstance(outcome, Found) and outcome.made_from is not None and request.target.flag("explain"):
        body["explain"] = {"template": {"base": printable(outcome.made_from.octets)}}
    return json_response(body, status=http_status(code), form=request.form)


def _reuse(outcome: Answer, code: int) -> Reuse:
    """An answer of public values may be given again by this process, which knows when it is no longer true."""
    life_s: float = CACHE_TIME_MAX_S
    if isinstance(outcome, Found):
        life_s = min(life_s, outcome.values.smallest_ttl_s(time.time()))
    return Reuse(
        operation=OpCode.RESOLUTION,
        code=code,
        until_s=time.monotonic() + life_s,
        stamp=outcome.stamp,
        id_field=REQUEST_ID_HEADER,
        despite_no_store=True,
    )


def _made_something(operation: OpCode, result: Result) -> bool:
    """Tell whether a write made something new (201) instead of changing what was there (200)."""
    match result:
        case Created():
            return True
        case Replaced(overwritten=overwritten):
            return operation is OpCode.ADD_VALUE and not overwritten
        case _:
            return False
