"""The short way: a question whose prefix is known is one exchange, driven by callbacks, without a task or a timer.

It takes what is usual and hands everything else to the recursor's general way, which is the one home of the rules:
whom to ask comes from there, once for each prefix in a while, and so does what happens after a failure or a referral.
Both ways share the questions in flight, the shares of the services and the limits.
"""

from typing import Final

from protocol.client.answers import Answer
from protocol.client.delegation import Delegation
from protocol.client.direct import NAME_OCTETS_MAX, DirectClient, DirectExchange, Route, Surveyed
from protocol.client.verdict import Failure
from protocol.codes import REFERRALS
from protocol.errors import ResolutionFailed, Unreachable
from protocol.handle import Handle
from protocol.runtime.memory_cache import MemoryCache
from protocol.runtime.single_flight import TooBusy, Waiter
from protocol.site import Site
from resolver.cache.policy import DENIALS, Entry, Record
from resolver.recursor import FlightKey, Recursor, Tried

PLAN_LIFE_S: Final = 10.0  # then the best site is chosen anew, by the round-trip times measured meanwhile
PLANS_MAX: Final = (
    10_000  # prefixes, or their servers; the longest unused is planned again when it is asked for
)


class _Plan:
    """Whom to ask about the handles of a prefix."""

    __slots__ = ("delegation", "divided", "route")

    def __init__(
        self, delegation: Delegation, route: Route | None = None, divided: tuple[Site, ...] = ()
    ) -> None:
        """route: None where a question takes the general way. divided: the sites that divide the handles among servers.

        Where there are such sites, each combination of responsible servers has a plan of its own.
        """
        self.delegation = delegation
        self.route = route
        self.divided = divided


class ShortWay:
    """Asks one server about one name; made by a node without second tier, on its recursor and its client."""

    def __init__(self, recursor: Recursor, client: DirectClient) -> None:
        self._recursor = recursor
        self._cache = recursor.cache
        self.client = client
        self._clock = client.client.clock
        self._flights = recursor.flights
        self._shares = recursor.shares
        self._bounds = recursor.bounds
        self._plans: MemoryCache[_Plan] = MemoryCache(entries_max=PLANS_MAX, octets_max=2**30)

    def ask(self, name: bytes, recursion_count: int, waiter: Waiter[Entry]) -> bool:
        """Have the waiter told the entry of a name, at once or later, or why there is none.

        False for a name that takes the general way; nothing is done then.
        """
        head, slash, tail = name.partition(b"/")
        if not slash or name.startswith((b"0.", b"0/")) or recursion_count >= self._bounds.recursion_limit:
            return False
        prefix_key = head.upper()
        key = b"".join((prefix_key, slash, tail))  # cache_key() of such a name
        now_s = self._clock()
        entry = self._cache.entry(key, now_s)
        if entry is not None:
            waiter(entry)
            return True
        try:
            return self._fetch(name, (key, False, recursion_count), prefix_key, waiter, now_s)
        except TooBusy as error:
            waiter(error)
            return True

    def _fetch(
        self, name: bytes, key: FlightKey, prefix_key: bytes, waiter: Waiter[Entry], now_s: float
    ) -> bool:
        if self._flights.join(key, waiter):
            return True
        route = self._route(name, prefix_key, now_s)
        if route is None or len(name) > NAME_OCTETS_MAX:
            return False
        self._shares.enter(route.ask.service.name)
        try:
            self._flights.take_off(key, waiter)
        except TooBusy:
            self._shares.leave(route.ask.service.name)
            raise
        question = _Question(self, key, route, name, now_s)
        try:
            self.client.begin(question)
        except Unreachable as error:
            self.answered(question, Failure(target=route.target, cause=error.cause))
        return True

    def _route(self, name: bytes, prefix_key: bytes, now_s: float) -> Route | None:
        delegation = self._cache.delegation_under(prefix_key, now_s)
        if delegation is None:
            return None
        plan = self._planned(prefix_key, name, delegation, now_s)
        if plan.divided:
            handle = Handle(name)
            servers = b",".join(b"%d" % site.responsible_position(handle) for site in plan.divided)
            plan = self._planned(prefix_key + b"/" + servers, name, delegation, now_s)
        return plan.route

    def _planned(self, key: bytes, name: bytes, delegation: Delegation, now_s: float) -> _Plan:
        """The plan under a key: a prefix, or a prefix and the responsible servers of its divided sites."""
        plan = self._plans.get(key, now_s)
        if plan is None or plan.delegation is not delegation or not self._is_usable(plan, now_s):
            divided = () if b"/" in key else tuple(site for site in delegation.sites if len(site.servers) > 1)
            plan = _Plan(delegation, None if divided else self._best_route(name, delegation), divided)
            self._plans.put(key, plan, octets=1, expires_s=now_s + PLAN_LIFE_S)
        return plan

    def _is_usable(self, plan: _Plan, now_s: float) -> bool:
        return plan.route is None or self.client.is_usable(plan.route.target, now_s)

    def _best_route(self, name: bytes, delegation: Delegation) -> Route | None:
        ask = self._recursor.direct_ask(Handle(name), delegation)
        return None if ask is None else self.client.route(ask)

    def answered(self, question: "_Question", outcome: Surveyed | Answer | Failure) -> None:
        """The exchange of a question has ended."""
        self._shares.leave(question.route.ask.service.name)
        if question.flight not in self._flights:
            return  # the node is stopping, and whoever waited knows
        entry = self._entry(question, outcome)
        if entry is None:
            tried = None
            if isinstance(outcome, Failure):
                tried = Tried(question.route.ask, outcome)
            self._recursor.carry_on(
                question.flight,
                Handle(question.name),
                question.started_s + self._bounds.resolution_time_s,
                tried,
            )
            return
        self._recursor.observer.exchanged(question.route.ask.purpose, "ok")
        if isinstance(entry, Record) or entry.code in DENIALS:
            self._cache.put_under(question.flight[0], entry, self._clock())
        self._flights.land(question.flight, entry)

    def _entry(self, question: "_Question", outcome: Surveyed | Answer | Failure) -> Entry | None:
        """What an answer is kept as; None where the general way has to go on."""
        if isinstance(outcome, tuple):
            values, ttl_s = outcome
            now_s = self._clock()
            expires_s = now_s + self._cache.lifetimes.of_ttl(ttl_s)
            return Record(values=values, stored_s=now_s, expires_s=expires_s)
        if isinstance(outcome, Failure) or outcome.code in REFERRALS:
            return None
        try:
            return self._recursor.entry_of(outcome.reply(Handle(question.name)))
        except ResolutionFailed:
            return None


class _Question(DirectExchange):
    """One question on the short way."""

    __slots__ = ("flight", "way")

    def __init__(self, way: ShortWay, flight: FlightKey, route: Route, name: bytes, now_s: float) -> None:
        self.way = way
        self.flight = flight
        super().__init__(way.client, route, name, flight[2], now_s)

    def told(self, outcome: Surveyed | Answer | Failure) -> None:
        """See DirectExchange."""
        self.way.answered(self, outcome)
