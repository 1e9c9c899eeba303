"""The sessions of this process: set up by Diffie-Hellman, found by id and source, and ended when nobody uses them.

Whoever wants may name any identity at the set-up. So there are two shelves: few and short-lived sessions in which
nobody has proved anything, anonymous ones among them, and many in which somebody has. Where a shelf is full its least
used session goes, that of the same source network first: a flood displaces itself.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, NoReturn, Protocol

from protocol.admin_bodies import SessionSetupRequest
from protocol.codes import OpCode, ResponseCode
from protocol.diffie_hellman import ENTROPY_OCTETS, MAX_PRIME_BITS, known_primes
from protocol.errors import (
    BadMac,
    HandleError,
    SessionFailed,
    SessionLost,
    SessionReplay,
    Unsigned,
    WireError,
)
from protocol.message import Message, answer_version, decode_envelope, decode_message
from protocol.session import accept_session
from protocol.transport.base import Peer
from protocol.transport.buckets import Buckets
from protocol.transport.source import SourceCheck, source_network
from protocol.value import ValueReference
from protocol.valuetypes import PublicKey
from registry.permission import Reference, reference_of
from registry.wire.desk import Desk
from registry.wire.session import Session
from registry.wire.session_ids import SessionIds
from registry.wire.shelf import Shelf

IDLE_MAX_S: Final = 3_600.0  # deployed servers allow a day; clients set up anew without being told
IDLE_MIN_S: Final = 10.0  # whatever a client asks for: its next message must have time to come
LIFE_S: Final = (
    86_400.0  # however much it is used: for so long a withdrawn key still opens what it has opened
)
UNPROVED_IDLE_S: Final = (
    120.0  # before anybody has proved anything: a challenge has an answer within a minute
)
UNPROVED_MAX: Final = 1_024  # a session weighs two kilobytes
UNPROVED_PER_SOURCE_MAX: Final = 64  # of one source network: clients set up one for each connection at most
PROVED_MAX: Final = 8_192
PROVED_PER_SOURCE_MAX: Final = 1_024  # many programs of one plant, behind one address
SETUPS_PER_S: Final = 4.0  # of one source network, in groups of 1024 bits: five milliseconds of a core each
SETUPS_BURST: Final = 256  # at once: a plant's programs after a reload
SETUPS_IN_ALL_PER_S: Final = 40.0  # a fifth of a core: nothing else runs in this process meanwhile
SETUPS_IN_ALL_BURST: Final = 1_024
CHECK_PRICE: Final = 32  # of a group of no standard, whose check takes a quarter of a second, in set-ups
SWEEP_S: Final = 10.0  # between two looks for sessions that are over
LOST: Final = "This server does not know the session, or no longer; set up a new one."
SETUPS_PER_SOURCE: Final = "session_setups_per_source"
SETUPS: Final = "session_setups"
UNPROVED: Final = "sessions_unproved"
PROVED: Final = "sessions"
"""Names of the limits."""

Binding = Literal["address", "network", "any"]
"""From where the messages of a session are accepted: the address that set it up, its network, or anywhere."""


_PLACES: Final[dict[Binding, Callable[[str], str]]] = {
    "address": str,
    "network": source_network,
    "any": lambda _: "",
}
_ALL: Final = "::"  # an address for everybody, who share its bucket
_RESULTS: Final = {Unsigned: "missing", BadMac: "failed", SessionReplay: "replayed"}


class TooManySetups(HandleError):
    """A source sets up more sessions than it may."""

    code = ResponseCode.SERVER_TOO_BUSY


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUp:
    """What became of a request for a session."""

    session_id: int
    """For the envelope of the response."""
    body: bytes


class SessionObserver(Protocol):
    """Counts what becomes of sessions and their messages."""

    def session_message(self, result: str, /) -> None:
        """One message in a session: success, missing, failed (its MAC), replayed, unreadable or elsewhere."""

    def session_setup(self, result: str, /) -> None:
        """One set-up: success, failed or refused (at a limit)."""

    def limit_reached(self, name: str, /) -> None:
        """A session had to go, or was not set up, for a named limit."""


class Sessions:
    """The sessions of one process."""

    def __init__(
        self,
        ids: SessionIds,
        desk: Desk,
        *,
        observer: SessionObserver,
        idle_max_s: float = IDLE_MAX_S,
        binding: Binding = "address",
        case_sensitive: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """desk: where keys are agreed on. idle_max_s: how long a session lives unused at most.

        case_sensitive: the node's rule about suffixes. clock: monotonic seconds.
        """
        self._ids = ids
        self._desk = desk
        self._observer = observer
        self._idle_max_s = idle_max_s
        self._place_of = _PLACES[binding]
        self._case_sensitive = case_sensitive
        self._clock = clock
        self._setups = SourceCheck(rate_per_s=SETUPS_PER_S, burst=SETUPS_BURST)
        self.unproved = Shelf(UNPROVED_MAX, UNPROVED_PER_SOURCE_MAX)
        self.proved = Shelf(PROVED_MAX, PROVED_PER_SOURCE_MAX)
        self._all_setups = SourceCheck(
            rate_per_s=SETUPS_IN_ALL_PER_S, burst=SETUPS_IN_ALL_BURST, buckets=Buckets(sets=1)
        )
        self._swept_s = clock()

    def __len__(self) -> int:
        return len(self.unproved) + len(self.proved)

    async def set_up(self, request: Message, peer: Peer) -> SetUp:
        """Begin a session.

        Raises SessionFailed when no key can be agreed on, TooManySetups, DeskBusy, WireError, InvalidHandle.
        """
        try:
            return await self._set_up(request, peer)
        except HandleError as error:
            refused = error.code == ResponseCode.SERVER_TOO_BUSY
            self._observer.session_setup("refused" if refused else "failed")
            raise

    async def _set_up(self, request: Message, peer: Peer) -> SetUp:
        wanted = SessionSetupRequest.decode(request.body)
        version = answer_version(request.envelope)
        self._admit(wanted, peer)
        key, response = await self._desk.run(
            source_network(peer.host), lambda: accept_session(wanted, version, os.urandom(ENTROPY_OCTETS))
        )
        session = Session(
            self._ids.allocate(),
            key,
            version,
            claimed=_claimed(wanted.identity),
            case_sensitive=self._case_sensitive,
            host=peer.host,
            idle_s=max(IDLE_MIN_S, min(wanted.timeout_s or self._idle_max_s, self._idle_max_s)),
            now_s=self._clock(),
        )
        self._sweep()
        self._put(self.unproved, session)
        self._observer.session_setup("success")
        return SetUp(session_id=session.id, body=response.encode())

    def _admit(self, wanted: SessionSetupRequest, peer: Peer) -> None:
        """Take what a set-up costs from its source, and from all."""
        price = _price(wanted)
        now_s = self._clock()
        for check, host, limit in (
            (self._setups, peer.host, SETUPS_PER_SOURCE),
            (self._all_setups, _ALL, SETUPS),
        ):
            if not check.may_send(host, price, now_s):  # as packets cost more than requests do
                self._refuse(limit)

    def _refuse(self, limit: str) -> NoReturn:
        self._observer.limit_reached(limit)
        raise TooManySetups(f"more sessions are set up than this server allows ({limit}); use those you have")

    def decode(self, octets: bytes, peer: Peer) -> Message:
        """The message in octets, which may be encrypted within a session.

        Raises SessionFailed for one that cannot be decrypted, SessionLost without a session of this peer, WireError.
        """
        envelope = decode_envelope(octets)
        if not envelope.encrypted:
            return decode_message(octets)
        if not envelope.session_id:
            raise SessionFailed("an encrypted message, and no session that could read it")
        session = self._found(envelope.session_id, peer)
        if session is None:
            raise SessionLost(LOST)
        try:
            return session.decrypt(octets)
        except HandleError:
            self._observer.session_message("unreadable")
            raise

    def enter(self, request: Message, peer: Peer) -> Session | None:
        """The session that a request names and belongs to; None for an id of no session, or of none of this peer.

        An answer to a challenge has no MAC, and belongs to the session whose challenge it answers. Raises Unsigned,
        BadMac or SessionReplay for a request that was not sent by who set up its session, or not for the first time.
        """
        session = self._found(request.envelope.session_id, peer)
        if session is None or request.header.op_code == OpCode.CHALLENGE_ANSWER:
            return session
        try:
            session.check(request)
        except HandleError as error:
            self._observer.session_message(_RESULTS.get(type(error), "failed"))
            raise
        self._observer.session_message("success")
        self._used(session)
        return session

    def terminate(self, session: Session) -> None:
        """End a session; it may have ended already."""
        for shelf in (self.proved, self.unproved):
            if session.id in shelf:
                shelf.remove(session)
                self._ids.release(session.id)

    def holds(self, session_id: int, peer: Peer) -> bool:
        """Whether an id names a session of this peer."""
        session = self._find(session_id)
        return session is not None and self._is_at_home(session, peer)

    def _found(self, session_id: int, peer: Peer) -> Session | None:
        session = self._find(session_id)
        if session is None or self._is_at_home(session, peer):
            return session
        self._observer.session_message("elsewhere")
        return None

    def _find(self, session_id: int) -> Session | None:
        session = self.proved.get(session_id) or self.unproved.get(session_id)
        if session is not None and self._clock() >= self._over_s(session):
            self.terminate(session)
            return None
        return session

    def _is_at_home(self, session: Session, peer: Peer) -> bool:
        return self._place_of(session.host) == self._place_of(peer.host)

    def _used(self, session: Session) -> None:
        session.used_s = self._clock()
        if session.identity is None or session.id in self.proved:
            (self.unproved if session.identity is None else self.proved).touch(session)
        else:
            self.unproved.remove(session)
            self._put(self.proved, session)

    def _put(self, shelf: Shelf, session: Session) -> None:
        """Place a session, for which others may have to go."""
        displaced = shelf.put(session)
        if displaced is not None:
            self._observer.limit_reached(UNPROVED if shelf is self.unproved else PROVED)
            self._ids.release(displaced.id)

    def _over_s(self, session: Session) -> float:
        """When a session is over if nobody uses it."""
        idle_s = session.idle_s if session.identity is not None else min(session.idle_s, UNPROVED_IDLE_S)
        return min(session.used_s + idle_s, session.made_s + LIFE_S)

    def _sweep(self) -> None:
        """Forget, now and then, the sessions that are over."""
        now_s = self._clock()
        if now_s < self._swept_s + SWEEP_S:
            return
        self._swept_s = now_s
        for shelf in (self.unproved, self.proved):
            for session in tuple(shelf):
                if now_s >= self._over_s(session):
                    self.terminate(session)


def _price(wanted: SessionSetupRequest) -> int:
    """What the work for a set-up costs at most, as a number of exchanges in a group of 1024 bits."""
    try:
        p = PublicKey.decode(wanted.key).numbers[1]
    except (WireError, IndexError):
        return 1  # refused without work
    bits = min(p.bit_length(), MAX_PRIME_BITS)
    return max(1, bits * bits >> 20) + (0 if p in known_primes() else CHECK_PRICE)


def _claimed(identity: ValueReference) -> Reference | None:
    """For whom a session is set up; None for nobody. Raises InvalidHandle."""
    return reference_of(identity) if identity.handle else None
