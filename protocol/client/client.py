"""HandleClient: drives resolutions over an exchanger, with one deadline for the whole chain.

The exchanger sends one request to one address; everything about which address, how long, and what an answer is worth
is decided here and in the pure modules beside this one.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Final, Protocol

from protocol.bodies import ResolutionRequest, SiteInfoRequest, SiteInfoResponse
from protocol.client.answers import (
    NO_VALUES,
    Answer,
    Question,
    Reply,
    check_response,
    error_text,
    read_answer,
)
from protocol.client.delegation import Delegation
from protocol.client.resolution import (
    DEFAULT_LIMITS,
    Ask,
    Known,
    Limits,
    Purpose,
    Resolution,
    nothing_known,
)
from protocol.client.selection import Opening, ServerHealth, Target, plan_targets
from protocol.client.trace import Hop
from protocol.client.trust import CERTIFIED_FLAGS, check_certified
from protocol.client.verdict import Failure, explain, failure_of, judge, refusal
from protocol.codes import OpCode, OpFlag, ResponseCode
from protocol.errors import ResolutionFailed, Unreachable, WireError
from protocol.handle import Prefix
from protocol.message import ANSWER_LIFE_S, Message, response_code_of
from protocol.site import Interface, InterfaceProtocol, Server, Service, Site
from protocol.transport.exchanger import new_request_id

TOTAL_S: Final = 10.0  # for a whole resolution; deployed clients give up on a resolver after a few seconds
EXCHANGE_S: Final = 3.0  # for one interface: the three UDP sends of deployed clients (PROTOCOL.md §3.9)
WALK_FLAGS: Final = OpFlag.PUBL
"""Of requests to authorities: they need not recurse, and no cache stands in between."""
ASK_FLAGS: Final = OpFlag.PUBL | OpFlag.RECU | OpFlag.CACR
"""Of requests to a server that may resolve for us."""

OnHop = Callable[[Hop], None]
Learn = Callable[[Delegation], None]


class MessageExchanger(Protocol):
    """Sends one request to one address and returns the response with the same request id."""

    async def exchange(
        self,
        interface_protocol: int,
        address: str,
        port: int,
        request: Message,
        *,
        deadline_s: float,
        path: str = "",
    ) -> Message:
        """deadline_s: monotonic. Raises Unreachable, or WireError for octets that are no message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Effort:
    """How an exchange is made: what its requests carry, until when, and who watches."""

    flags: int
    recursion_count: int
    deadline_s: float
    on_hop: OnHop
    certified: bool
    passing: "Passing | None"


@dataclass(slots=True, kw_only=True)
class Passing:
    """A client's own request that is passed on octet for octet, so that the answer's signature holds for the client."""

    request: Message
    response: Message | None = None
    """What the usable answer came in."""


def ignore_hop(hop: Hop) -> None:
    """The OnHop of a client that nobody watches."""


def ignore_delegation(delegation: Delegation) -> None:
    """The Learn of a client without a cache."""


