"""ApiApp: the path of every request under /api/v1/, from its raw target to its answer.

Route, credentials, limits, parameters, body, then the handler: of a write inside one transaction, with the idempotency
key in it. This is the edge at which every error becomes a problem (RFC 9457).
"""

import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import msgspec
import structlog
from aiohttp import web

from protocol.errors import InvalidHandle, InvalidValue, StoreUnavailable
from protocol.runtime.logs import REQUEST_ID_HEADER, choose_request_id, request_scope
from protocol.transport.http import is_tls, peer_host
from registry.accounts.roles import Caller
from registry.api.call import Call, Keep, Reply, Start, lack_of
from registry.api.credentials import Credentials
from registry.api.idempotency import HEADER as IDEMPOTENCY_KEY
from registry.api.idempotency import Claim, Idempotency, KeyTaken, Replayed, claim_of
from registry.api.limits import RateLimits
from registry.api.reading import (
    check_no_body,
    decode_body,
    decode_query,
    read_body,
    read_parameters,
    take_flag,
)
from registry.api.respond import SAFE, problem_response, reply_response
from registry.api.route import Access, Route
from registry.api.router import Router
from registry.api.services import Services
from registry.api.usage import NODE
from registry.gathering import REGISTRATIONS_WAITING, TooManyWaiting
from registry.metrics import RegistryMetrics
from registry.outcomes import Origin
from registry.problem_types import (
    INTERNAL,
    OVERLOADED,
    STORE_UNAVAILABLE,
    TEST_KEY,
    TOO_MANY_REQUESTS,
    UNPROCESSABLE,
    ApiProblem,
    ProblemType,
)
from registry.problem_types.peers import NODE_SIGNATURE
from registry.transaction import Transaction

PATH: Final = "/api/v1/"
SIGNATURE: Final = "Signature-Input"
"""Of RFC 9421: what every request between nodes carries."""
RETRY_AFTER_S: Final = 5
UNMATCHED: Final = "none"
"""Label of a request that meant no operation."""

log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class _Request:
    """What is known of a request while it is worked on."""

    http: web.Request
    id: str
    now: datetime
    route: Route | None = None
    path: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, list[str]] = field(default_factory=dict)
    caller: Caller | None = None
    node_key: str = ""
    signed_body: bytes | None = None
    """The body of a node's request, which its signature covers."""
    headers: dict[str, str] = field(default_factory=dict)
    """What the answer carries whatever becomes of it."""
    identifiers_created: int = 0


