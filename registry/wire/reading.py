"""Reading over the wire: resolution, site information, verification of somebody's answer, and the node's status.

An authority answers alike with AUTH and without, and never goes on to ask others, whatever RECU permits.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from protocol.admin_bodies import VerifyRequest, VerifyResponse
from protocol.bodies import ErrorBody, ReferralBody, ResolutionRequest, ResolutionResponse, SiteInfoResponse
from protocol.challenge import Challenge
from protocol.codes import OpFlag, ResponseCode
from protocol.handle import Handle
from protocol.runtime.wire_server import SITE_ANSWER_LIFE_S
from protocol.site import Site
from protocol.value import HandleValue, ValueList
from registry.elsewhere import LOOKUP_S
from registry.operations import Operations
from registry.outcomes import CACHE_TIME_MAX_S, Answer, Denied, Found, Identity, Referred
from registry.record import Refusal
from registry.wire.administration import Administration
from registry.wire.call import Call, Unproven
from registry.wire.proofs import Proofs
from registry.wire.response import Response
from registry.wire.status import STATUS_HANDLE, Status

HEARTBEAT: Final = b"0"
"""What IDIS clients resolve to see whether a connection lives (DOMAIN.md §3.5, 11)."""
_HS_SITE: Final = "HS_SITE"


class Readings:
    """Reads at one node. Every method raises Refusal, HandleError, or Unproven for who must say who he is."""

    def __init__(
        self,
        operations: Operations,
        site: Site,
        *,
        proofs: Proofs,
        status: Status,
        administration: Administration,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        answer_time_max_s: float,
    ) -> None:
        self._operations = operations
        self._site = site
        self._proofs = proofs
        self._status = status
        self._administration = administration
        self._clock = clock
        self._wall_clock = wall_clock
        self._answer_time_max_s = answer_time_max_s

    async def resolve(self, call: Call) -> Response:
        """OC 1: public values; others too for who may read them and has left out PUBL, or has logged in."""
        question = ResolutionRequest.decode(call.request.body)
        if question.handle.octets == HEARTBEAT:
            return Response(code=ResponseCode.HANDLE_NOT_FOUND, body=ErrorBody().encode())
        if question.handle == STATUS_HANDLE:
            return await self._tell_status(call, question)
        outcome = await self._outcome(call, question)
        if isinstance(outcome, Denied):
            outcome = await self._own_site(question, outcome)
        if call.identity is not None and isinstance(outcome, Found):
            await self._operations.note_reading(question.handle, outcome.values, call.origin)
        return self._response(question.handle, outcome, repeatable=call.identity is None)

    async def site_info(self, call: Call) -> Response:
        """OC 2: our own site record, bare; what the request names does not matter."""
        body = SiteInfoResponse(site=self._site).encode()
        return Response(body=body, expires_s=self._clock() + SITE_ANSWER_LIFE_S)

    async def verify(self, call: Call) -> Response:
        """OC 201: whether an answer was made with a secret that is stored here; what is not stored made none.

        Anybody may ask; the desk bounds what that costs.
        """
        body = VerifyRequest.decode(call.request.body)
        claimed = Identity(index=body.key.index, handle=Handle.parse(body.key.handle))
        challenge = Challenge(body.nonce, body.digest)
        proven = await self._proofs.prove_secret(challenge, claimed, body.answer, network=call.network)
        return Response(body=VerifyResponse(valid=proven is not None).encode())

    async def _outcome(self, call: Call, question: ResolutionRequest) -> Answer:
        """What the record says. Raises Unproven when restricted values are asked for by nobody in particular."""
        only_public = call.request.has(OpFlag.PUBL)
        reader = None if only_public and not call.is_logged_in else call.identity
        outcome = await self._ask(call, question, reader, public_only=only_public)
        if isinstance(outcome, Denied) and outcome.code is ResponseCode.AUTHENTICATION_NEEDED:
            raise Unproven
        may_not = isinstance(outcome, Denied) and outcome.code is ResponseCode.INVALID_ADMINISTRATOR
        if not may_not:
            call.end_trial()
        elif only_public:  # of who has logged in for other things
            return await self._ask(call, question, None, public_only=True)
        return outcome

    async def _ask(
        self, call: Call, question: ResolutionRequest, reader: Identity | None, *, public_only: bool
    ) -> Answer:
        looking_s = 0.0 if reader is None else LOOKUP_S  # for groups of other nodes that the reader may be in
        async with asyncio.timeout(self._answer_time_max_s + looking_s):
            return await self._operations.resolve(
                question.handle,
                indexes=question.indexes,
                types=question.types,
                refer=not call.request.has(OpFlag.DNRF),
                reader=reader,
                public_only=public_only,
            )

    async def _own_site(self, question: ResolutionRequest, denied: Denied) -> Answer:
        """Where a prefix that is homed here is served, for clients that ask its own node for it by its bare name.

        The record itself lies with the node above, and 0.NA/<prefix> is answered there alone (DOMAIN.md §3.5, 6).
        """
        name = question.handle
        if denied.code is not ResponseCode.SERVER_NOT_RESPONSIBLE or b"/" in name.octets:
            return denied
        if _HS_SITE not in (
            wanted.upper() for wanted in question.types
        ):  # others are told 301, as everywhere
            return denied
        row = await self._operations.context.prefixes.row(name.octets.upper())
        if row is None or not row.homed:
            return denied
        site = HandleValue(index=1, type=_HS_SITE, data=self._site.encode(), ttl=int(SITE_ANSWER_LIFE_S))
        values = ValueList.of([site]).select(question.indexes, question.types)
        return Found(handle=name, values=values, stamp=denied.stamp) if values.count else denied

    async def _tell_status(self, call: Call, question: ResolutionRequest) -> Response:
        if call.request.has(OpFlag.PUBL) and not call.is_logged_in:
            raise Refusal(ResponseCode.VALUES_NOT_FOUND, "")
        await self._administration.check_server_admin(call)
        values = (await self._status.values()).select(question.indexes, question.types)
        if not values.count:
            raise Refusal(ResponseCode.VALUES_NOT_FOUND, "")
        return Response(body=ResolutionResponse(handle=question.handle, values=values).encode())

    def _response(self, handle: Handle, outcome: Answer, *, repeatable: bool) -> Response:
        """repeatable: whether everybody may have it."""
        expires_s = self._clock() + CACHE_TIME_MAX_S if repeatable else None
        match outcome:
            case Found(values=values, stamp=stamp):
                body = ResolutionResponse(handle=handle, values=values).encode()
                if expires_s is not None:
                    expires_s = min(expires_s, self._clock() + values.smallest_ttl_s(self._wall_clock()))
                return Response(body=body, expires_s=expires_s, stamp=stamp)
            case Referred(code=code, values=values, stamp=stamp):
                body = ReferralBody(values=values).encode()
                return Response(code=code, body=body, expires_s=expires_s, stamp=stamp)
            case Denied(code=code, message=message, stamp=stamp):
                body = ErrorBody(message=message).encode()
                return Response(code=code, body=body, expires_s=expires_s, stamp=stamp)
