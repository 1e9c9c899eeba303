"""Forwarding: which questions go to other recursive nodes instead of being walked, and asking those nodes.

A question that two nodes forward to each other ends at the limit of the recursion count (RC 6), which is final:
trying further addresses then would multiply the loop.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from protocol.bodies import ResolutionRequest
from protocol.client.answers import Answer, Question, read_answer
from protocol.client.client import Passing
from protocol.client.verdict import cause_of
from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag, ResponseCode
from protocol.errors import RecursionLimit, ResolutionFailed, Unreachable, WireError
from protocol.handle import Handle, Prefix
from protocol.message import ANSWER_LIFE_S, Message
from protocol.site import InterfaceProtocol
from protocol.transport.exchanger import new_request_id
from resolver.settings import EVERYTHING, ForwardRule, parse_endpoint

SHUNNED_S: Final = 10.0  # an address that failed is tried last for this long
MAX_FAILURES: Final = 256  # addresses remembered as failing; settings name a handful
EXCHANGE_S: Final = 4.0  # patience with one way to a node that is given several; it may have to walk itself
MAX_RECURSION_COUNT: Final = 255  # one octet of the header
FINAL: Final = frozenset(
    {
        ResponseCode.SUCCESS,
        ResponseCode.HANDLE_NOT_FOUND,
        ResponseCode.INVALID_HANDLE,
        ResponseCode.VALUES_NOT_FOUND,
    }
)
"""What another recursive node can say about a handle; with anything else it speaks of itself, and the next is asked."""

Endpoint = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Target:
    """One way to reach another recursive node."""

    protocol: InterfaceProtocol
    address: str
    port: int

    @property
    def endpoint(self) -> Endpoint:
        """The node, whatever the way to it."""
        return self.address, self.port

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}/{self.protocol.name.lower()}"


@dataclass(frozen=True, slots=True)
class _Failure:
    first_s: float
    last_s: float


class Forwarding:
    """The operator's rules, and which of the addresses failed lately."""

    def __init__(self, rules: Iterable[ForwardRule]) -> None:
        """rules: checked settings; the longest prefix that fits a question decides."""
        self._rules: dict[bytes, tuple[Endpoint, ...]] = {}
        self._everything: tuple[Endpoint, ...] = ()
        self._failures: dict[Target, _Failure] = {}
        for rule in rules:
            endpoints = tuple(dict.fromkeys(parse_endpoint(address) for address in rule.addresses))
            if rule.prefix == EVERYTHING:
                self._everything = endpoints
            else:
                self._rules[Prefix.parse(rule.prefix).key] = endpoints

    @property
    def endpoints(self) -> frozenset[Endpoint]:
        """Every address that a rule names."""
        named = {endpoint for endpoints in self._rules.values() for endpoint in endpoints}
        return frozenset(named | set(self._everything))

    def endpoints_for(self, handle: Handle) -> tuple[Endpoint, ...]:
        """The addresses to ask about a handle, as configured; empty when it is to be walked.

        A prefix record 0.NA/<prefix> goes where the handles of that prefix go.
        """
        if not self._rules:
            return self._everything
        for prefix in _subjects(handle):
            endpoints = self._rules.get(prefix)
            if endpoints is not None:
                return endpoints
        return self._everything

    def targets(self, handle: Handle, now_s: float) -> tuple[Target, ...]:
        """Every way to reach them, in the order to be tried: UDP before TCP, what failed lately last."""
        targets = [
            Target(protocol, address, port)
            for protocol in (InterfaceProtocol.UDP, InterfaceProtocol.TCP)
            for address, port in self.endpoints_for(handle)
        ]
        return tuple(sorted(targets, key=lambda target: self._is_shunned(target, now_s)))

    def failed(self, target: Target, now_s: float) -> None:
        """Remember that a target gave no usable answer."""
        known = self._failures.get(target)
        if known is not None or len(self._failures) < MAX_FAILURES:
            self._failures[target] = _Failure(known.first_s if known else now_s, now_s)

    def answered(self, target: Target) -> None:
        """Forget a target's failures."""
        self._failures.pop(target, None)

    def failing_since_s(self, target: Target) -> float | None:
        """Monotonic seconds of a target's first failure since it last answered; None when it is well."""
        failure = self._failures.get(target)
        return None if failure is None else failure.first_s

    def _is_shunned(self, target: Target, now_s: float) -> bool:
        failure = self._failures.get(target)
        return failure is not None and now_s - failure.last_s < SHUNNED_S


