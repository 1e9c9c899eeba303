"""/api/verifications/<handle>: does an answer to a challenge fit a secret that is kept here (PROTOCOL §8.1)?

Servers that are asked by somebody with a key of ours ask this, as they ask OC 201 over the wire.
"""

from base64 import b64decode
from binascii import Error as NoBase64
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from protocol.challenge import Challenge
from protocol.codes import ResponseCode
from protocol.errors import InvalidHandle
from protocol.jsonform import printable
from protocol.transport.http import peer_host
from protocol.transport.http_target import BadTarget
from protocol.transport.source import source_network
from registry.outcomes import Identity
from registry.rest.callers import Callers, unreadable_proofs
from registry.rest.problem import json_response
from registry.rest.proof import CredentialsUnreadable, parse_identity, secret_key_answer
from registry.rest.request import RestRequest

NONCE_OCTETS_MAX: Final = 64  # servers send 16, and a digest of at most 32


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationsApi:
    """Verification of answers with secret keys at one node."""

    callers: Callers

    async def get(self, request: RestRequest) -> web.Response:
        """Answer whether it fits; what does not exist fits nothing."""
        self.callers.check_connection(request)
        claimed = _claimed(request)
        members = {name: values[-1] for name, values in request.target.parameters.items()}
        try:
            answer = secret_key_answer(members)
        except CredentialsUnreadable as error:
            raise BadTarget(str(error)) from None
        challenge = Challenge(_octets(request, "nonce"), _octets(request, "cnonce"))
        network = source_network(peer_host(request.http))
        with unreadable_proofs():
            identity = await self.callers.proofs.prove_secret(challenge, claimed, answer, network=network)
        body = {
            "responseCode": int(ResponseCode.SUCCESS),
            "isValid": identity is not None,
            "handle": printable(claimed.handle.octets),
        }
        return json_response(body, status=200, form=request.form)


def _claimed(request: RestRequest) -> Identity:
    """Whose secret: the handle of the path and `index`, or `index:handle` in the path."""
    index = request.target.parameters.get("index")
    if index:
        return Identity(index=request.target.indexes()[-1], handle=request.about)
    try:
        return parse_identity(request.about.octets)
    except InvalidHandle:
        raise BadTarget("The path must be index:handle, or there must be an index.") from None


def _octets(request: RestRequest, name: str) -> bytes:
    try:
        octets = b64decode(request.parameter(name) or "", validate=True)
    except (NoBase64, ValueError):
        raise BadTarget(f"The {name} is not valid base64.") from None
    if not 0 < len(octets) <= NONCE_OCTETS_MAX:
        raise BadTarget(f"The {name} must have 1 to {NONCE_OCTETS_MAX} octets.")
    return octets
