"""Who a request comes from: what it says of that is checked, and who has to say it is asked to (PROTOCOL §8.3)."""

from base64 import b64encode
from dataclasses import dataclass
from typing import Final

from protocol.codes import ResponseCode
from protocol.transport.http import is_tls, peer_host
from protocol.transport.source import source_network
from registry.identities import Identities
from registry.key_work import Crowded
from registry.metrics import RegistryMetrics
from registry.outcomes import Identity
from registry.plain_http import PlainHttpRule, refusal_of_plain_http
from registry.rest.authentication import USER_NAME_FORM, Credentials, parse_authorization
from registry.rest.problem import Problem
from registry.rest.proof import CredentialsUnreadable, Proof, SessionClaim
from registry.rest.request import RestRequest
from registry.rest.server_signature import ServerSignature, Signatures
from registry.rest.sessions import HttpSessions, SessionChallenge

BASIC: Final = "basic"
HANDLE: Final = "handle"
BASIC_CHALLENGE: Final = 'Basic realm="handle", charset="UTF-8"'
BUSY_RETRY_S: Final = 1
_SCRIPT: Final = "XMLHttpRequest"
"""What X-Requested-With says of a script: a browser would ask its user for a password on its behalf."""
_UNPROVED: Final = "The credentials fit no key that this server can check."
_OVER: Final = "The session is over or was never opened; answer the challenge."


