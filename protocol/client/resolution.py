"""Resolution: the chain of exchanges behind one answer, as a state machine without sockets, clock or randomness.

The driver repeats: `step()` gives an Ask; it sends that to one of the sites and reports `answered(...)` or
`failed(...)`; until `step()` gives a reply. The walk is minimised: the root service is asked for 0.NA/88, whoever
that record names for 0.NA/88.100, and so on; the suffix of a handle is told to the service of its own prefix alone.

A prefix record that does not exist, or that names nobody for the records below it, says nothing about longer
prefixes: the same service is asked for the next longer one (CNRI's root holds 0.NA/20.500.12345 without 0.NA/20).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from protocol.client import failures
from protocol.client.answers import Answer, Denied, Question, Reply
from protocol.client.delegation import (
    GLOBAL_SERVICE,
    PREFIX_TYPES,
    Delegation,
    Locator,
    read_delegation,
    read_services,
    read_sites,
)
from protocol.client.selection import Opening, routable_sites
from protocol.client.walk import Walk
from protocol.codes import REFERRALS, ResponseCode
from protocol.errors import InvalidHandle, LameService, ResolutionFailed, Unreachable
from protocol.handle import ROOT_PREFIX_OCTETS, Handle, Prefix
from protocol.site import Service, Site
from protocol.statuses import parse_status
from protocol.valuetypes.hs_site import (
    BELOW_SERVICE_TYPES,
    BELOW_SITE_TYPES,
    HOME_SERVICE_TYPES,
    HOME_SITE_TYPES,
    HOME_TYPES,
)

ROOT_LEVEL: Final = Prefix(ROOT_PREFIX_OCTETS)

Known = Callable[[Prefix], Delegation | None]
Fingerprint = tuple[bytes, frozenset[tuple[bytes, int]]]


def nothing_known(prefix: Prefix) -> Delegation | None:
    """The Known of a client without a cache."""
    return None


class Purpose(StrEnum):
    """Why an exchange is made; the names stand in traces."""

    PREFIX = "prefix"
    """Who serves a prefix, or knows who does."""
    SERVICE = "service"
    """Which sites a service handle names."""
    HANDLE = "handle"
    """The question itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far a resolution goes. Each limit is named in the failure that it causes."""

    referrals_max: int = 16
    """Referrals (302, 303) followed; real chains are three long, deployed clients stop at 40."""
    service_depth_max: int = 20
    """Service handles that lead to service handles, as deployed clients (PROTOCOL.md §1.4)."""
    labels_max: int = 8
    """Labels of a prefix asked for one by one; a longer prefix is asked for whole after that. Real ones have four."""
    exchanges_max: int = 40
    """Exchanges of one resolution; a walk of four levels takes four, this is for what is left of an attack."""
    negative_ttl_s: int = 30
    """How long a driver may remember that a prefix record is missing or empty."""


DEFAULT_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One exchange to make: this question to any of these sites."""

    service: Service
    """Only sites that may be asked; name is the record that named them, or the root service's name."""
    handle: Handle
    indexes: tuple[int, ...] = ()
    types: tuple[str, ...] = ()
    authoritative: bool = False
    purpose: Purpose
    level: Prefix = ROOT_LEVEL
    """The prefix on whose behalf the sites are asked; 0.NA for the root service, which the operator named himself."""

    @property
    def needs_reply(self) -> bool:
        """Whether the authority's final word is wanted, not just a way on."""
        return self.purpose is Purpose.HANDLE


