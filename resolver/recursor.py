"""Recursor: answers a question from the caches, by asking other recursive nodes, or by walking from the root.

What is fetched is always the whole public record, once, whatever was asked for; callers select from it.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, Protocol

import structlog

from protocol.client.answers import Answer, Denied, Found, Question
from protocol.client.client import Passing
from protocol.client.delegation import Delegation
from protocol.client.resolution import DEFAULT_LIMITS, Ask, Known, Purpose, Resolution
from protocol.client.selection import Opening
from protocol.client.verdict import Failure
from protocol.codes import ResponseCode
from protocol.errors import RecursionLimit, ResolutionFailed, Unreachable
from protocol.handle import Handle
from protocol.message import Message
from protocol.runtime.memory_cache import MemoryCache
from protocol.runtime.shares import ServiceShares
from protocol.runtime.single_flight import SingleFlight, TooBusy
from protocol.site import Service
from resolver.cache.policy import Denial, Entry, cache_key, denial_entry, record_entry
from resolver.cache.records import Clocks
from resolver.cache.tiered import TieredCache

PASSED_ON: Final = frozenset(
    {
        ResponseCode.SERVER_TOO_BUSY,
        ResponseCode.RECURSION_LIMIT,
        ResponseCode.SERVER_BACKUP,
        ResponseCode.HANDLE_NOT_FOUND,
        ResponseCode.INVALID_HANDLE,
        ResponseCode.VALUES_NOT_FOUND,
        ResponseCode.ACCESS_DENIED,
    }
)
"""What an authority may say and we repeat; its other codes mean something only between it and us."""


class Origin(StrEnum):
    """How an answer came about; told in the Cache-Status header."""

    HIT = "hit"
    """From a cache."""
    FETCHED = "fetched"
    """Asked for on behalf of this very question."""
    SHARED = "shared"
    """Asked for on behalf of an equal question that was in flight."""


GRACE_S: Final = 0.5  # for whoever watches the deadline to say what was late, before we end it without a word


TOLD_AGAIN_S: Final = 60.0  # between two log lines about one failing node
PASSING_MAX: Final = (
    256  # requests passed on at once: nobody shares them, and each is an exchange with an authority
)
NODES_TOLD_MAX: Final = 1_000  # nodes remembered as told of; beyond, the longest unused is told of again
MAX_NODE_OCTETS: Final = 200

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A record or denial, and how it came about."""

    entry: Entry
    origin: Origin


class Complaints:
    """Says which node fails, once in a while for each, so that a dead node under load does not fill the log."""

    def __init__(self) -> None:
        """Nobody has failed yet."""
        self._told: MemoryCache[bool] = MemoryCache(entries_max=NODES_TOLD_MAX, octets_max=2**20)

    def tell(self, handle: Handle, failure: ResolutionFailed, now_s: float) -> None:
        """Log a failure, unless its node was told of lately."""
        key = failure.node.encode("utf-8", "replace")[:MAX_NODE_OCTETS]
        if self._told.get(key, now_s):
            return
        self._told.put(key, True, octets=1, expires_s=now_s + TOLD_AGAIN_S)
        log.warning(
            "resolution_failed",
            handle=str(handle),
            node=failure.node,
            cause=failure.cause,
            since=failure.since,
            remedy=failure.remedy,
        )


class Upstream(Protocol):
    """Makes one exchange of a walk with whichever site of a service answers."""

    def exchange(
        self,
        ask: Ask,
        *,
        deadline_s: float,
        recursion_count: int,
        tried: Sequence[Failure] = (),
        passing: Passing | None = None,
    ) -> Coroutine[Any, Any, Answer]:
        """Return the answer; raises ResolutionFailed when no site gives a usable one by deadline_s (monotonic).

        tried: what failed for this Ask already. passing: a client's request to send as it is.
        """


