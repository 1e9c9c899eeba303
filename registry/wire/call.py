"""One request on its way through the wire server: what is asked, by whom, and what its answer goes to."""

from dataclasses import dataclass, replace

from protocol.codes import OpFlag, ResponseCode
from protocol.message import Message
from protocol.transport.base import Peer
from protocol.transport.source import source_network
from registry.outcomes import ANYBODY, Actor, Identity, Origin
from registry.record import Refusal
from registry.wire.session import Session
from registry.work import target_text


class Unproven(Exception):
    """The operation is for somebody who has proved to be who: a challenge is the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request, and what is known of who sent it."""

    request: Message
    """What is to be done: a request, also one that a challenge was given for and that is done now."""
    reply_to: Message
    """What the answer echoes: the request, with the ids of the answer to the challenge where there was one."""
    peer: Peer
    identity: Identity | None = None
    """Who asks; None for somebody who has proved nothing."""
    on_trial: bool = False
    """Whether the identity is claimed and the proof was wrong. Nothing may then be done or told but this: that the
    identity, proven, would have had no right (400), or else that the proof was wrong (403). Source: PROTOCOL.md §5.5.
    """
    is_logged_in: bool = False
    """Whether the identity was proved for the whole connection, as IDIS clients do."""
    session: Session | None = None

    @property
    def network(self) -> str:
        """The source network of the peer."""
        return source_network(self.peer.host)

    @property
    def by(self) -> Actor:
        """Who acts."""
        return self.identity or ANYBODY

    @property
    def origin(self) -> Origin:
        """Who acts, for the audit log."""
        actor = str(ANYBODY)
        if self.identity is not None:
            actor = f"{self.identity.index}:{target_text(self.identity.handle.octets)}"
        return Origin(actor=actor, via="handle", request_id=str(self.request.envelope.request_id))

    def proven(self) -> Identity:
        """Who asks, proven or on trial. Raises Unproven when nobody says so."""
        if self.identity is None:
            raise Unproven
        return self.identity

    def end_trial(self) -> None:
        """Raises Refusal (403) for who claims to be somebody: this one has the right, and the proof was wrong."""
        if self.on_trial:
            raise Refusal(ResponseCode.AUTHENTICATION_FAILED, "the proof of identity is wrong")


def reply_to_answer(request: Message, answer: Message) -> Message:
    """What the reply to a challenge's answer echoes: operation and flags of the request, and the answer's request id.

    The session id is the request's again, so 0 outside sessions. With RRDG the digest is that of the answer, and it is
    there when the answer asks for it: deployed clients compare it with what they sent last, and so fail with deployed
    servers, which digest the first request (PROTOCOL.md §12).
    """
    flags = request.header.op_flags & ~OpFlag.RRDG | answer.header.op_flags & OpFlag.RRDG
    return replace(
        request,
        envelope=replace(answer.envelope, session_id=request.envelope.session_id),
        header=replace(request.header, op_flags=flags),
        signed_octets=answer.header_and_body,
    )