class Resolution:
    """One resolution. Not safe for two drivers at once; thrown away after its reply.

    known: what the driver remembers about a prefix, or None; asked at most once for each prefix.
    """

    def __init__(
        self,
        question: Question,
        *,
        root: Service,
        known: Known = nothing_known,
        limits: Limits = DEFAULT_LIMITS,
        openings: Iterable[Opening] = (),
    ) -> None:
        self._question = question
        self._root = Locator(owner=None, sites=root.sites, source=root.name)
        self._known = known
        self._limits = limits
        self._openings = tuple(openings)
        self._facts: dict[bytes, Delegation | None] = {}
        self._remembered: set[bytes] = set()
        """Keys of the facts that came from the driver's memory and may be out of date."""
        self._used: list[Delegation] = []
        self._asked: dict[Fingerprint, ResolutionFailed | None] = {}
        """Every exchange so far, with the failure of those that failed."""
        self._doubted: ResolutionFailed | None = None
        self._refreshed: tuple[Fingerprint, Answer] | None = None
        """The referral by a remembered service upon which its delegation was asked for afresh."""
        self._referrals = 0
        self._exchanges = 0
        self._reply: Reply | None = None
        self._failure: ResolutionFailed | None = None
        self._walks: list[Walk] = []
        target = question.handle.resolved
        self._begin(target, question.indexes, question.types)
        if not _has_prefix(target):
            self._reply = self._denied(f"{target.prefix} is no prefix: it has an empty label")

    def step(self) -> Ask | Reply:
        """What to do next: one exchange, or nothing more, with the reply. Repeatable until it is answered or failed.

        Raises ResolutionFailed when no way is left.
        """
        while self._reply is None:
            if self._failure is not None:
                raise self._failure
            ask = self._next()
            if ask is not None:
                return ask
        return self._reply

    def answered(self, answer: Answer, wall_s: float) -> tuple[Delegation, ...]:
        """Take the answer to the last Ask. Returns what it taught about prefixes, for the driver to remember.

        wall_s: Unix seconds, for absolute TTLs.
        """
        walk = self._walks[-1]
        self._note(walk, None)
        if answer.code in REFERRALS:
            self._refer(walk, answer)
            return ()
        if not walk.is_at_target:
            return self._learn(walk, answer, wall_s)
        if len(self._walks) > 1:
            return self._locate(walk, answer, wall_s)
        self._reply = answer.reply(self._question.handle)
        return ()

    def failed(self, failure: ResolutionFailed) -> None:
        """No site of the last Ask gave a usable answer. The next step() tries what is left, or raises the failure."""
        self._note(self._walks[-1], failure)
        self._give_up(failure)

    def _note(self, walk: Walk, failure: ResolutionFailed | None) -> None:
        self._exchanges += 1
        self._asked[_fingerprint(walk.asked, self._sites(walk))] = failure

    def take_remembered(self) -> tuple[Delegation, ...]:
        """The remembered delegations that were relied on since the last call, for traces."""
        used, self._used = tuple(self._used), []
        return used

    # From here on: finding the next exchange.

    def _begin(self, target: Handle, indexes: tuple[int, ...], types: tuple[str, ...]) -> None:
        walk = Walk(target, indexes, types, root=self._root, labels_max=self._limits.labels_max)
        self._walks.append(walk)
        self._place(walk)

    def _place(self, walk: Walk) -> None:
        """Put a walk as near to its target as the facts allow."""
        walk.relied_on = None
        last = len(walk.path) - (1 if walk.home else 0)
        if walk.home:
            delegation = self._fact(walk.path[-1])
            if delegation is not None:
                walk.position, walk.locator = last + 1, delegation.home
                self._rely(walk, delegation)
                return
        position, locator = walk.base
        for candidate in range(last, position, -1):
            delegation = self._fact(walk.path[candidate - 1])
            if delegation is not None and delegation.delegates:
                position, locator = candidate, delegation.below
                self._rely(walk, delegation)
                break
        while position < last and self._fact(walk.path[position]) is not None:
            position += 1  # known to lead nowhere: the same service is asked for the next longer prefix
        walk.position, walk.locator = position, locator

    def _rely(self, walk: Walk, delegation: Delegation) -> None:
        walk.relied_on = delegation.prefix
        if delegation.prefix.key in self._remembered and delegation not in self._used:
            self._used.append(delegation)

    def _fact(self, prefix: Prefix) -> Delegation | None:
        key = prefix.key
        if key not in self._facts:
            fact = self._known(prefix)
            if fact is not None and not fact.exists and self._question.authoritative:
                fact = None  # a remembered denial is no authority's word
            self._facts[key] = fact
            if fact is not None:
                self._remembered.add(key)
        return self._facts[key]

    def _next(self) -> Ask | None:
        """The next exchange; None when something else moved and step() should look again."""
        walk = self._walks[-1]
        if walk.home and walk.is_at_target and self._is_unregistered(walk.path[-1]):
            self._deny(walk)
            return None
        if walk.home and walk.is_at_target and (inactive := self._inactive(walk.path[-1])) is not None:
            self._deny_inactive(walk, inactive)
            return None
        sites = self._sites(walk)
        if sites:
            return self._ask(walk, sites)
        if walk.locator.services:
            self._follow(walk)
        else:
            self._give_up(failures.nowhere(walk))
        return None

    def _is_unregistered(self, prefix: Prefix) -> bool:
        fact = self._facts.get(prefix.key)
        return fact is not None and not fact.exists

    def _inactive(self, prefix: Prefix) -> str | None:
        """Why a prefix is not served; None where it is, or where its record names a service all the same."""
        fact = self._facts.get(prefix.key)
        return None if fact is None or fact.sites or fact.services else fact.inactive

    def _sites(self, walk: Walk) -> tuple[Site, ...]:
        return routable_sites(walk.locator.sites, walk.asked, walk.locator.owner, self._openings)

    def _ask(self, walk: Walk, sites: tuple[Site, ...]) -> Ask | None:
        if self._exchanges >= self._limits.exchanges_max:
            self._failure = failures.limit("exchanges_max", self._limits.exchanges_max, walk)
            return None
        fingerprint = _fingerprint(walk.asked, sites)
        if fingerprint in self._asked:
            if self._refreshed is not None and self._refreshed[0] == fingerprint:
                self._follow_referral(walk, self._refreshed[1])  # nothing is newer than what it said
                return None
            self._give_up(self._asked[fingerprint] or failures.loop(walk))
            return None
        at_target = walk.is_at_target
        inner = len(self._walks) > 1
        purpose = Purpose.PREFIX if not at_target else Purpose.SERVICE if inner else Purpose.HANDLE
        return Ask(
            service=Service(walk.locator.source, sites),
            handle=walk.asked,
            indexes=walk.indexes if at_target else (),
            types=walk.types if at_target else PREFIX_TYPES,
            authoritative=self._question.authoritative and purpose is Purpose.HANDLE,
            purpose=purpose,
            level=walk.locator.owner or ROOT_LEVEL,
        )

    def _follow(self, walk: Walk) -> None:
        """Go and look up the next service handle of the walk's locator."""
        locator = walk.locator
        service, rest = locator.services[0], locator.services[1:]
        walk.locator = replace(locator, sites=(), services=rest, trail=(*locator.trail, service))
        if service == GLOBAL_SERVICE:
            walk.locator = replace(self._root, services=rest, trail=walk.locator.trail)
        elif service in locator.trail or any(outer.target == service for outer in self._walks):
            self._give_up(failures.service_loop(service, walk))
        elif len(locator.trail) + len(self._walks) > self._limits.service_depth_max:
            self._failure = failures.limit("service_depth_max", self._limits.service_depth_max, walk)
        else:
            self._begin(service, (), HOME_TYPES)

    # From here on: what an answer changes.

    def _learn(self, walk: Walk, answer: Answer, wall_s: float) -> tuple[Delegation, ...]:
        """A prefix record, or the authority's word that there is none."""
        prefix = walk.path[walk.position]
        negative_ttl_s = self._limits.negative_ttl_s
        match answer.code:
            case ResponseCode.SUCCESS:
                fact = read_delegation(prefix, answer.values, wall_s=wall_s, empty_ttl_s=negative_ttl_s)
            case ResponseCode.VALUES_NOT_FOUND:
                fact = Delegation(prefix=prefix, ttl_s=negative_ttl_s)
            case ResponseCode.HANDLE_NOT_FOUND:
                revoked = answer.message if parse_status(answer.message) is not None else None
                fact = Delegation(prefix=prefix, exists=False, inactive=revoked, ttl_s=negative_ttl_s)
            case _:
                self._give_up(failures.unusable(walk, answer))
                return ()
        self._facts[prefix.key] = fact
        self._remembered.discard(prefix.key)
        self._place(walk)
        return (fact,)

    def _locate(self, walk: Walk, answer: Answer, wall_s: float) -> tuple[Delegation, ...]:
        """The record of a service handle: its sites take the place of the handle in the walk that needs them."""
        sites = read_sites(answer.values, HOME_SITE_TYPES)
        services = read_services(answer.values, HOME_SERVICE_TYPES)
        if answer.code != ResponseCode.SUCCESS or not (sites or services):
            self._give_up(failures.no_sites(walk, answer))
            return ()
        self._walks.pop()
        outer = self._walks[-1]
        # No owner is left where the root itself was tried first; its trust does not pass on to whom a record names.
        outer.locator = replace(
            outer.locator,
            owner=outer.locator.owner or outer.owner,
            sites=sites,
            services=services + outer.locator.services,
            source=str(walk.target),
        )
        ttl_s = answer.values.smallest_ttl_s(wall_s)
        return self._complete(outer, sites, ttl_s) if sites else ()

    def _complete(self, walk: Walk, sites: tuple[Site, ...], ttl_s: int) -> tuple[Delegation, ...]:
        """Write a service handle's sites into the delegation that names it, so that they are remembered together."""
        fact = self._facts.get(walk.relied_on.key) if walk.relied_on is not None else None
        at_home = walk.home and walk.is_at_target
        if fact is None or (fact.sites if at_home else fact.prefix_sites):
            return ()
        ttl_s = min(fact.ttl_s, ttl_s)
        found = replace(fact, sites=sites) if at_home else replace(fact, prefix_sites=sites)
        fact = replace(found, ttl_s=ttl_s)
        self._facts[fact.prefix.key] = fact
        return (fact,)

    def _refer(self, walk: Walk, answer: Answer) -> None:
        """Follow a referral. Source: PROTOCOL.md §4.3, §7.6, §10.47."""
        if not self._refresh(walk, answer):
            self._follow_referral(walk, answer)

    def _refresh(self, walk: Walk, answer: Answer) -> bool:
        """Whether a delegation is asked for afresh, since the service that it named refers to another one.

        Once in a resolution: the prefix has moved, and with the new delegation remembered, only this one resolution
        takes the longer way.
        """
        prefix = walk.relied_on
        if self._refreshed is not None or prefix is None or prefix.key not in self._remembered:
            return False
        if answer.code != ResponseCode.SERVICE_REFERRAL or not (walk.home and walk.is_at_target):
            return False
        self._refreshed = _fingerprint(walk.asked, self._sites(walk)), answer
        self._forget(walk, prefix)
        return True

    def _forget(self, walk: Walk, prefix: Prefix) -> None:
        """Ask for a remembered delegation again."""
        self._remembered.discard(prefix.key)
        self._facts[prefix.key] = None
        self._place(walk)

    def _follow_referral(self, walk: Walk, answer: Answer) -> None:
        self._referrals += 1
        if self._referrals > self._limits.referrals_max:
            self._failure = failures.limit("referrals_max", self._limits.referrals_max, walk)
            return
        if answer.code == ResponseCode.PREFIX_REFERRAL and not walk.asks_for_prefix_record:
            self._give_up(failures.unusable(walk, answer))
            return
        walk.locator = _referred(walk, answer)
        walk.relied_on = None
        if walk.asks_for_prefix_record:
            walk.base = (walk.position, walk.locator)

    def _deny(self, walk: Walk) -> None:
        """The prefix of the target is not registered, so neither is the target."""
        prefix = walk.path[-1]
        if len(self._walks) > 1:
            self._give_up(failures.unregistered(walk, prefix))
            return
        fact = self._facts.get(prefix.key)
        told = None if fact is None else fact.inactive
        self._reply = self._denied(told or f"Prefix {prefix} is not registered")

    def _deny_inactive(self, walk: Walk, inactive: str) -> None:
        """The prefix of the target is suspended: its handles exist, and nothing is said of them."""
        if len(self._walks) > 1:
            self._give_up(failures.nowhere(walk))
            return
        self._reply = self._denied(inactive, ResponseCode.VALUES_NOT_FOUND)

    def _denied(self, message: str, code: ResponseCode = ResponseCode.HANDLE_NOT_FOUND) -> Denied:
        return Denied(handle=self._question.handle, code=code, message=message)

    def _give_up(self, failure: ResolutionFailed) -> None:
        """Nobody at the innermost walk's locator helps: take what else there is, outwards, else fail."""
        while True:
            walk = self._walks[-1]
            if walk.locator.services:
                walk.locator = walk.locator.without_sites()
                return
            if self._doubt(walk, failure):
                return
            if len(self._walks) == 1:
                self._failure = failure if walk.is_at_target else self._doubted or failure
                return
            self._walks.pop()

    def _doubt(self, walk: Walk, failure: ResolutionFailed) -> bool:
        """Whether the service that failed was only remembered; then its prefix record is asked for afresh.

        Once in a resolution: a node that moved is found again before its old record's TTL is over, and a node that is
        down costs its parent one exchange.
        """
        prefix = walk.relied_on
        if self._doubted is not None or prefix is None or prefix.key not in self._remembered:
            return False
        if not isinstance(failure, LameService | Unreachable):
            return False
        self._doubted = failure
        self._forget(walk, prefix)
        return True


