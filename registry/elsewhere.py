"""Elsewhere: keys and groups that other nodes hold, found by the certified walk and remembered for a short while.

Whoever claims to be somebody makes us look, and anybody may claim that. So equal look-ups are one, few are made at
once, one prefix has its share of them alone, and what was not there is remembered too. Source: PROTOCOL.md §5.3, §5.4,
ARCHITECTURE §3.17.
"""

import time
from collections.abc import Callable
from typing import Final

import structlog

from protocol.admin_bodies import VerifyRequest, VerifyResponse
from protocol.challenge import Challenge
from protocol.client.answers import Denied, Found, Question
from protocol.client.client import HandleClient
from protocol.client.resolution import Ask
from protocol.codes import OpCode, ResponseCode
from protocol.errors import HandleError, ResolutionFailed
from protocol.handle import Handle
from protocol.runtime.memory_cache import MemoryCache
from protocol.runtime.shares import ServiceShares
from protocol.runtime.single_flight import SingleFlight, TooBusy
from protocol.value import ValueReference
from registry.record import Values, parse_stored

TYPES: Final = ("HS_PUBKEY", "HS_VLIST")
"""What is looked for; a secret is never told, and its node says whether an answer is right."""
KEPT_S: Final = 300.0  # a key that was taken away is believed no longer; its TTL may end that sooner
ABSENT_S: Final = 30.0  # as long as resolvers remember a denial
FAILED_S: Final = (
    5.0  # a group that could not be fetched counts as empty for so long; nothing is kept for less
)
KEPT_MAX: Final = 4_096  # records; a busy node meets some hundreds
KEPT_OCTETS_MAX: Final = 16_777_216  # of all; one may have a quarter of a megabyte
LOOKUPS_MAX: Final = 64  # at once: each takes some exchanges, and up to LOOKUP_S when a node is silent
VERIFICATIONS_MAX: Final = 64  # at once, of answers by secrets; likewise
WAITERS_MAX: Final = 256  # for one of them
LOOKUPS_PER_PREFIX_MAX: Final = 4  # a silent node must leave room for all others
LOOKUP_S: Final = 5.0  # the client of ours that waits for this gives up soon after
_ALL: Final = ""
KEY_LOOKUPS: Final = "key_lookups"
"""The name of the limit."""

log = structlog.get_logger(__name__)


class KeyUnknown(HandleError):
    """A key or group of another node that cannot be had just now; says why."""

    code = ResponseCode.AUTHENTICATION_ERROR


class GroupElsewhere(Exception):
    """A decision takes a group of another node that is not known yet; nobody waits for that within a transaction."""

    def __init__(self, handle: Handle) -> None:
        self.handle = handle
        super().__init__(str(handle))