def _subjects(handle: Handle) -> Iterator[bytes]:
    """The folded prefixes that a handle falls under, longest first."""
    prefix = Prefix(handle.suffix) if handle.is_prefix_record else handle.prefix
    yield prefix.key
    for ancestor in prefix.ancestors():
        yield ancestor.key


class Exchanging(Protocol):
    """Sends a request to one interface and returns the response to it."""

    async def exchange(
        self, protocol: InterfaceProtocol, address: str, port: int, request: Message, *, deadline_s: float
    ) -> Message:
        """Raises Unreachable when no response comes by deadline_s (monotonic)."""


class ForwardObserver(Protocol):
    """Who counts exchanges with other nodes."""

    def exchanged(self, level: str, result: str) -> None:
        """One exchange: level is "forward", result "ok" or "failed"."""


class ForwardClient:
    """Asks other recursive nodes on behalf of this one; a node that fails is followed by the next."""

    def __init__(
        self,
        forwarding: Forwarding,
        exchanger: Exchanging,
        *,
        observer: ForwardObserver,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """exchanger opens the sockets; forwarding knows the rules."""
        self._forwarding = forwarding
        self._exchanger = exchanger
        self._observer = observer
        self._clock = clock
        self._wall_clock = wall_clock

    def applies(self, handle: Handle) -> bool:
        """Whether questions about the handle are forwarded."""
        return bool(self._forwarding.endpoints_for(handle))

    async def ask(
        self, question: Question, *, deadline_s: float, recursion_count: int, passing: Passing | None = None
    ) -> Answer:
        """The answer of the first node that gives one to the whole record, or to the request that is passed on.

        Raises RecursionLimit when a node says that the question goes in circles, Unreachable when no address gives
        a usable answer by deadline_s; its text says of each address since when and why.
        """
        targets = self._forwarding.targets(question.handle, self._clock())
        failures: list[str] = []
        useless: set[Endpoint] = set()
        for position, target in enumerate(targets):
            share_s = min(EXCHANGE_S, (deadline_s - self._clock()) / (len(targets) - position))
            if target.endpoint in useless or share_s <= 0:
                continue
            try:
                request = passing.request if passing else self._request(question, recursion_count)
                response = await self._exchange(target, request, self._clock() + share_s)
                answer = read_answer(request, response, question.handle, self._wall_clock())
            except (ResolutionFailed, WireError) as error:
                failures.append(self._failed(target, cause_of(error)))
                continue
            if answer.code in FINAL:
                self._forwarding.answered(target)
                self._observer.exchanged("forward", "ok")
                if passing is not None:
                    passing.response = response
                return answer
            failures.append(self._failed(target, f"response code {answer.code} {answer.message}".rstrip()))
            if answer.code == ResponseCode.RECURSION_LIMIT:
                raise RecursionLimit(answer.message or "the question went in circles", node=str(target))
            useless.add(target.endpoint)  # it answered: another way to it would bring the same
        raise Unreachable(
            "; ".join(failures) or "no time was left to ask",
            node=f"recursive nodes for {question.handle.prefix}",
            remedy="start one of these nodes, or change `forwarding` in the settings",
        )

    async def _exchange(self, target: Target, request: Message, deadline_s: float) -> Message:
        return await self._exchanger.exchange(
            target.protocol, target.address, target.port, request, deadline_s=deadline_s
        )

    def _request(self, question: Question, recursion_count: int) -> Message:
        flags = DEFAULT_FLAGS | OpFlag.RRDG | (OpFlag.AUTH if question.authoritative else 0)
        return Message.request(
            OpCode.RESOLUTION,
            ResolutionRequest(handle=question.handle).encode(),
            request_id=new_request_id(),
            expiration=int(self._wall_clock()) + ANSWER_LIFE_S,
            flags=flags,
            recursion_count=min(recursion_count, MAX_RECURSION_COUNT),
        )

    def _failed(self, target: Target, cause: str) -> str:
        """Remember a failure, and say it in words with the time of the first one in this row."""
        now_s = self._clock()
        self._observer.exchanged("forward", "failed")
        self._forwarding.failed(target, now_s)
        since_s = self._forwarding.failing_since_s(target)
        ago_s = 0.0 if since_s is None else now_s - since_s
        since = datetime.fromtimestamp(self._wall_clock() - ago_s, UTC)
        return f"{target} since {since:%Y-%m-%d %H:%M:%SZ}: {cause}"
