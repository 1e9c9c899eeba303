"""Challenges that wait for their answers: each is used once, lives a minute, and is one of a bounded number.

A challenge holds the request that it was given for, which is done when the answer proves who asked. Deployed servers
take an answer again and again within its minute, and so do the request again; here it is gone with its first answer
(PROTOCOL.md §5.2, §12.1).
"""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from protocol.challenge import Challenge
from protocol.codes import ResponseCode
from protocol.errors import HandleError
from protocol.message import Message, answer_version, request_digest
from protocol.transport.source import source_network
from registry.wire.session_ids import SessionIds

LIFE_S: Final = 60.0  # as deployed servers are configured; a person may have to type a secret
NONCE_OCTETS: Final = 16
WAITING_MAX: Final = (
    16_384  # in all: at a thousand new ones a second, each lives long enough for a quick client
)
WAITING_PER_SOURCE_MAX: Final = 1_024  # of one source network: a batch has one or two at a time
OCTETS_MAX: Final = 64 * 1_048_576  # of the requests that wait, in all
OCTETS_PER_SOURCE_MAX: Final = 8 * 1_048_576  # and of one source network: thirty of the largest
GONE_MAX: Final = 65_536  # ids of challenges that are gone, so that who comes late is told so
CHALLENGES: Final = "challenges"
CHALLENGES_PER_SOURCE: Final = "challenges_per_source"
"""Names of the limits."""

_Fingerprint = tuple[str, int, int, bytes]


class ChallengeGone(HandleError):
    """An answer to a challenge that has had an answer, or has waited too long."""

    code = ResponseCode.AUTHENTICATION_TIMEOUT


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A challenge, and the request that waits for its answer."""

    session_id: int
    """In the envelope of the challenge and of its answer; that of the session where there is one."""
    request: Message
    challenge: Challenge
    host: str
    """Who sent the request."""
    until_s: float

    @property
    def octets(self) -> int:
        """What it weighs: the request is kept as it came, and its body."""
        return 2 * len(self.request.header_and_body)

    @property
    def has_own_id(self) -> bool:
        """Whether its id is not that of a session."""
        return self.session_id != self.request.envelope.session_id

    @property
    def network(self) -> str:
        """Whose share of the store it is."""
        return source_network(self.host)

    @property
    def fingerprint(self) -> _Fingerprint:
        """What a retransmission of the request has in common with it; its port may be another one."""
        return fingerprint(self.request, self.host)


@dataclass(slots=True)
class _Share:
    """What a source network has in the store, the oldest first."""

    ids: OrderedDict[int, None]
    octets: int = 0


class ChallengeStore:
    """The challenges of one process. Where there is no room, the oldest goes: that of the source, or of all."""

    def __init__(
        self,
        ids: SessionIds,
        *,
        clock: Callable[[], float],
        on_limit: Callable[[str], None],
        life_s: float = LIFE_S,
        waiting_max: int = WAITING_MAX,
        per_source_max: int = WAITING_PER_SOURCE_MAX,
        octets_max: int = OCTETS_MAX,
        octets_per_source_max: int = OCTETS_PER_SOURCE_MAX,
    ) -> None:
        """clock: monotonic seconds. on_limit: told of each challenge that had to go, by the name of the limit."""
        self._ids = ids
        self._clock = clock
        self._on_limit = on_limit
        self._life_s = life_s
        self._waiting_max = waiting_max
        self._per_source_max = per_source_max
        self._octets_max = octets_max
        self._octets_per_source_max = octets_per_source_max
        self._pending: OrderedDict[int, Pending] = OrderedDict()
        self._by_request: dict[_Fingerprint, int] = {}
        self._shares: dict[str, _Share] = {}
        self._octets = 0
        self._gone: OrderedDict[int, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pending)

    def issue(self, request: Message, host: str, session_id: int = 0) -> Pending:
        """The challenge for a request: a new one, or the one that waits already for this very request.

        session_id: of the session that the request came in, whose challenge before this one is gone; 0 for none.
        """
        self._expire()
        known = self._by_request.get(fingerprint(request, host))
        if known is not None:
            return self._pending[known]
        digest = request_digest(request, answer_version(request.envelope)).octets
        pending = Pending(
            session_id=session_id or self._ids.allocate(),
            request=request,
            challenge=Challenge(nonce=secrets.token_bytes(NONCE_OCTETS), digest=digest),
            host=host,
            until_s=self._clock() + self._life_s,
        )
        self._drop(pending.session_id)
        self._add(pending)
        self._bound(pending.network)
        return pending

    def take(self, session_id: int) -> Pending | None:
        """The challenge of an id, which nobody gets again; None for an id that names none.

        Raises ChallengeGone for one that was there until a moment ago.
        """
        self._expire()
        pending = self._drop(session_id)
        if pending is not None and pending.until_s <= self._clock():
            pending = None
        if pending is None and session_id in self._gone:
            raise ChallengeGone(
                "the challenge has had its answer, or has waited too long; send the request again"
            )
        return pending

    def restore(self, pending: Pending) -> None:
        """Put back what was taken: whoever took it has not proved to be the one who asked."""
        if pending.session_id not in self._pending and pending.until_s > self._clock():
            if pending.has_own_id and self._gone.pop(pending.session_id, None) is None:
                return  # so many are gone since that its id may be somebody else's
            self._add(pending)
            self._pending.move_to_end(pending.session_id, last=False)
            self._bound(pending.network)

    def _add(self, pending: Pending) -> None:
        self._pending[pending.session_id] = pending
        self._by_request[pending.fingerprint] = pending.session_id
        share = self._shares.setdefault(pending.network, _Share(OrderedDict()))
        share.ids[pending.session_id] = None
        share.octets += pending.octets
        self._octets += pending.octets

    def _drop(self, session_id: int) -> Pending | None:
        pending = self._pending.pop(session_id, None)
        if pending is None:
            return None
        if self._by_request[pending.fingerprint] == session_id:  # else of the same request, issued meanwhile
            del self._by_request[pending.fingerprint]
        share = self._shares[pending.network]
        del share.ids[session_id]
        share.octets -= pending.octets
        self._octets -= pending.octets
        if not share.ids:
            del self._shares[pending.network]
        if pending.has_own_id:
            self._gone[session_id] = self._clock() + self._life_s
        return pending

    def _bound(self, network: str) -> None:
        share = self._shares.get(network)
        while share is not None and share.ids and self._is_too_much(share):
            self._drop(next(iter(share.ids)))
            self._on_limit(CHALLENGES_PER_SOURCE)
        while len(self._pending) > self._waiting_max or self._octets > self._octets_max:
            self._drop(next(iter(self._pending)))
            self._on_limit(CHALLENGES)

    def _is_too_much(self, share: _Share) -> bool:
        return len(share.ids) > self._per_source_max or share.octets > self._octets_per_source_max

    def _expire(self) -> None:
        now_s = self._clock()
        while self._pending and next(iter(self._pending.values())).until_s <= now_s:
            self._drop(next(iter(self._pending)))
        while self._gone and (len(self._gone) > GONE_MAX or next(iter(self._gone.values())) <= now_s):
            session_id, _ = self._gone.popitem(last=False)
            self._ids.release(session_id)


def fingerprint(request: Message, host: str) -> _Fingerprint:
    """What makes a request the same as another one: from the same address, with the same ids and octets.

    Header and body count and the credential does not: within a session a retransmission has a new counter.
    Source: PROTOCOL.md §10, 45.
    """
    envelope = request.envelope
    return host, envelope.session_id, envelope.request_id, hashlib.sha256(request.header_and_body).digest()