class HandleClient:
    """Resolves handles from the root down. One per event loop; any number of resolutions at once.

    root: whom to start with; taken anew from the callable at each resolution. openings: private networks that
    referrals may point into, each for its prefix. unsigned_prefixes: whose services a certified walk believes without a
    signature; 0.NA stands for the root service. clock: monotonic seconds, on the scale of the exchanger's deadlines;
    wall: Unix seconds.
    """

    def __init__(
        self,
        root: Service | Callable[[], Service],
        exchanger: MessageExchanger,
        *,
        openings: Iterable[Opening] = (),
        unsigned_prefixes: Iterable[Prefix] = (),
        limits: Limits = DEFAULT_LIMITS,
        total_s: float = TOTAL_S,
        exchange_s: float = EXCHANGE_S,
        request_digest: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._root = root if callable(root) else lambda: root
        self._exchanger = exchanger
        self._openings = tuple(openings)
        self._unsigned = frozenset(prefix.key for prefix in unsigned_prefixes)
        self._limits = limits
        self.total_s = total_s
        """Time for a whole resolution."""
        self.exchange_s = exchange_s
        """Patience with one interface of one server."""
        self._extra_flags = OpFlag.RRDG if request_digest else OpFlag(0)
        self.clock = clock
        self.wall = wall
        self.health = ServerHealth()

    async def resolve(
        self,
        question: Question,
        *,
        known: Known = nothing_known,
        learn: Learn = ignore_delegation,
        on_hop: OnHop = ignore_hop,
        deadline_s: float | None = None,
        certified: bool = False,
    ) -> Reply:
        """The authority's reply, found by walking from the root or from what is known.

        known, learn: the caller's memory of delegations. on_hop: told of every exchange as it ends. deadline_s:
        monotonic, total_s from now when left out. certified: whether every answer on the way must be signed, from the
        root bundle down (trust.py); nothing is known beforehand then. Raises ResolutionFailed that names node, cause,
        since when, remedy; NotCertified where a signature is missing or wrong.
        """
        resolution = self._resolution(question, nothing_known if certified else known)
        deadline_s = self._deadline(deadline_s)
        while True:
            step = resolution.step()
            for delegation in resolution.take_remembered():
                on_hop(remembered_hop(delegation))
            if not isinstance(step, Ask):
                return step
            await self._advance(
                resolution, step, learn=learn, on_hop=on_hop, deadline_s=deadline_s, certified=certified
            )

    async def locate(
        self, question: Question, *, deadline_s: float | None = None, certified: bool = False
    ) -> Ask | Reply:
        """Walk as far as the service that holds the handle, and ask it nothing: what it would be asked.

        A Reply where there is no such service, or none is needed. The arguments and errors are those of resolve().
        """
        resolution = self._resolution(question, nothing_known)
        deadline_s = self._deadline(deadline_s)
        while True:
            step = resolution.step()
            if not isinstance(step, Ask) or step.needs_reply:
                return step
            await self._advance(resolution, step, deadline_s=deadline_s, certified=certified)

    def _resolution(self, question: Question, known: Known) -> Resolution:
        return Resolution(
            question, root=self._root(), known=known, limits=self._limits, openings=self._openings
        )

    async def _advance(
        self,
        resolution: Resolution,
        step: Ask,
        *,
        learn: Learn = ignore_delegation,
        on_hop: OnHop = ignore_hop,
        deadline_s: float,
        certified: bool,
    ) -> None:
        """Make the exchange that a resolution asks for, and tell it what came of it."""
        try:
            answer = await self.exchange(step, on_hop=on_hop, deadline_s=deadline_s, certified=certified)
        except ResolutionFailed as failure:
            if self.clock() >= deadline_s:
                raise
            resolution.failed(failure)
            return
        for delegation in resolution.answered(answer, self.wall()):
            learn(delegation)

    async def exchange(
        self,
        ask: Ask,
        *,
        on_hop: OnHop = ignore_hop,
        deadline_s: float | None = None,
        flags: int = WALK_FLAGS,
        recursion_count: int = 0,
        tried: Sequence[Failure] = (),
        certified: bool = False,
        passing: Passing | None = None,
    ) -> Answer:
        """Put one Ask to the sites that it names, best first, until one gives a usable answer.

        tried: what failed for this Ask already, and is not asked again. certified: whether the answer must be signed by
        the key that its site record names. passing: the request to send in place of our own; it takes the response.
        Raises NotCertified when an answer was not signed so, LameService when all that answered say that they are not
        responsible, Unreachable otherwise.
        """
        deadline_s = self._deadline(deadline_s)
        targets = self._targets(ask)
        flags |= OpFlag.AUTH if ask.authoritative else 0
        effort = _Effort(
            flags=flags | CERTIFIED_FLAGS if certified else flags,
            recursion_count=recursion_count,
            deadline_s=deadline_s,
            on_hop=on_hop,
            certified=certified,
            passing=passing,
        )
        failures = list(tried)
        useless = {failure.target.site for failure in failures if failure.code is not None}
        spent = {failure.target for failure in failures}
        for target in targets:
            if target in spent or target.site in useless or self.clock() >= deadline_s:
                continue
            result = await self._attempt(ask, target, effort)
            if isinstance(result, Answer):
                return result
            failures.append(result)
            if result.code is not None:
                useless.add(target.site)  # it answered: another transport would bring the same
        since = self._since([failure.target for failure in failures])
        raise explain(ask, failures, since=since, timed_out=self.clock() >= deadline_s)

    async def exchange_with_site(
        self,
        site: Site,
        question: Question,
        *,
        flags: int = ASK_FLAGS,
        recursion_count: int = 0,
        on_hop: OnHop = ignore_hop,
        deadline_s: float | None = None,
    ) -> Answer:
        """Put a question to one site and nobody else, without a walk; referrals are returned, not followed.

        For a question to another recursive node, and for `--server`. The site's addresses are taken as the operator's
        own. Raises ResolutionFailed.
        """
        ask = Ask(
            service=Service("the named server", (site,)),
            handle=question.handle,
            indexes=question.indexes,
            types=question.types,
            authoritative=question.authoritative,
            purpose=Purpose.HANDLE,
        )
        return await self.exchange(
            ask, flags=flags, recursion_count=recursion_count, on_hop=on_hop, deadline_s=deadline_s
        )

    async def get_site(self, address: str, port: int, *, deadline_s: float | None = None) -> Site:
        """The site record that a server tells about itself (operation 2), asked by UDP, then TCP.

        Raises Unreachable. Source: PROTOCOL.md §4.4.
        """
        blank = SiteInfoRequest()
        ask = Ask(
            service=Service(f"{address} port {port}", (literal_site(address, port),)),
            handle=blank.handle,
            purpose=Purpose.HANDLE,
        )
        told: list[Site] = []

        def read(body: bytes) -> None:
            told.append(SiteInfoResponse.decode(body).site)

        try:
            await self.operate(ask, OpCode.GET_SITE_INFO, blank.encode(), read=read, deadline_s=deadline_s)
        except ResolutionFailed as failure:
            raise Unreachable(
                failure.cause,
                node=ask.service.name,
                remedy="check that a Handle server runs there and that UDP or TCP of that port reaches it",
            ) from None
        return told[0]

    async def operate(
        self,
        ask: Ask,
        op_code: OpCode,
        body: bytes,
        *,
        read: Callable[[bytes], object],
        deadline_s: float | None = None,
        certified: bool = False,
    ) -> None:
        """Have the sites of an Ask do something else than resolve its handle; the first that does it is enough.

        read: takes the body of the answer, without digest, and raises WireError for one that it cannot use. certified:
        as for exchange(). Raises ResolutionFailed.
        """
        deadline_s = self._deadline(deadline_s)
        failures: list[Failure] = []
        for target in self._targets(ask):
            request = self.request_to(
                target, op_code, body, flags=WALK_FLAGS | CERTIFIED_FLAGS if certified else WALK_FLAGS
            )
            try:
                response = await self._send(target, request, deadline_s)
                content = check_response(request, response, self.wall())
                if certified:
                    check_certified(ask, target, response, self._unsigned)
                if response_code_of(response) == ResponseCode.SUCCESS:
                    read(content)
                    return
                failures.append(refusal(target, response_code_of(response), error_text(content)))
            except (ResolutionFailed, WireError) as error:
                failures.append(failure_of(target, error))
        raise explain(ask, failures, since="", timed_out=self.clock() >= deadline_s)

    def best_target(self, ask: Ask) -> Target | None:
        """The interface that exchange() would try first."""
        targets = self._targets(ask)
        return targets[0] if targets else None

    def request_to(
        self,
        target: Target,
        op_code: OpCode,
        body: bytes,
        *,
        flags: int = WALK_FLAGS,
        recursion_count: int = 0,
    ) -> Message:
        """A request as this client sends it to a target."""
        return Message.request(
            op_code,
            body,
            request_id=new_request_id(),
            expiration=int(self.wall()) + ANSWER_LIFE_S,
            flags=flags | self._extra_flags,
            version=target.version,
            site_serial=target.site.serial,
            recursion_count=recursion_count,
        )

    def remember(self, target: Target, result: Answer | Failure, started_s: float) -> None:
        """Note how a target did. started_s: when it was asked, on the client's clock."""
        now_s = self.clock()
        if isinstance(result, Answer):
            self.health.answered(target, now_s - started_s, now_s)
        elif not result.is_ours and result.code != ResponseCode.SERVER_NOT_RESPONSIBLE:  # that one is well
            self.health.failed(target, now_s, self.wall())

    def _targets(self, ask: Ask) -> tuple[Target, ...]:
        return plan_targets(
            ask.service.sites,
            ask.handle,
            primary_only=ask.authoritative,
            health=self.health,
            now_s=self.clock(),
        )

    def _deadline(self, deadline_s: float | None) -> float:
        return self.clock() + self.total_s if deadline_s is None else deadline_s

    async def _attempt(self, ask: Ask, target: Target, effort: _Effort) -> Answer | Failure:
        """One exchange with one interface, and its hop."""
        request = self._request(ask, target, effort)
        started_s = self.clock()
        result: Answer | Failure
        response: Message | None = None
        try:
            response = await self._send(target, request, effort.deadline_s)
            answer = read_answer(request, response, ask.handle, self.wall())
            if effort.certified:
                check_certified(ask, target, response, self._unsigned)
            result = judge(ask, target, answer)
        except (ResolutionFailed, WireError) as error:
            result = failure_of(target, error)
        self.remember(target, result, started_s)
        elapsed_s = self.clock() - started_s
        effort.on_hop(_hop(ask, target, result, response, elapsed_s=elapsed_s, wall_s=self.wall()))
        if effort.passing is not None and isinstance(result, Answer):
            effort.passing.response = response
        return result

    def _request(self, ask: Ask, target: Target, effort: _Effort) -> Message:
        if effort.passing is not None:
            return effort.passing.request
        body = ResolutionRequest(handle=ask.handle, indexes=ask.indexes, types=ask.types).encode()
        return self.request_to(
            target, OpCode.RESOLUTION, body, flags=effort.flags, recursion_count=effort.recursion_count
        )

    async def _send(self, target: Target, request: Message, deadline_s: float) -> Message:
        """One exchange within the smaller of both deadlines, however the exchanger keeps its own."""
        now_s = self.clock()
        until_s = min(deadline_s, now_s + self.exchange_s)
        try:
            async with asyncio.timeout(max(0.0, until_s - now_s)):
                return await self._exchanger.exchange(
                    target.protocol,
                    target.address,
                    target.port,
                    request,
                    deadline_s=until_s,
                    path=target.path,
                )
        except TimeoutError:
            raise Unreachable(f"no answer within {until_s - now_s:.1f} s", node=str(target)) from None

    def _since(self, targets: Sequence[Target]) -> str:
        since = [wall_s for target in targets if (wall_s := self.health.failing_since_wall_s(target))]
        if not since:
            return ""
        return datetime.fromtimestamp(min(since), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def literal_site(address: str, port: int) -> Site:
    """A site record for a server that a person named by address and port: UDP, then TCP.

    Raises ValueError when the address is no literal IP address or the port is out of range.
    """
    if not 0 < port <= 65_535:
        raise ValueError(f"port {port} is not from 1 to 65535")
    interfaces = tuple(
        Interface(admin=False, query=True, protocol=protocol, port=port)
        for protocol in (InterfaceProtocol.UDP, InterfaceProtocol.TCP)
    )
    server = Server(server_id=1, address=Server.pack_address(ip_address(address)), interfaces=interfaces)
    return Site(servers=(server,))


def remembered_hop(delegation: Delegation) -> Hop:
    """The hop that a remembered delegation saved."""
    found = ResponseCode.SUCCESS if delegation.exists else ResponseCode.HANDLE_NOT_FOUND
    return Hop(
        purpose=Purpose.PREFIX,
        service="",
        server="",
        asked=str(delegation.prefix.record),
        rc=found,
        cached=True,
    )


def _hop(
    ask: Ask,
    target: Target,
    result: Answer | Failure,
    response: Message | None,
    *,
    elapsed_s: float,
    wall_s: float,
) -> Hop:
    values = result.values if isinstance(result, Answer) else NO_VALUES
    return Hop(
        purpose=ask.purpose,
        service=ask.service.name,
        server=str(target),
        asked=str(ask.handle),
        rc=result.code,
        site_serial=None if response is None else response.header.site_serial,
        version=None if response is None else response.envelope.version,
        elapsed_s=elapsed_s,
        ttl_s=values.smallest_ttl_s(wall_s) if values.count else None,
        cause=result.cause if isinstance(result, Failure) else "",
    )