def _has_prefix(target: Handle) -> bool:
    """Whether the target's prefix could be allocated at all; nobody needs to be asked about one that could not."""
    try:
        Prefix.parse(target.prefix.octets)
    except InvalidHandle:
        return False
    return True


def _referred(walk: Walk, answer: Answer) -> Locator:
    """Where a referral points: to a service handle, or to what its values say."""
    source = f"referral for {walk.asked}"
    if answer.referral is not None:
        return Locator(owner=walk.owner, services=(answer.referral.resolved,), source=source)
    kinds = [(HOME_SITE_TYPES, HOME_SERVICE_TYPES), (BELOW_SITE_TYPES, BELOW_SERVICE_TYPES)]
    if answer.code == ResponseCode.PREFIX_REFERRAL:
        kinds.reverse()  # its own kind first; some servers send the other
    for site_types, service_types in kinds:
        sites = read_sites(answer.values, site_types)
        services = read_services(answer.values, service_types)
        if sites or services:
            return Locator(owner=walk.owner, sites=sites, services=services, source=source)
    return Locator(owner=walk.owner, source=source)


def _fingerprint(asked: Handle, sites: tuple[Site, ...]) -> Fingerprint:
    """What makes two exchanges the same: the handle, and the servers that may answer."""
    return asked.key, frozenset(
        (server.address, interface.port)
        for site in sites
        for server in site.servers
        for interface in server.interfaces
    )
