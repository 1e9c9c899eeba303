"""GET, PUT and DELETE of /api/handles/<handle> (PROTOCOL §8.2): parse, call the operation, format its result."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from protocol.codes import OpCode, ResponseCode, http_status
from protocol.handle import Handle
from protocol.jsonform import record_to_json
from protocol.jsonform.output import printable
from protocol.runtime.logs import REQUEST_ID_HEADER
from protocol.transport.http import is_tls, peer_host
from protocol.transport.http_cache import REUSE, Reuse
from protocol.transport.http_target import Target
from protocol.value import HandleValue, Permission, ValueList
from registry.metrics import RegistryMetrics
from registry.operations import Operations
from registry.outcomes import (
    CACHE_TIME_MAX_S,
    Answer,
    Created,
    Creation,
    Denied,
    Found,
    Identity,
    Origin,
    Referred,
    Rejected,
    Replaced,
    Result,
    Unchanged,
)
from registry.plain_http import PlainHttpRule, refusal_of_plain_http
from registry.rest.authentication import (
    USER_NAME_FORM,
    CredentialsUnreadable,
    parse_authorization,
)
from registry.rest.problem import CODE_KEY, Problem, json_response, unauthenticated
from registry.rest.values import encode_values, is_about_single_values, parse_values, read_json
from registry.statistics import RegistryObserver
from registry.work import target_text

SCHEME: Final = "basic"
READING: Final = "identifier.read_restricted"
"""What the audit log calls it when somebody is told values that are not public, whatever front end he asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandleRequest:
    """One request about one handle."""

    http: web.Request
    target: Target
    handle: Handle
    request_id: str

    def origin(self, by: Identity) -> Origin:
        """Who does it, for the audit log."""
        actor = f"{by.index}:{target_text(by.handle.octets)}"
        return Origin(actor=actor, via="rest", request_id=self.request_id)

    @property
    def pretty(self) -> bool:
        """Whether the answer shall be indented."""
        return self.target.flag("pretty")


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlesApi:
    """The record API of one node. Every method gives an answer or raises HandleError."""

    operations: Operations
    metrics: RegistryMetrics
    observer: RegistryObserver
    plain_http_credentials: PlainHttpRule
    default_ttl_s: int

    async def get(self, request: HandleRequest) -> web.Response:
        """Answer GET and HEAD; who authenticates also reads restricted values, unless `publicOnly` is set."""
        target = request.target
        indexes, types = target.indexes(), target.types()
        reader = await self._identity(request)
        outcome = await self.operations.resolve(
            request.handle,
            indexes=indexes,
            types=types,
            refer=not target.flag("doNotRefer"),
            reader=None if target.flag("publicOnly") else reader,
        )
        response = _read(request, outcome)
        if reader is None:
            if not target.flag("auth"):
                response[REUSE] = _reuse(outcome, response[CODE_KEY])
        elif isinstance(outcome, Found):
            await self._note_reading(request, reader, outcome.values)
        return response

    async def put(self, request: HandleRequest) -> web.Response:
        """Create or replace a record, or with `index` add or replace single values."""
        by = await self._administrator(request)
        target, handle = request.target, request.handle
        if target.flag("mintNewSuffix"):
            raise Problem(ResponseCode.OPERATION_NOT_SUPPORTED, "This server mints no suffixes.")
        values = parse_values(await read_json(request.http), default_ttl_s=self.default_ttl_s)
        encoded = encode_values(values)
        overwrite = target.flag("overwrite", default=True)
        if is_about_single_values(target, values):
            result = await self.operations.put_values(
                handle, encoded, by=by, overwrite=overwrite, origin=request.origin(by)
            )
            return self._written(request, OpCode.ADD_VALUE, result)
        (result,) = await self.operations.create(
            [Creation(handle, encoded)],
            by=by,
            replace=overwrite,
            inherit_admin=True,
            origin=request.origin(by),
        )
        if isinstance(result, Unchanged) and not overwrite:  # that it exists is what was excluded
            result = Rejected(handle, ResponseCode.HANDLE_ALREADY_EXISTS, "")
        return self._written(request, OpCode.CREATE_HANDLE, result)

    async def delete(self, request: HandleRequest) -> web.Response:
        """Delete a record, or with `index` single values."""
        by = await self._administrator(request)
        indexes = request.target.indexes()
        if indexes:
            result = await self.operations.remove_values(
                request.handle, indexes, by=by, origin=request.origin(by)
            )
            return self._written(request, OpCode.REMOVE_VALUE, result)
        (result,) = await self.operations.delete([request.handle], by=by, origin=request.origin(by))
        return self._written(request, OpCode.DELETE_HANDLE, result)

    def _written(self, request: HandleRequest, operation: OpCode, result: Result) -> web.Response:
        self.observer.registered("rest", operation, result)
        if isinstance(result, Rejected):
            raise Problem(result.code, result.message, handle=request.handle, operation=operation)
        status = http_status(ResponseCode.SUCCESS, created=_made_something(operation, result))
        body = record_to_json(ResponseCode.SUCCESS, request.handle)
        return json_response(body, status=status, pretty=request.pretty)

    async def _note_reading(self, request: HandleRequest, by: Identity, values: ValueList) -> None:
        """Enter into the audit log, before they are told, that values are read which are not public."""
        if any(not value.permissions & Permission.PUBLIC_READ for value in values):
            async with self.operations.transaction(request.origin(by)) as transaction:
                held = (await transaction.table(request.handle)).rows.get(request.handle.prefix.key)
                holder = None if held is None else held.organisation
                transaction.audit(READING, target_text(request.handle.octets), organisation=holder)

    async def _administrator(self, request: HandleRequest) -> Identity:
        """Return who writes; raises Problem 401 when nobody says so, 403 when a password could not travel here."""
        identity = await self._identity(request)
        if identity is not None:
            return identity
        self.metrics.authenticated(SCHEME, "missing")
        self._check_connection(request)
        message = f"Credentials are needed: Basic authentication. {USER_NAME_FORM}"
        raise unauthenticated(ResponseCode.AUTHENTICATION_NEEDED, message, request.handle)

    async def _identity(self, request: HandleRequest) -> Identity | None:
        """Return who has proved to be whom; None when no credentials came. Raises Problem 401 or 403."""
        header = request.http.headers.get("Authorization")
        if header is None:
            return None
        self._check_connection(request)
        try:
            claimed = parse_authorization(header)
        except CredentialsUnreadable as error:
            self.metrics.authenticated(SCHEME, "unreadable")
            raise unauthenticated(ResponseCode.AUTHENTICATION_NEEDED, str(error), request.handle) from None
        identity = await self.operations.authenticate(
            Identity(index=claimed.index, handle=claimed.handle), claimed.secret
        )
        self.metrics.authenticated(SCHEME, "failed" if identity is None else "success")
        if identity is None:
            message = "The credentials fit no HS_SECKEY value that is stored on this server."
            raise unauthenticated(ResponseCode.AUTHENTICATION_FAILED, message, request.handle)
        return identity

    def _check_connection(self, request: HandleRequest) -> None:
        """Raise Problem 403 when this connection must not carry a password."""
        reason = refusal_of_plain_http(
            is_tls=is_tls(request.http),
            peer_host=peer_host(request.http),
            rule=self.plain_http_credentials,
        )
        if reason is not None:
            self.metrics.authenticated(SCHEME, "refused")
            raise Problem(ResponseCode.AUTHENTICATION_NEEDED, reason, status=403, handle=request.handle)


def _read(request: HandleRequest, outcome: Answer) -> web.Response:
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
    return json_response(body, status=http_status(code), pretty=request.pretty)


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
