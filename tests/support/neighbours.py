"""Two nodes that know each other: a secondary node that hosts a prefix for an enterprise, and the enterprise's own."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from protocol.codes import ResponseCode
from protocol.handle import Handle, Prefix
from protocol.value import HandleValue, ValueList
from registry.accounts.profile import CertificateType, Industry, OrganisationKind, Profile, Region
from registry.allocation.lifecycle import Hosting
from registry.allocation.model import Wish
from registry.api.services import Services
from registry.homing import admin_value
from registry.initialise import administrator_of
from registry.outcomes import COMMAND, OPERATOR, Created, Creation, Origin
from registry.peers.enrolments import Enrolment, Wanted
from registry.peers.messages import Direction
from registry.peers.moves import Move
from registry.settings import OpenNetwork
from tests.support.world import TestNode, TestResolver, World, url_value

PATIENCE_S: Final = 60.0  # two busy cores; a test that waits so long fails anyway
OPEN: Final = (OpenNetwork(network="127.0.0.0/8", prefixes=("*",)),)
APPLICANT: Final = Origin(actor="usr_applicant", via="api")
REVIEWER: Final = Origin(actor="usr_reviewer", via="api")
SETTINGS: Final[dict[str, Any]] = {
    "open_networks": OPEN,
    "peers_interval_s": 0.05,
    "heartbeat_interval_s": 1.0,
    "delegation_ttl_s": 1,
}


def profile(number: int = 1, **changes: Any) -> Profile:
    """What describes an organisation."""
    fields: dict[str, Any] = {
        "name": f"样例泵业{number}有限公司",
        "kind": OrganisationKind.PRIVATELY_CONTROLLED,
        "certificate_type": CertificateType.OTHER,
        "certificate_number": f"PUMPS-{number}",
        "region": Region(province="320000", city="320500", detail="1 Sample Road"),
        "industry": Industry(section="C", division="34"),
    }
    return Profile(**(fields | changes))


async def until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait for something that comes by itself."""
    end_s = time.monotonic() + PATIENCE_S
    while not await holds():
        assert time.monotonic() < end_s, f"{what} did not come in {PATIENCE_S:.0f} s"
        await asyncio.sleep(0.02)


async def approved_organisation(services: Services, number: int = 1) -> str:
    """An organisation that may hold prefixes."""
    async with services.operations.transaction(APPLICANT) as tx:
        made = await services.accounts.organisations.create(tx, profile(number))
    async with services.operations.transaction(REVIEWER) as tx:
        await services.accounts.organisations.review(tx, made, approve=True, reason="")
    return made.id


async def hosted_prefix(services: Services, organisation: str, name: str) -> None:
    """A prefix that the node hosts for an organisation."""
    wish = Wish(
        organisation=organisation,
        parent=Prefix.parse(name.rpartition(".")[0]),
        label=name.rpartition(".")[2],
        hosting=Hosting.HOSTED,
        purpose="pumps",
    )
    async with services.operations.transaction(APPLICANT) as tx:
        made = await services.allocation.apply(tx, wish)
    async with services.operations.transaction(REVIEWER) as tx:
        await services.allocation.review(tx, made.id, approve=True, reason="")
        await services.allocation.allocate(tx, made.id)


async def register(services: Services, name: str, *values: HandleValue) -> None:
    """Register an identifier as the operator."""
    administered = [*values, admin_value(administrator_of(Handle.parse(name).prefix))]
    batch = [Creation(Handle.parse(name), ValueList.of(administered))]
    (result,) = await services.operations.create(batch, by=OPERATOR)
    assert isinstance(result, Created), result


