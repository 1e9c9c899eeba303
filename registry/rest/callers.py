"""Who a request comes from: what it says of that is checked, and who has to say it is asked to (PROTOCOL §8.3)."""

from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from protocol.codes import ResponseCode
from protocol.errors import WireError
from protocol.runtime.signing import Signer, TooManySignatures
from protocol.signature import SHA256
from protocol.transport.base import Peer
from protocol.transport.http import is_tls, peer_host
from protocol.transport.source import source_network
from registry.metrics import RegistryMetrics
from registry.operations import Operations
from registry.outcomes import Identity
from registry.plain_http import PlainHttpRule, refusal_of_plain_http
from registry.rest.authentication import USER_NAME_FORM, Credentials, parse_authorization
from registry.rest.problem import Problem
from registry.rest.proof import CredentialsUnreadable, SessionClaim
from registry.rest.request import RestRequest
from registry.rest.sessions import HttpSessions, SessionChallenge
from registry.wire.proofs import Proofs, Unreadable

BASIC: Final = "basic"
HANDLE: Final = "handle"
BASIC_CHALLENGE: Final = 'Basic realm="handle", charset="UTF-8"'
_SCRIPT: Final = "XMLHttpRequest"
"""What X-Requested-With says of a script: a browser would ask its user for a password on its behalf."""
_NEEDED: Final = f"Credentials are needed: the Handle scheme, or Basic. {USER_NAME_FORM}"
_UNPROVED: Final = "The credentials fit no key that this server can check."
_OVER: Final = "The session is over, or was never opened; answer the challenge."
_NO_CERTIFICATES: Final = "Client certificates are not read here; use a secret, or sign the challenge."


