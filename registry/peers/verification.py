"""Who sent a signed request: the claim, the key that proves it, the nonce that makes it count once."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from protocol.errors import WireError
from protocol.site import Site
from registry.peers import nonces
from registry.peers.node_key import KeyUnusable, NodeKey, key_id_of, key_of_site
from registry.peers.signatures import (
    SKEW_MAX_S,
    Claim,
    ClocksDiffer,
    SignatureRefused,
    SignedRequest,
    check_key,
    read_claim,
    sign_response,
    signature_of,
)
from registry.problem_types import ApiProblem
from registry.problem_types.peers import (
    CLOCKS_DIFFER,
    NODE_REPLAY,
    NODE_SIGNATURE,
    NODE_UNKNOWN,
    TOO_MANY_NODE_REQUESTS,
)
from registry.store import Connection, Store

APPLICATIONS_PATH: Final = "/api/v1/node/applications"
"""Where a node that nobody knows yet introduces itself, with its key in the body."""
RETRY_AFTER_S: Final = 60
_FIND: Final = """
    SELECT public_key, state = 'barred' AS barred FROM downstream_nodes WHERE node = $1
    UNION ALL SELECT public_key, false FROM upstream_nodes WHERE node = $1 ORDER BY barred DESC LIMIT 1"""


class _Introduction(msgspec.Struct):
    """What is read of the body of an application to find its key."""

    site: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Checks signatures of requests, and signs the answers."""

    key: NodeKey
    store: Store
    wall_clock: Callable[[], float] = time.time

    async def verify(self, request: SignedRequest) -> str:
        """The key id of the node that sent a request. Raises ApiProblem, StoreUnavailable.

        A node that is not known is believed in one case alone: when it introduces itself.
        """
        try:
            claim = read_claim(request, recipient=self.key.id, now_s=self.wall_clock())
            async with self.store.connection() as connection:
                public_key, known = await _key_of(connection, claim, request)
                check_key(claim, public_key)
                await self._count_once(connection, claim, known=known)
        except ClocksDiffer as error:
            raise ApiProblem(CLOCKS_DIFFER, str(error)) from None
        except SignatureRefused as error:
            raise ApiProblem(NODE_SIGNATURE, str(error)) from None
        return claim.key_id

    def sign_answer(self, *, status: int, body: bytes, request_headers: Mapping[str, str]) -> dict[str, str]:
        """The headers that prove our answer to a request that was verified."""
        return sign_response(
            self.key,
            status=status,
            body=body,
            request_signature=signature_of(request_headers),
            now_s=int(self.wall_clock()),
        )

    async def _count_once(self, connection: Connection, claim: Claim, *, known: bool) -> None:
        expires = datetime.fromtimestamp(claim.expires_s + SKEW_MAX_S + 1, UTC)
        try:
            fresh = await nonces.remember(connection, claim.key_id if known else "", claim.nonce, expires)
        except nonces.TooManyNonces:
            raise ApiProblem(
                TOO_MANY_NODE_REQUESTS,
                f"{nonces.NONCES_MAX} signed requests are remembered.",
                headers={"Retry-After": str(RETRY_AFTER_S)},
            ) from None
        if not fresh:
            raise ApiProblem(NODE_REPLAY, "The nonce of this signature was used before.")


async def _key_of(connection: Connection, claim: Claim, request: SignedRequest) -> tuple[bytes, bool]:
    """The public key of the claimed node, and whether we know it. Raises SignatureRefused, ApiProblem."""
    record = await connection.fetchrow(_FIND, claim.key_id)
    if record is not None and not record["barred"]:
        return record["public_key"], True
    introduces = request.method == "POST" and request.target == APPLICATIONS_PATH
    if record is not None or not introduces:
        raise ApiProblem(NODE_UNKNOWN, f"No node with the key {claim.key_id} may speak with this one.")
    return _introduced_key(claim, request.body), False


def _introduced_key(claim: Claim, body: bytes) -> bytes:
    try:
        site = Site.decode(msgspec.json.decode(body, type=_Introduction).site)
        public_key = key_of_site(site)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise SignatureRefused("the body of an application holds the node's site record") from None
    except (WireError, KeyUnusable) as error:
        raise SignatureRefused(f"the site record of the application cannot be used: {error}") from None
    if key_id_of(public_key) != claim.key_id:
        raise SignatureRefused("keyid is not that of the key in the site record")
    return public_key
