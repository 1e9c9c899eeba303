"""/api/sessions: a challenge is asked for and answered, a session told and ended (PROTOCOL §8.3)."""

from base64 import b64encode
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from protocol.codes import ResponseCode
from protocol.jsonform import printable
from registry.outcomes import Identity
from registry.rest.authentication import parse_authorization
from registry.rest.callers import Callers
from registry.rest.problem import CODE_KEY, HEADERS, Problem, json_response
from registry.rest.proof import CredentialsUnreadable, SessionClaim, read_session_claim
from registry.rest.request import RestRequest, read_object
from registry.rest.sessions import SessionChallenge

THIS_PATH: Final = "/api/sessions/this"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionApi:
    """The sessions of one node, as their clients see them. All of it is for connections that may carry credentials."""

    callers: Callers

    async def open(self, request: RestRequest) -> web.Response:
        """Give a challenge, or a session to who proves by Basic at once who he is."""
        self.callers.check_connection(request)
        claim = await self._claim_of_body(request)
        identity = await self.callers.known(request)
        challenge = self.callers.sessions.challenge()
        if identity is not None:
            await self.callers.sessions.open(challenge, identity)
        signature = await self.callers.signed(request, challenge, claim.cnonce)
        body = _state(challenge, identity, signature)
        if identity is None:
            del body["authenticated"]
        return json_response(body, status=201, form=request.form, headers={"Location": THIS_PATH})

    async def answer(self, request: RestRequest) -> web.Response:
        """Take the answer to a challenge, from body or header; without one the state of the session is told."""
        self.callers.check_connection(request)
        claim = await self._claim_of_body(request)
        in_header = _claim_of_header(request) if claim.proof is None else None
        if in_header is not None and in_header.proof is not None:
            claim = in_header
        challenge = self._challenge(request, claim)
        if claim.proof is None:
            return await self._told(request, challenge, claim.cnonce)
        identity = await self.callers.prove(request, challenge, claim)
        return json_response(_state(challenge, identity, {}), status=200, form=request.form)

    async def show(self, request: RestRequest) -> web.Response:
        """Tell whose session it is."""
        self.callers.check_connection(request)
        return await self._told(request, self._challenge(request, None), b"")

    async def end(self, request: RestRequest) -> web.Response:
        """End the session."""
        self.callers.check_connection(request)
        await self.callers.sessions.end(self._challenge(request, None))
        response = web.Response(status=204, headers=HEADERS)
        response[CODE_KEY] = int(ResponseCode.SUCCESS)
        return response

    async def _told(self, request: RestRequest, challenge: SessionChallenge, cnonce: bytes) -> web.Response:
        identity = await self.callers.holder(challenge)
        if identity is None and not await self.callers.sessions.is_waiting(challenge):
            raise _unknown()
        signature = await self.callers.signed(request, challenge, cnonce)
        return json_response(_state(challenge, identity, signature), status=200, form=request.form)

    async def _claim_of_body(self, request: RestRequest) -> SessionClaim:
        try:
            return read_session_claim(await read_object(request.http), is_header=False)
        except CredentialsUnreadable as error:
            raise Problem(ResponseCode.PROTOCOL_ERROR, str(error)) from None

    def _challenge(self, request: RestRequest, claim: SessionClaim | None) -> SessionChallenge:
        """The challenge that the body or else the header names. Raises Problem 403 when it is none of ours."""
        session_id = "" if claim is None else claim.session_id
        in_header = None if session_id else _claim_of_header(request)
        if in_header is not None:
            session_id = in_header.session_id
        challenge = self.callers.sessions.read(session_id) if session_id else None
        if challenge is None:
            raise _unknown()
        return challenge


def _claim_of_header(request: RestRequest) -> SessionClaim | None:
    header = request.http.headers.get("Authorization")
    if header is None:
        return None
    try:
        said = parse_authorization(header)
    except CredentialsUnreadable as error:
        raise Problem(ResponseCode.PROTOCOL_ERROR, str(error)) from None
    return said if isinstance(said, SessionClaim) else None


def _unknown() -> Problem:
    message = "There is no such session: it is over, or was never opened."
    return Problem(ResponseCode.AUTHENTICATION_NEEDED, message, status=403)


def _state(
    challenge: SessionChallenge, identity: Identity | None, signature: dict[str, str]
) -> dict[str, Any]:
    state: dict[str, Any] = {
        "sessionId": challenge.session_id,
        "nonce": b64encode(challenge.nonce).decode(),
        "authenticated": identity is not None,
    }
    if identity is not None:
        state["id"] = f"{identity.index}:{printable(identity.handle.octets)}"
    return state | signature