class ApiApp:
    """Answers every request under /api/v1/."""

    def __init__(
        self,
        *,
        services: Services,
        routes: Iterable[Route],
        credentials: Credentials,
        metrics: RegistryMetrics,
        limits: RateLimits,
    ) -> None:
        routes = tuple(routes)
        self.idempotency = Idempotency(services.store, services.sealer)
        self._services = services
        self._router = Router(routes)
        self._credentials = credentials
        self._metrics = metrics
        self._limits = limits
        self._wall_clock = services.operations.context.wall_clock
        self._decoders = {
            route.name: msgspec.json.Decoder(route.body) for route in routes if route.body is not None
        }

    async def answer(self, http: web.Request) -> web.Response:
        """Answer a request; raises nothing but cancellation."""
        now = datetime.fromtimestamp(self._wall_clock(), UTC)
        request = _Request(http=http, id=choose_request_id(http.headers.get(REQUEST_ID_HEADER)), now=now)
        with request_scope(request.id):
            response = await self._answer(request)
        if request.node_key:
            self._sign(request, response)
        response.headers.update(request.headers)
        response.headers[REQUEST_ID_HEADER] = request.id
        self._count(request, response.status)
        return response

    def _sign(self, request: _Request, response: web.Response) -> None:
        """Prove to a node that the answer to its request is ours."""
        body = response.body
        assert body is None or isinstance(body, bytes), "answers are whole octets"
        signed = self._services.peers.sign_answer(
            status=response.status, body=body or b"", request_headers=request.http.headers
        )
        response.headers.update(signed)

    async def _answer(self, request: _Request) -> web.Response:
        try:
            return await self._perform(request)
        except Replayed as replayed:
            return replayed.response
        except ApiProblem as problem:
            return problem_response(problem, request.id)
        except StoreUnavailable as error:
            log.warning("store_unavailable", reason=str(error))
            return problem_response(_store_unavailable(request), request.id)
        except TooManyWaiting as error:
            self._metrics.limit_reached(REGISTRATIONS_WAITING)
            return problem_response(_retriable(OVERLOADED, f"{error}."), request.id)
        except (InvalidHandle, InvalidValue) as error:
            return problem_response(ApiProblem(UNPROCESSABLE, str(error)), request.id)
        except Exception as error:
            name = UNMATCHED if request.route is None else request.route.name
            log.error("request_failed", peer=peer_host(request.http), operation=name, exc_info=error)
            return problem_response(ApiProblem(INTERNAL, "Internal error."), request.id)

    async def _perform(self, request: _Request) -> web.Response:
        raw_path = request.http.raw_path.partition("?")[0]
        request.parameters = read_parameters(request.http.raw_path)
        self._credentials.check_target(request.parameters, raw_path)
        if request.http.method == "OPTIONS":
            return web.Response(status=204, headers={**SAFE, "Allow": self._router.methods(raw_path)})
        match = self._router.match(request.http.method, raw_path)
        route = request.route = match.route
        request.path = dict(match.path)
        await self._admit(request, route)
        call = await self._call(request, route)
        if not route.is_write:
            return await self._read(request, route, call)
        return await self._write(request, route, call, self._claim(request, route, call))

    async def _admit(self, request: _Request, route: Route) -> None:
        """Raises ApiProblem unless the request proves what the route takes and is within its limits."""
        match route.access:
            case Access.PUBLIC:
                if route.is_write:
                    self._credentials.check_connection(request.http)
                return
            case Access.NODE:
                await self._admit_node(request, route)
                return
            case Access.RIGHT | Access.SIGNED_IN:
                caller = request.caller = await self._credentials.caller(request.http)
        await self._limit(request, caller)
        if route.right is not None and not caller.may(route.right):
            raise lack_of(route.right)

    async def _admit_node(self, request: _Request, route: Route) -> None:
        if SIGNATURE not in request.http.headers:  # then its body is not worth reading
            raise ApiProblem(NODE_SIGNATURE, "The request is not signed.")
        request.signed_body = (
            b"" if route.body is None else await read_body(request.http, route.body_octets_max)
        )
        self._credentials.check_connection(request.http)
        request.node_key = await self._services.peers.authenticate(
            method=request.http.method,
            raw_target=request.http.raw_path,
            host=peer_host(request.http),
            is_tls=is_tls(request.http),
            headers=request.http.headers,
            body=request.signed_body,
        )

    async def _limit(self, request: _Request, caller: Caller) -> None:
        standing = await self._services.usage.standing(caller.organisation or NODE, request.now)
        bucket = caller.organisation or caller.id
        allowance = self._limits.take(bucket, standing.requests_per_minute, time.monotonic())
        request.headers |= allowance.headers()
        if not allowance.allowed:
            self._metrics.limit_reached("organisation_rate")
            raise ApiProblem(
                TOO_MANY_REQUESTS,
                f"The quota is {allowance.quota} requests a minute.",
                headers={"Retry-After": str(allowance.retry_after_s)},
            )

    async def _call(self, request: _Request, route: Route) -> Call:
        """Decode the request. Raises ApiProblem."""
        http = request.http
        dry_run = route.is_write and take_flag(request.parameters, "dry_run")
        if request.caller is not None and request.caller.test and route.is_write and not dry_run:
            raise ApiProblem(TEST_KEY, "This key was made for tests.")
        return Call(
            request_id=request.id,
            services=self._services,
            origin=_origin(request),
            now=request.now,
            caller=request.caller,
            node_key=request.node_key,
            peer=peer_host(http),
            path=request.path,
            query=decode_query(route.query, request.parameters),
            octets=await self._body(request, route),
            dry_run=dry_run,
            if_match=http.headers.get("If-Match"),
            if_none_match=http.headers.get("If-None-Match"),
            wants_html=_wants_html(http.headers.get("Accept", "")),
        )

    async def _body(self, request: _Request, route: Route) -> bytes:
        if route.body is None:
            check_no_body(request.http)
            return b""
        if request.signed_body is not None:
            return request.signed_body
        return await read_body(request.http, route.body_octets_max)

    def _claim(self, request: _Request, route: Route, call: Call) -> Claim | None:
        key = request.http.headers.get(IDEMPOTENCY_KEY)
        who = request.node_key if request.caller is None else request.caller.id
        if key is None or call.dry_run or not who:
            return None
        return claim_of(
            key,
            caller=who,
            method=route.method,
            raw_target=request.http.raw_path,
            body=call.octets,
        )

    async def _read(self, request: _Request, route: Route, call: Call) -> web.Response:
        self._decode(route, call)
        reply = await route.handler(call)
        if route.audited_read:
            async with self._services.operations.transaction(call.origin) as transaction:
                transaction.audit(route.name, "/".join(call.path.values()), organisation=call.read_of)
        return reply_response(route, reply, if_none_match=call.if_none_match)

    async def _write(self, request: _Request, route: Route, call: Call, claim: Claim | None) -> web.Response:
        self._decode(route, call)
        if claim is None:
            response = await self._in_transaction(route, call, None)
        else:
            with self.idempotency.alone(claim):
                response = await self._once(route, call, claim)
        if call.dry_run:
            response.headers["Dry-Run"] = "true"
        else:
            request.identifiers_created = call.identifiers_created
        return response

    async def _once(self, route: Route, call: Call, claim: Claim) -> web.Response:
        """Perform a write with an idempotency key, or raise Replayed."""
        if not route.eager and (not route.shared or self.idempotency.is_recent(claim)):
            await self.idempotency.recall(claim)
        try:
            return await self._in_transaction(route, call, claim)
        except KeyTaken:
            await self.idempotency.recall(claim)
            raise
        except ApiProblem:
            if route.shared:  # refused since it is there already, maybe by this very request
                await self.idempotency.recall(claim)
            raise

    async def _in_transaction(self, route: Route, call: Call, claim: Claim | None) -> web.Response:
        async with AsyncExitStack() as stack:
            call.start = self._opener(stack, call, claim)
            if claim is not None:
                call.keep = self._keeper(route, claim)
            if route.eager:
                await call.begin()
            reply = await route.handler(call)
            if call.opened is not None:
                await call.settle(call.opened, reply)
        return reply_response(route, reply)

    def _opener(self, stack: AsyncExitStack, call: Call, claim: Claim | None) -> Start:
        async def start() -> Transaction:
            opening = self._services.operations.transaction(call.origin, commit=not call.dry_run)
            transaction = await stack.enter_async_context(opening)
            if claim is not None:
                await self.idempotency.enter(transaction.connection, claim)
            return transaction

        return start

    def _keeper(self, route: Route, claim: Claim) -> Keep:
        def keep(transaction: Transaction, reply: Reply) -> None:
            response = reply_response(route, reply)
            self.idempotency.keep(transaction, claim, response, secret=route.secret_reply)

        return keep

    def _decode(self, route: Route, call: Call) -> None:
        if route.body is not None:
            call.body = decode_body(self._decoders[route.name], call.octets)

    def _count(self, request: _Request, status: int) -> None:
        name = UNMATCHED if request.route is None else request.route.name
        self._metrics.api_answered(name, status)
        if request.caller is not None:
            self._services.usage.count(
                request.caller.organisation or NODE,
                request.now,
                failed=status >= 400,
                identifiers_created=request.identifiers_created,
            )


def _origin(request: _Request) -> Origin:
    if request.caller is not None:
        who, organisation = request.caller.id, request.caller.organisation
        return Origin(actor=who, organisation=organisation, via="api", request_id=request.id)
    if request.node_key:
        return Origin(actor=f"node:{request.node_key}", via="node", request_id=request.id)
    return Origin(actor="anonymous", via="api", request_id=request.id)


def _wants_html(accept: str) -> bool:
    """Whether text/html stands before any other type that we speak; browsers put it first."""
    for part in accept.split(","):
        media = part.partition(";")[0].strip().lower()
        if media in ("text/html", "application/xhtml+xml"):
            return True
        if media.endswith("json") or media == "*/*":
            return False
    return False


def _store_unavailable(request: _Request) -> ApiProblem:
    detail = "The database of this node does not answer."
    if request.route is not None and request.route.is_write:
        detail += (
            " Whether the write was made is unknown; repeating it with the same Idempotency-Key is safe."
        )
    return _retriable(STORE_UNAVAILABLE, detail)


def _retriable(kind: ProblemType, detail: str) -> ApiProblem:
    return ApiProblem(kind, detail, headers={"Retry-After": str(RETRY_AFTER_S)})