@dataclass(frozen=True, slots=True, kw_only=True)
class Callers:
    """Finds out whom a request comes from. Raises Problem 401 for what proves nothing, 403 on an open connection."""

    identities: Identities
    sessions: HttpSessions
    signatures: Signatures
    metrics: RegistryMetrics
    plain_http_credentials: PlainHttpRule

    async def required(self, request: RestRequest) -> Identity:
        """Who asks; raises Problem 401, with a challenge, when nobody says so."""
        identity = await self.known(request)
        if identity is not None:
            return identity
        self.metrics.authenticated(BASIC, "missing")
        self.check_connection(request)
        claim = self._claim(request)
        message = f"Credentials are needed: the Handle scheme, or Basic. {USER_NAME_FORM}"
        raise await self.unauthenticated(
            request,
            ResponseCode.AUTHENTICATION_NEEDED,
            message,
            cnonce=b"" if claim is None else claim.cnonce,
        )

    async def known(self, request: RestRequest) -> Identity | None:
        """Who asks, when he says so; None for anybody."""
        header = request.http.headers.get("Authorization")
        if header is None:
            return None
        self.check_connection(request)
        try:
            credentials = parse_authorization(header)
        except CredentialsUnreadable as error:
            self.metrics.authenticated(BASIC, "unreadable")
            raise await self.unauthenticated(
                request, ResponseCode.AUTHENTICATION_NEEDED, str(error)
            ) from None
        if isinstance(credentials, Credentials):
            return await self._by_password(request, credentials)
        return await self._by_session(request, credentials)

    async def prove(self, request: RestRequest, challenge: SessionChallenge, claim: SessionClaim) -> Identity:
        """Open a session with the proof of a claim; raises Problem 401 when it proves nothing."""
        proof = claim.proof
        assert proof is not None
        identity = await self._checked(request, challenge, claim.cnonce, proof)
        if identity is not None and not await self.sessions.open(challenge, identity):
            self.metrics.authenticated(HANDLE, "failed")
            raise await self.unauthenticated(request, ResponseCode.AUTHENTICATION_NEEDED, _OVER)
        self.metrics.authenticated(HANDLE, "failed" if identity is None else "success")
        if identity is None:
            raise await self.unauthenticated(request, ResponseCode.AUTHENTICATION_FAILED, _UNPROVED)
        return identity

    async def signed(
        self, request: RestRequest, challenge: SessionChallenge, cnonce: bytes
    ) -> ServerSignature | None:
        """What proves to the client who we are; None when it does not ask, or too many do."""
        if not cnonce:
            return None
        return await self.signatures.sign(challenge.nonce + cnonce, source_of(request))

    async def unauthenticated(
        self, request: RestRequest, code: ResponseCode, message: str, *, cnonce: bytes = b""
    ) -> Problem:
        """The 401 that asks for credentials; code: 402 none came, 403 they prove nothing."""
        challenge = self.sessions.challenge()
        text = f'Handle sessionId="{challenge.session_id}", nonce="{b64encode(challenge.nonce).decode()}"'
        if code == ResponseCode.AUTHENTICATION_FAILED:
            text += ', error="Identity not verified"'
        signature = await self.signed(request, challenge, cnonce)
        if signature is not None:
            text += f', serverAlg="{signature.algorithm}", serverSignature="{signature.text}"'
        challenges = [text] if _knows_scheme(request) else [BASIC_CHALLENGE, text]
        return Problem(code, message, status=401, handle=request.handle, challenges=challenges)

    def check_connection(self, request: RestRequest) -> None:
        """Raise Problem 403 when this connection must not carry a credential."""
        reason = refusal_of_plain_http(
            is_tls=is_tls(request.http),
            peer_host=peer_host(request.http),
            rule=self.plain_http_credentials,
        )
        if reason is not None:
            self.metrics.authenticated(BASIC, "refused")
            raise Problem(ResponseCode.AUTHENTICATION_NEEDED, reason, status=403, handle=request.handle)

    def _claim(self, request: RestRequest) -> SessionClaim | None:
        header = request.http.headers.get("Authorization")
        claim = None if header is None else parse_authorization(header)
        return claim if isinstance(claim, SessionClaim) else None

    async def _by_password(self, request: RestRequest, given: Credentials) -> Identity:
        claimed = Identity(index=given.index, handle=given.handle)
        identity = await self.identities.by_secret(claimed, given.secret)
        self.metrics.authenticated(BASIC, "failed" if identity is None else "success")
        if identity is None:
            raise await self.unauthenticated(request, ResponseCode.AUTHENTICATION_FAILED, _UNPROVED)
        return identity

    async def _by_session(self, request: RestRequest, claim: SessionClaim) -> Identity | None:
        if not claim.session_id:
            return None  # a challenge is wanted, with a signature of ours over the cnonce
        challenge = self.sessions.read(claim.session_id)
        if challenge is None:
            self.metrics.authenticated(HANDLE, "failed")
            raise await self.unauthenticated(request, ResponseCode.AUTHENTICATION_NEEDED, _OVER)
        if claim.proof is not None:
            return await self.prove(request, challenge, claim)
        identity = await self.holder(challenge)
        if identity is None:
            self.metrics.authenticated(HANDLE, "failed")
            raise await self.unauthenticated(request, ResponseCode.AUTHENTICATION_NEEDED, _OVER)
        return identity

    async def holder(self, challenge: SessionChallenge) -> Identity | None:
        """Who holds a session, unless his organisation is suspended meanwhile."""
        identity = await self.sessions.holder(challenge)
        return None if identity is None or await self.identities.is_barred(identity) else identity

    async def _checked(
        self, request: RestRequest, challenge: SessionChallenge, cnonce: bytes, proof: Proof
    ) -> Identity | None:
        try:
            return await self.identities.by_answer(
                proof.claimed,
                proof.kind,
                challenge.with_cnonce(cnonce),
                proof.answer,
                source=source_of(request),
            )
        except Crowded:
            raise busy() from None


def _knows_scheme(request: RestRequest) -> bool:
    """Whether a client answers the Handle scheme itself, so that a browser shall not ask for a password."""
    headers = request.http.headers
    is_script = headers.get("X-Requested-With") == _SCRIPT
    return is_script or headers.get("Authorization", "").lower().startswith("handle ")


def source_of(request: RestRequest) -> str:
    """The network that a request comes from."""
    return source_network(peer_host(request.http))


def busy() -> Problem:
    """The answer while too many keys are being checked."""
    headers = {"Retry-After": str(BUSY_RETRY_S)}
    return Problem(
        ResponseCode.SERVER_TOO_BUSY, "Too many keys are being checked; ask again.", headers=headers
    )