class Elsewhere:
    """Looks keys and groups up at other nodes; made and used on one event loop, closed by close()."""

    def __init__(
        self,
        client: HandleClient,
        *,
        on_limit: Callable[[str], None] = lambda name: None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """on_limit: told of each look-up that is refused, by the name of the limit."""
        self._client = client
        self.on_limit = on_limit
        self._clock = clock
        self._wall_clock = wall_clock
        self._records: MemoryCache[Values] = MemoryCache(entries_max=KEPT_MAX, octets_max=KEPT_OCTETS_MAX)
        self._services: MemoryCache[Ask] = MemoryCache(entries_max=KEPT_MAX, octets_max=KEPT_OCTETS_MAX)
        self._flights: SingleFlight[bytes, Values] = SingleFlight(
            flights_max=LOOKUPS_MAX, waiters_max=WAITERS_MAX
        )
        self._shares = ServiceShares(LOOKUPS_PER_PREFIX_MAX)
        self._verifications = ServiceShares(VERIFICATIONS_MAX)

    def remembered(self, handle: Handle) -> Values | None:
        """The keys and groups of a handle, as far as they were looked up lately; None: they were not."""
        return self._records.get(_key(handle), self._clock())

    async def find(self, handle: Handle) -> Values:
        """The public keys and groups of a handle, by index, certified from the root bundle down; {} if there are none.

        Raises KeyUnknown when they cannot be had, at a limit too.
        """
        kept = self.remembered(handle)
        if kept is not None:
            return kept
        try:
            return (await self._flights.run(_key(handle), lambda: self._look_up(handle)))[0]
        except TooBusy as error:
            raise self._busy(handle) from error
        except ResolutionFailed as failure:
            raise KeyUnknown(f"the keys of {handle} cannot be had: {failure.explain()}") from failure

    async def learn_group(self, handle: Handle) -> None:
        """Have the groups of a handle remembered; those that cannot be had count as empty for a moment."""
        try:
            await self.find(handle)
        except KeyUnknown as error:
            log.warning("group_unknown", handle=str(handle), cause=str(error))
            self._keep(handle, {}, FAILED_S)

    async def verify(self, key: ValueReference, challenge: Challenge, answer: bytes) -> bool:
        """Whether the node that holds a secret key says that the answer to our challenge was made with it.

        Its word is certified, and the walk to it. Raises KeyUnknown when it cannot be had. Source: PROTOCOL.md §4.10,
        §5.3.
        """
        handle = Handle(key.handle)
        body = VerifyRequest(key=key, nonce=challenge.nonce, digest=challenge.digest, answer=answer).encode()
        words: list[bool] = []
        try:
            with self._verifications.take(_ALL), self._shares.take(_share(handle)):
                ask = await self._service(handle)
                if ask is None:
                    return False
                await self._client.operate(
                    ask,
                    OpCode.VERIFY_CHALLENGE,
                    body,
                    read=lambda content: words.append(VerifyResponse.decode(content).valid),
                    deadline_s=self._client.clock() + LOOKUP_S,
                    certified=True,
                )
        except TooBusy as error:
            raise self._busy(handle) from error
        except ResolutionFailed as failure:
            raise KeyUnknown(
                f"the secret key {key.index}:{handle} cannot be checked: {failure.explain()}"
            ) from failure
        return words[-1]

    async def close(self) -> None:
        """Give up whatever is looked up."""
        await self._flights.close()

    async def _look_up(self, handle: Handle) -> Values:
        with self._shares.take(_share(handle)):
            reply = await self._client.resolve(
                Question(handle=handle, types=TYPES),
                certified=True,
                deadline_s=self._client.clock() + LOOKUP_S,
            )
        match reply:
            case Found(values=values):
                public = values.select(types=TYPES, public_only=True)
                found = parse_stored(public)
                life_s = min(KEPT_S, public.smallest_ttl_s(self._wall_clock())) if found else ABSENT_S
                self._keep(handle, found, max(life_s, FAILED_S))
                return found
            case Denied():
                self._keep(handle, {}, ABSENT_S)
                return {}

    async def _service(self, handle: Handle) -> Ask | None:
        """Whom to ask about a secret; None where there is no such handle."""
        kept = self._services.get(_key(handle), self._clock())
        if kept is not None:
            return kept
        deadline_s = self._client.clock() + LOOKUP_S
        step = await self._client.locate(Question(handle=handle), certified=True, deadline_s=deadline_s)
        if not isinstance(step, Ask):
            return None
        self._services.put(_key(handle), step, octets=1_000, expires_s=self._clock() + ABSENT_S)
        return step

    def _keep(self, handle: Handle, values: Values, life_s: float) -> None:
        octets = 200 + sum(len(value) + 100 for value in values.values())
        self._records.put(_key(handle), values, octets=octets, expires_s=self._clock() + life_s)

    def _busy(self, handle: Handle) -> KeyUnknown:
        self.on_limit(KEY_LOOKUPS)
        return KeyUnknown(f"too many keys of other nodes are looked up, or wait for that of {handle.prefix}")


def _key(handle: Handle) -> bytes:
    """What a handle is known by here: its node may tell suffixes apart by their case."""
    return handle.fold(case_sensitive=True)


def _share(handle: Handle) -> str:
    return handle.prefix.key.decode("utf-8", "replace")
