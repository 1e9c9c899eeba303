"""Signing: answers to requests with CERT, by the key that the node's site record publishes.

A signature takes half a millisecond of a core, a thousand times as long as a cached answer, and anybody may ask for
one. So each source network has a rate, few wait at once, and the one thread that signs gives way to everything else.
A signature covers the request id: an answer can be repeated for the very same request alone, whose client did not get
it the first time. Source: PROTOCOL.md §3.3.
"""

import asyncio
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Final, Protocol, TypeVar

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from protocol.codes import OpFlag, ResponseCode
from protocol.credential import sign
from protocol.errors import HandleError
from protocol.message import Message
from protocol.runtime.memory_cache import MemoryCache
from protocol.signature import SHA256, sign_octets
from protocol.transport.base import Peer
from protocol.transport.source import SourceCheck, Verdict

SIGNATURES_PER_S: Final = (
    100.0  # of a source network: a walk takes four, and this costs a twentieth of a core
)
SIGNATURES_BURST: Final = 400  # what a quiet network may ask for at once: a batch of walks
SIGNATURES_WAITING_MAX: Final = 256  # each takes half a millisecond; a client gives up on more than this wait
KEPT_S: Final = (
    10.0  # for retransmissions: deployed clients send three times within 1.5 s, and give up after 3
)
KEPT_MAX: Final = 4_096  # answers kept
KEPT_OCTETS_MAX: Final = 4_194_304  # of all of them; the usual one has 600
NICENESS: Final = 10  # of the signing thread: a tenth of the share of whoever answers without a signature

PER_SOURCE: Final = "signatures_per_source"
WAITING: Final = "signatures_waiting"
"""Names of the limits."""

T = TypeVar("T")


class TooManySignatures(HandleError):
    """More signatures are asked for than a named limit allows."""

    code = ResponseCode.SERVER_TOO_BUSY

    def __init__(self, limit: str) -> None:
        self.limit = limit
        super().__init__(f"too many signed answers are asked for ({limit}); ask later, or without CERT")


class SigningObserver(Protocol):
    """Counts signatures."""

    def signature(self, result: str, /) -> None:
        """One request with CERT: signed, repeated (the same octets came again) or refused (at a limit)."""

    def limit_reached(self, name: str, /) -> None:
        """A named limit refused a signature."""


class Signer:
    """Signs the answers of one node; made and used on one event loop, closed by close()."""

    def __init__(
        self,
        key: RSAPrivateKey,
        *,
        observer: SigningObserver,
        unlimited: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """unlimited: networks without a rate, as CIDR."""
        self._key = key
        self._observer = observer
        self._sources = SourceCheck(
            rate_per_s=SIGNATURES_PER_S, burst=SIGNATURES_BURST, unlimited=tuple(unlimited)
        )
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="signing", initializer=_give_way)
        self._waiting = 0
        self._kept: MemoryCache[bytes] = MemoryCache(entries_max=KEPT_MAX, octets_max=KEPT_OCTETS_MAX)

    def repeat(self, request: bytes, peer: Peer) -> bytes | None:
        """The answer that a request of the very same octets got from here a moment ago; None for a new one."""
        kept = self._kept.get(_key_of(request, peer), self._clock())
        if kept is not None:
            self._observer.signature("repeated")
        return kept

    def admit(self, peer: Peer) -> None:
        """Take a source's token before anything is done for its request. Raises TooManySignatures."""
        if self._sources.check(peer.host, self._clock()) is not Verdict.ADMIT:
            self._refuse(PER_SOURCE)
        if self._waiting >= SIGNATURES_WAITING_MAX:
            self._refuse(WAITING)

    async def certify(self, response: Message) -> Message:
        """The response with CERT set, signed in its turn; one that carries a credential already is left as it is.

        Raises TooManySignatures when too many wait.
        """
        if response.credential:
            return response
        flagged = replace(
            response, header=replace(response.header, op_flags=response.header.op_flags | OpFlag.CERT)
        )
        return await self._in_turn(partial(sign, replace(flagged, signed_octets=None), self._key))

    async def sign_octets(self, octets: bytes, peer: Peer) -> bytes:
        """A bare signature of octets, hashed with SHA-256; they begin with a nonce of ours, so that nobody else says
        what is signed. Raises TooManySignatures for this source, or when too many wait.
        """
        self.admit(peer)
        return await self._in_turn(partial(sign_octets, octets, self._key, SHA256))

    async def _in_turn(self, work: Callable[[], T]) -> T:
        if self._waiting >= SIGNATURES_WAITING_MAX:
            self._refuse(WAITING)
        self._waiting += 1
        try:
            signed = await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._waiting -= 1
        self._observer.signature("signed")
        return signed

    def keep(self, request: bytes, peer: Peer, answer: bytes) -> None:
        """Have repeat() give this answer for a moment."""
        expires_s = self._clock() + KEPT_S
        self._kept.put(_key_of(request, peer), answer, octets=len(answer), expires_s=expires_s)

    def close(self) -> None:
        """Sign nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _refuse(self, limit: str) -> None:
        self._observer.signature("refused")
        self._observer.limit_reached(limit)
        raise TooManySignatures(limit)


def _key_of(request: bytes, peer: Peer) -> bytes:
    return hashlib.sha256(peer.host.encode() + b"\0" + request).digest()


def _give_way() -> None:
    """Let the thread that signs run when nobody else wants the core."""
    if sys.platform == "linux":  # elsewhere this is about the whole process
        os.nice(NICENESS)
