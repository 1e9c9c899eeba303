"""Proof that a node holds the key of its site record: a signature over a nonce that it could not know before."""

import secrets
from typing import Final

from protocol.handle import Prefix
from protocol.site import Site
from registry.allocation.routes import RouteRefused
from registry.peers.exchange import PeerFailed, PeerUnreachable, places_of_site
from registry.peers.messages import ChallengeAnswer, ChallengeMessage
from registry.peers.neighbours import Home
from registry.peers.node_key import KeyUnusable, is_signed, key_id_of, key_of_site
from registry.problem_types import ApiProblem
from registry.problem_types.peers import NODE_SITE, NODE_UNREACHABLE

CHALLENGES_PATH: Final = "/api/v1/node/challenges"
NONCE_OCTETS: Final = 24  # 32 characters of base64
_PURPOSE: Final = b"handlegrid challenge\n"


def challenge_octets(nonce: str) -> bytes:
    """What is signed; nothing else that nodes sign begins like this."""
    return _PURPOSE + nonce.encode("ascii")


async def prove(home: Home, site: Site, prefix: Prefix) -> str:
    """Have the node of a site prove that it holds the key of the site, and give its key id.

    prefix: on whose behalf it is spoken to. Raises ApiProblem: a site that cannot be used, a wrong proof, a node
    that does not answer (422).
    """
    try:
        public_key = key_of_site(site)
        places = places_of_site(site, prefix, openings=home.terms.openings, rule=home.plain_http)
    except (KeyUnusable, RouteRefused) as error:
        raise ApiProblem(NODE_SITE, f"{error}.") from None
    nonce = secrets.token_urlsafe(NONCE_OCTETS)
    failure: PeerFailed = PeerUnreachable("the node has no address")
    for place in places:
        try:
            answer = await home.client.ask(
                place, CHALLENGES_PATH, ChallengeMessage(nonce=nonce), ChallengeAnswer
            )
        except PeerFailed as error:
            failure = error
            continue
        if not is_signed(public_key, answer.signature, challenge_octets(nonce)):
            raise ApiProblem(
                NODE_SITE, f"The node at {place.authority} does not hold the key of the site record."
            )
        return key_id_of(public_key)
    raise ApiProblem(NODE_UNREACHABLE, f"{failure}.")