@dataclass(frozen=True, slots=True, kw_only=True)
class Callers:
    """Finds out whom a request comes from. Raises Problem 401 for what proves nothing, 403 on an open connection."""

    operations: Operations
    proofs: Proofs
    sessions: HttpSessions
    signer: Signer
    metrics: RegistryMetrics
    plain_http_credentials: PlainHttpRule

    async def required(self, request: RestRequest) -> Identity:
        """Who asks; raises Problem 401, with a challenge, when nobody says so."""
        said = await self._said(request)
        identity = await self._known(request, said)
        if identity is not None:
            return identity
        self.metrics.authenticated(BASIC if said is None else HANDLE, "missing")
        self.check_connection(request)
        cnonce = said.cnonce if isinstance(said, SessionClaim) else b""
        raise await self.unauthenticated(request, ResponseCode.AUTHENTICATION_NEEDED, _NEEDED, cnonce=cnonce)

    async def known(self, request: RestRequest) -> Identity | None:
        """Who asks, when he says so; None for anybody."""
        return await self._known(request, await self._said(request))

    async def holder(self, challenge: SessionChallenge) -> Identity | None:
        """Who holds a session, unless his organisation is suspended meanwhile."""
        identity = await self.sessions.holder(challenge)
        is_barred = self.operations.is_barred
        if identity is None or is_barred is None or not await is_barred(identity):
            return identity
        return None

    async def prove(self, request: RestRequest, challenge: SessionChallenge, claim: SessionClaim) -> Identity:
        """Open a session with the proof of a claim; raises Problem 401 when it proves nothing."""
        assert claim.proof is not None
        network = source_network(peer_host(request.http))
        with unreadable_proofs():
            identity = await self.proofs.prove(
                challenge.with_cnonce(claim.cnonce), claim.proof, network=network
            )
        if identity is None:
            raise await self.unauthenticated(request, ResponseCode.AUTHENTICATION_FAILED, _UNPROVED)
        if not await self.sessions.open(challenge, identity):
            raise await self._over(request)
        return identity

    async def signed(
        self, request: RestRequest, challenge: SessionChallenge, cnonce: bytes
    ) -> dict[str, str]:
        """What proves to the client who we are; nothing when it adds no cnonce, or asks for too many."""
        if not cnonce:
            return {}
        try:
            signature = await self.signer.sign_octets(
                challenge.nonce + cnonce, Peer(peer_host(request.http), 0, "http")
            )
        except TooManySignatures:
            return {}
        return {"serverAlg": SHA256, "serverSignature": b64encode(signature).decode()}

    async def unauthenticated(
        self, request: RestRequest, code: ResponseCode, message: str, *, cnonce: bytes = b""
    ) -> Problem:
        """The 401 that asks for credentials; code: 402 none came, 403 they prove nothing."""
        challenge = self.sessions.challenge()
        fields = {"sessionId": challenge.session_id, "nonce": b64encode(challenge.nonce).decode()}
        if code == ResponseCode.AUTHENTICATION_FAILED:
            fields["error"] = "Identity not verified"
        fields |= await self.signed(request, challenge, cnonce)
        handle = "Handle " + ", ".join(f'{name}="{value}"' for name, value in fields.items())
        challenges = [handle] if _knows_scheme(request) else [BASIC_CHALLENGE, handle]
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

    async def _said(self, request: RestRequest) -> Credentials | SessionClaim | None:
        header = request.http.headers.get("Authorization")
        if header is None:
            return None
        self.check_connection(request)
        try:
            return parse_authorization(header)
        except CredentialsUnreadable as error:
            scheme = HANDLE if _knows_scheme(request) else BASIC
            self.metrics.authenticated(scheme, "unreadable")
            code = ResponseCode.AUTHENTICATION_NEEDED
            raise await self.unauthenticated(request, code, str(error)) from None

    async def _known(self, request: RestRequest, said: Credentials | SessionClaim | None) -> Identity | None:
        match said:
            case None:
                return None
            case Credentials():
                return await self._by_password(request, said)
            case SessionClaim(session_id=""):
                if said.wants_certificate:
                    code = ResponseCode.AUTHENTICATION_NEEDED
                    raise await self.unauthenticated(request, code, _NO_CERTIFICATES)
                return None  # a challenge is wanted, with a signature of ours over the cnonce
            case SessionClaim():
                return await self._by_session(request, said)

    async def _by_password(self, request: RestRequest, given: Credentials) -> Identity:
        claimed = Identity(index=given.index, handle=given.handle)
        identity = await self.operations.authenticate(claimed, given.secret)
        self.metrics.authenticated(BASIC, "failed" if identity is None else "success")
        if identity is None:
            raise await self.unauthenticated(request, ResponseCode.AUTHENTICATION_FAILED, _UNPROVED)
        return identity

    async def _by_session(self, request: RestRequest, claim: SessionClaim) -> Identity:
        challenge = self.sessions.read(claim.session_id)
        if challenge is None:
            raise await self._over(request)
        if claim.proof is not None:
            return await self.prove(request, challenge, claim)
        identity = await self.holder(challenge)
        if identity is None:
            raise await self._over(request)
        self.metrics.authenticated(HANDLE, "success")
        return identity

    async def _over(self, request: RestRequest) -> Problem:
        self.metrics.authenticated(HANDLE, "failed")
        return await self.unauthenticated(request, ResponseCode.AUTHENTICATION_NEEDED, _OVER)


@contextmanager
def unreadable_proofs() -> Iterator[None]:
    """Turn a proof that is none by its form into the client's fault (400)."""
    try:
        yield
    except Unreadable as error:
        if isinstance(error.__cause__, WireError):
            raise Problem(ResponseCode.PROTOCOL_ERROR, str(error)) from None
        raise


def _knows_scheme(request: RestRequest) -> bool:
    """Whether a client answers the Handle scheme itself, so that a browser shall not ask for a password."""
    headers = request.http.headers
    is_script = headers.get("X-Requested-With") == _SCRIPT
    return is_script or headers.get("Authorization", "").lower().startswith("handle ")