@dataclass(slots=True, kw_only=True)
class Neighbours:
    """The two nodes."""

    above: TestNode
    below: TestNode
    organisation: str
    """At the node above."""

    @property
    def upper(self) -> Services:
        """Of the node above."""
        return self.above.node.services

    @property
    def lower(self) -> Services:
        """Of the node below."""
        return self.below.node.services

    @property
    def key(self) -> str:
        """Key id of the node below."""
        return self.lower.peers.home.key.id

    async def enrol(self, **wanted: Any) -> Enrolment:
        """Have the node below ask the one above."""
        enrolments = self.lower.peers.enrolments
        url = self.above.http
        if self.above.settings.plain_http_credentials == "refuse":
            url = url.replace("http://", "https://")
        node, site = await enrolments.pin(url, None)
        async with self.lower.operations.transaction(COMMAND) as tx:
            return await enrolments.enrol(tx, Wanted(url=url, **wanted), node, site)

    async def enrolled(self, id_: str, *states: str) -> Enrolment:
        """Wait until an enrolment has come so far."""

        async def has_come() -> bool:
            return (await self.lower.peers.enrolments.get(id_)).state in states

        await until(has_come, f"{states} of the enrolment")
        return await self.lower.peers.enrolments.get(id_)

    async def join(self, *, confirm: bool = True) -> None:
        """Let the node below join the one above, and the organisation confirm that it is its own."""
        made = await self.enrol(claim=self.organisation, joins=True)
        await self.enrolled(made.id, "joined")
        if not confirm:
            return
        async with self.upper.operations.transaction(APPLICANT) as tx:
            await self.upper.peers.confirm(tx, self.key, self.organisation)

    async def start(self, prefix: str, direction: Direction) -> Move:
        """Begin to move a prefix."""
        async with self.upper.operations.transaction(COMMAND) as tx:
            node = self.key if direction is Direction.DELEGATED else None
            return await self.upper.peers.start_move(
                tx, Prefix.parse(prefix), direction, node=node, reason="a test"
            )

    async def moved(self, move: Move) -> Move:
        """Wait for the end of a move."""

        async def has_ended() -> bool:
            return (await self.upper.peers.move(move.id)).ended is not None

        await until(has_ended, f"the end of the move {move.id}")
        return await self.upper.peers.move(move.id)

    async def move(self, prefix: str, direction: Direction) -> Move:
        """Move a prefix, from the beginning to the end."""
        return await self.moved(await self.start(prefix, direction))


async def neighbours(
    world: World,
    *,
    prefix: str = "88.100.7",
    under: str = "88.100",
    rooted: bool = True,
    **changes: Any,
) -> Neighbours:
    """A node that hosts a prefix for an approved organisation, and a node of the organisation's own beside it.

    Neither has a tap: nodes speak HTTP with each other, which taps do not pass on.
    rooted: whether a root refers to the node above, so that a recursive node finds it. changes: settings of both.
    """
    place = {"listen_addresses": (world.new_address()[0],), **SETTINGS, **changes}
    if rooted:
        above = await world.registry(prefix=under, under=await world.root(**SETTINGS), **place)
    else:
        above = await world.lone(under, **place)
    organisation = await approved_organisation(above.node.services)
    await hosted_prefix(above.node.services, organisation, prefix)
    there = {"listen_addresses": (world.new_address()[0],), **SETTINGS, **changes}
    below = await world.lone(f"{prefix}.0", **there)
    return Neighbours(above=above, below=below, organisation=organisation)


@dataclass(slots=True)
class Asker:
    """A client that asks for one identifier after the other, all the time, and remembers what it did not like."""

    resolver: TestResolver
    names: list[str]
    answers: int = 0
    faults: list[str] = field(default_factory=list)
    _task: "asyncio.Task[None] | None" = None

    async def __aenter__(self) -> "Asker":
        self._task = asyncio.create_task(self._ask())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _ask(self) -> None:
        while True:
            for name in self.names:
                answer = await self.resolver.ask(name)
                self.answers += 1
                wanted = f"https://pump.example/{name.rpartition('/')[2]}"
                if answer.rc != ResponseCode.SUCCESS or answer.url != wanted:
                    self.faults.append(f"{name}: {answer.rc} {answer.text} {answer.url}")

    async def some_more(self, count: int = 20) -> None:
        """Wait until it has asked so often again."""
        wanted = self.answers + count

        async def has_asked() -> bool:
            return self.answers >= wanted

        await until(has_asked, "answers")


async def register_pumps(services: Services, prefix: str, count: int) -> list[str]:
    """Register identifiers that nobody may cache, so that every question reaches a node."""
    names = [f"{prefix}/pump-{number}" for number in range(count)]
    for name in names:
        await register(services, name, url_value(f"https://pump.example/{name.rpartition('/')[2]}", ttl=0))
    return names