class Forwarder(Protocol):
    """Asks other recursive nodes."""

    def applies(self, handle: Handle) -> bool:
        """Whether questions about the handle are forwarded."""

    async def ask(
        self, question: Question, *, deadline_s: float, recursion_count: int, passing: Passing | None = None
    ) -> Answer:
        """Return the answer of the first node that gives one; raises ResolutionFailed when none does.

        passing: a client's request to send as it is.
        """


class ExchangeObserver(Protocol):
    """Who counts exchanges with other nodes."""

    def exchanged(self, level: str, result: str) -> None:
        """One exchange: level is a Purpose or "forward", result "ok" or "failed"."""

    def limit_reached(self, limit: str) -> None:
        """A named limit refused work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one question, and all of them together, may use."""

    resolution_time_s: float
    recursion_limit: int
    resolutions_max: int
    service_exchanges_max: int
    waiters_max: int


FlightKey = tuple[bytes, bool, int]
"""Cache key, whether past all caches, recursion count: a question that comes back to us in a loop must not wait for
itself."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What was tried for a question before the general way took it over."""

    ask: Ask
    failure: Failure


def system_clocks() -> Clocks:
    """Return what time it is."""
    return Clocks(now_s=time.monotonic(), wall_s=time.time())


class Recursor:
    """The one place where questions become answers; shared by every front end."""

    def __init__(
        self,
        *,
        cache: TieredCache,
        root: Callable[[], Service],
        upstream: Upstream,
        forwarder: Forwarder,
        openings: tuple[Opening, ...],
        bounds: Bounds,
        observer: ExchangeObserver,
        clocks: Callable[[], Clocks] = system_clocks,
    ) -> None:
        """root gives the root service as it is known now; openings are the private networks that may be asked."""
        self.cache = cache
        self._root = root
        self._upstream = upstream
        self._forwarder = forwarder
        self._openings = openings
        self._limits = replace(
            DEFAULT_LIMITS,
            negative_ttl_s=min(cache.lifetimes.negative_ttl_s, DEFAULT_LIMITS.negative_ttl_s),
        )
        self.bounds = bounds
        self.observer = observer
        self._clocks = clocks
        self._complaints = Complaints()
        self.shares = ServiceShares(bounds.service_exchanges_max)
        self.flights: SingleFlight[FlightKey, Entry] = SingleFlight(
            flights_max=bounds.resolutions_max, waiters_max=bounds.waiters_max
        )
        self._passing: set[bytes] = set()
        """The octets of every request that is being passed on."""
        self._prefix_flights: SingleFlight[tuple[bytes, Service, int], Answer] = SingleFlight(
            flights_max=bounds.resolutions_max, waiters_max=bounds.waiters_max + bounds.resolutions_max
        )

    def cached(self, handle: Handle) -> Entry | None:
        """The record or denial in memory; starts nothing and waits for nothing."""
        return self.cache.entry(cache_key(handle), self._clocks().now_s)

    async def resolve(
        self, handle: Handle, *, authoritative: bool = False, recursion_count: int = 0
    ) -> Resolved:
        """The record or denial of a handle.

        authoritative: asked of a primary site of the authority, past all caches.
        recursion_count: recursive nodes that the question has already passed.
        Raises TooBusy at a limit, RecursionLimit above the allowed count, ResolutionFailed when nobody answers.
        """
        if not authoritative:
            entry = self.cached(handle)
            if entry is not None:
                return Resolved(entry, Origin.HIT)
        if recursion_count >= self.bounds.recursion_limit:
            self.observer.limit_reached("recursion_limit")
            raise RecursionLimit(
                f"the question has passed {recursion_count} recursive nodes, "
                f"recursion_limit = {self.bounds.recursion_limit}; two of them may forward to each other"
            )
        key = (cache_key(handle), authoritative, recursion_count)
        question = Question(handle=handle, authoritative=authoritative)
        deadline_s = self._clocks().now_s + self.bounds.resolution_time_s
        try:
            entry, shared = await self.flights.run(
                key, lambda: self._fetch(question, deadline_s, recursion_count)
            )
        except TooBusy as error:
            self.observer.limit_reached(error.limit)
            raise
        return Resolved(entry, Origin.SHARED if shared else Origin.FETCHED)

    async def pass_on(self, question: Question, request: Message) -> Message | Denied:
        """What the authority answers to a client's own request, untouched; Denied where nobody needed to be asked.

        Past every cache of answers, since the signature that the client wants covers its request id. The count of
        nodes that the request has passed cannot be raised, for the same reason; one that comes back while it is passed
        on has gone in a circle. Raises TooBusy, RecursionLimit, ResolutionFailed.
        """
        octets = request.encode()
        if octets in self._passing:
            raise RecursionLimit("the question went in a circle: recursive nodes forward it to each other")
        if len(self._passing) >= PASSING_MAX:
            self.observer.limit_reached("passing_on")
            raise TooBusy("passing_on", PASSING_MAX)
        self._passing.add(octets)
        try:
            async with asyncio.timeout(self.bounds.resolution_time_s + GRACE_S):
                return await self._pass_on(question, Passing(request=request))
        except TimeoutError:
            raise Unreachable(
                f"no answer within resolution_time_s = {self.bounds.resolution_time_s:g}"
            ) from None
        finally:
            self._passing.discard(octets)

    async def _pass_on(self, question: Question, passing: Passing) -> Message | Denied:
        deadline_s = self._clocks().now_s + self.bounds.resolution_time_s
        reply: Found | Denied
        if self._forwarder.applies(question.handle):
            answer = await self._forwarder.ask(
                question, deadline_s=deadline_s, recursion_count=0, passing=passing
            )
            reply = answer.reply(question.handle)
        else:
            reply = await self._walk_passing(question, deadline_s, passing)
        if isinstance(reply, Denied) and reply.code not in PASSED_ON:
            raise _refused(reply.code, reply.message)
        if passing.response is None:
            assert isinstance(reply, Denied), "values come from an exchange alone"
            return reply
        return passing.response

    async def _walk_passing(self, question: Question, deadline_s: float, passing: Passing) -> Found | Denied:
        """A walk whose last exchange is made with the client's own request."""
        resolution = self._resolution(question, self.cache.delegation)
        while isinstance(step := resolution.step(), Ask):
            passing.response = None  # a referral is followed, not passed on
            asked = passing if step.purpose is Purpose.HANDLE else None
            await self._advance(resolution, step, deadline_s, 0, passing=asked)
        return step

    def direct_ask(self, handle: Handle, delegation: Delegation) -> Ask | None:
        """The exchange that answers a question when the delegation of its prefix is known; None where it takes more."""
        if self._forwarder.applies(handle):
            return None
        try:
            step = self._resolution(Question(handle=handle), lambda _: delegation).step()
        except ResolutionFailed:
            return None
        return step if isinstance(step, Ask) and step.purpose is Purpose.HANDLE else None

    def carry_on(self, key: FlightKey, handle: Handle, deadline_s: float, tried: Tried | None) -> None:
        """Take over a question that is in flight under the key, in a task, for whoever waits for it."""
        question = Question(handle=handle)
        self.flights.carry_on(key, self._fetch(question, deadline_s, key[2], tried))

    async def close(self) -> None:
        """Give up whatever is in flight."""
        await self.flights.close()
        await self._prefix_flights.close()

    async def _fetch(
        self, question: Question, deadline_s: float, recursion_count: int, tried: Tried | None = None
    ) -> Entry:
        handle = question.handle
        if not question.authoritative:
            entry = await self.cache.fetch(handle)
            if entry is not None:
                return entry
        try:
            async with asyncio.timeout(deadline_s - self._clocks().now_s + GRACE_S):
                if self._forwarder.applies(handle):
                    entry = await self._forward(question, deadline_s, recursion_count)
                else:
                    entry = await self._walk(question, deadline_s, recursion_count, tried)
        except TimeoutError:
            raise Unreachable(
                f"no answer within resolution_time_s = {self.bounds.resolution_time_s:g}"
            ) from None
        except ResolutionFailed as failure:
            self._complaints.tell(handle, failure, self._clocks().now_s)
            raise
        self.cache.put(handle, entry)
        return entry

    async def _forward(self, question: Question, deadline_s: float, recursion_count: int) -> Entry:
        answer = await self._forwarder.ask(
            question, deadline_s=deadline_s, recursion_count=recursion_count + 1
        )
        return self.entry_of(answer.reply(question.handle))

    async def _walk(
        self, question: Question, deadline_s: float, recursion_count: int, tried: Tried | None
    ) -> Entry:
        resolution = self._resolution(question, self.cache.delegation)
        while True:
            match resolution.step():
                case Ask() as ask:
                    failures = (
                        (tried.failure,) if tried is not None and tried.ask.service == ask.service else ()
                    )
                    await self._advance(resolution, ask, deadline_s, recursion_count, tried=failures)
                case Found() | Denied() as reply:
                    return self.entry_of(reply)

    def _resolution(self, question: Question, known: Known) -> Resolution:
        return Resolution(
            question,
            root=self._root(),
            known=known,
            limits=self._limits,
            openings=self._openings,
        )

    async def _advance(
        self,
        resolution: Resolution,
        ask: Ask,
        deadline_s: float,
        recursion_count: int,
        *,
        tried: Sequence[Failure] = (),
        passing: Passing | None = None,
    ) -> None:
        """Make one exchange of a walk, tell the walk, remember what it learned."""
        try:
            answer = await self._exchange(ask, deadline_s, recursion_count, tried=tried, passing=passing)
        except ResolutionFailed as failure:
            self.observer.exchanged(ask.purpose, "failed")
            if self._clocks().now_s >= deadline_s:
                raise
            resolution.failed(failure)
            return
        self.observer.exchanged(ask.purpose, "ok")
        for delegation in resolution.answered(answer, self._clocks().wall_s):
            self.cache.put_delegation(delegation)

    async def _exchange(
        self,
        ask: Ask,
        deadline_s: float,
        recursion_count: int,
        *,
        tried: Sequence[Failure],
        passing: Passing | None,
    ) -> Answer:
        def work() -> Coroutine[Any, Any, Answer]:
            return self._upstream.exchange(
                ask, deadline_s=deadline_s, recursion_count=recursion_count, tried=tried, passing=passing
            )

        if ask.purpose is Purpose.HANDLE:
            with self.shares.take(ask.service.name):
                return await work()
        return (await self._prefix_flights.run((ask.handle.key, ask.service, recursion_count), work))[0]

    def entry_of(self, reply: Found | Denied) -> Entry:
        """What a reply is kept as. Raises ResolutionFailed for a refusal that is not for whoever asked us."""
        clocks = self._clocks()
        lifetimes = self.cache.lifetimes
        match reply:
            case Found(values=values):
                public = values.select(public_only=True)
                return record_entry(public, lifetimes=lifetimes, now_s=clocks.now_s, wall_s=clocks.wall_s)
            case Denied(code=code, message=message):
                return _denial(code, message, self.cache, clocks)


def _denial(code: int, message: str, cache: TieredCache, clocks: Clocks) -> Denial:
    if code not in PASSED_ON:
        raise _refused(code, message)
    return denial_entry(ResponseCode(code), message, lifetimes=cache.lifetimes, now_s=clocks.now_s)


def _refused(code: int, message: str) -> ResolutionFailed:
    """What an authority said between it and us."""
    return ResolutionFailed(
        f"the authority refused with response code {code}: {message or 'no reason given'}"
    )
