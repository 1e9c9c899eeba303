"""The recursor without sockets: caches before questions, limits before work, and what is passed on."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from protocol.bodies import ResolutionRequest
from protocol.client.answers import Answer, Denied, Question, read_answer
from protocol.client.client import Passing
from protocol.client.resolution import Ask
from protocol.client.verdict import Failure
from protocol.codes import OpCode, OpFlag, ResponseCode
from protocol.errors import RecursionLimit, ResolutionFailed, Unreachable
from protocol.handle import Handle
from protocol.message import Message
from protocol.runtime.memory_cache import MemoryCache
from protocol.runtime.single_flight import TooBusy
from protocol.site import Service
from resolver.cache.policy import Denial, Lifetimes, Record
from resolver.cache.records import Clocks
from resolver.cache.tiered import Memory, TieredCache
from resolver.recursor import Bounds, Complaints, Origin, Recursor
from tests.support.scripted_world import (
    ENTERPRISE,
    ROOT,
    WALL_S,
    ScriptedWorld,
    always,
    national_hierarchy,
    service,
    value,
)

PUMP = Handle.parse("88.100.1/pump-7")


class Fixture:
    """A recursor over a world in memory, with a clock that is set."""

    def __init__(self, world: ScriptedWorld, **bounds: Any) -> None:
        self.world = world
        self.now_s = 0.0
        self.delay_s = 0.0
        self.counts: list[tuple[str, str]] = []
        self.limits: list[str] = []
        memory = Memory(
            records=MemoryCache(entries_max=100, octets_max=1_000_000),
            denials=MemoryCache(entries_max=100, octets_max=1_000_000),
            delegations=MemoryCache(entries_max=100, octets_max=1_000_000),
        )
        self.cache = TieredCache(memory, lifetimes=Lifetimes(), observer=self, clocks=self.clocks)
        limits = {
            "resolution_time_s": 5.0,
            "recursion_limit": 10,
            "resolutions_max": 10,
            "service_exchanges_max": 10,
            "waiters_max": 10,
        }
        self.recursor = Recursor(
            cache=self.cache,
            root=self.root,
            upstream=self,
            forwarder=self,
            openings=(),
            bounds=Bounds(**(limits | bounds)),
            observer=self,
            clocks=self.clocks,
        )

    def clocks(self) -> Clocks:
        return Clocks(now_s=self.now_s, wall_s=WALL_S + self.now_s)

    def root(self) -> Service:
        return service(ROOT)

    def exchange(
        self,
        ask: Ask,
        *,
        deadline_s: float,
        recursion_count: int,
        tried: Sequence[Failure] = (),
        passing: Passing | None = None,
    ) -> Coroutine[Any, Any, Answer]:
        return self._exchange(ask, passing)

    async def _exchange(self, ask: Ask, passing: Passing | None) -> Answer:
        await asyncio.sleep(self.delay_s)
        if passing is None:
            return self.world.put(ask)
        server = ask.service.sites[0].responsible_server(ask.handle)
        passing.response = self.world.ask(str(server.ip), passing.request.encode())
        assert passing.response is not None
        return read_answer(passing.request, passing.response, ask.handle, WALL_S)

    def applies(self, handle: Handle) -> bool:
        return False

    async def ask(
        self, question: Question, *, deadline_s: float, recursion_count: int, passing: Passing | None = None
    ) -> Answer:
        raise AssertionError("nothing is forwarded")

    def exchanged(self, level: str, result: str) -> None:
        self.counts.append((level, result))

    def limit_reached(self, limit: str) -> None:
        self.limits.append(limit)

    def looked_up(self, cache: str, tier: str, *, hit: bool) -> None:
        pass


async def test_a_record_is_fetched_once_and_then_remembered() -> None:
    fixture = Fixture(national_hierarchy())

    first, second = [await fixture.recursor.resolve(PUMP) for _ in range(2)]

    assert isinstance(first.entry, Record)
    assert (first.origin, second.origin) == (Origin.FETCHED, Origin.HIT)
    assert fixture.counts == [("prefix", "ok")] * 3 + [("handle", "ok")]
    assert fixture.recursor.cached(PUMP) == second.entry == first.entry


async def test_one_slow_service_gets_its_share_and_leaves_the_rest_to_others() -> None:
    fixture = Fixture(national_hierarchy(), service_exchanges_max=2)
    await fixture.recursor.resolve(PUMP)
    fixture.delay_s = 0.01
    names = [Handle.parse(f"88.100.1/unseen-{number}") for number in range(3)]

    outcomes = await asyncio.gather(*map(fixture.recursor.resolve, names), return_exceptions=True)

    assert [isinstance(outcome, TooBusy) for outcome in outcomes] == [False, False, True]
    assert fixture.limits == ["service_exchanges_max"]
    assert isinstance((await fixture.recursor.resolve(names[2])).entry, Denial)


async def test_a_cached_answer_makes_no_task() -> None:
    fixture = Fixture(national_hierarchy())
    await fixture.recursor.resolve(PUMP)
    before = asyncio.all_tasks()

    coroutine = fixture.recursor.resolve(PUMP)
    with pytest.raises(StopIteration):
        coroutine.send(None)
    assert asyncio.all_tasks() == before


async def test_a_record_is_forgotten_when_its_smallest_ttl_is_over() -> None:
    world = national_hierarchy()
    world.node(ENTERPRISE).hold("88.100.1/brief", value(1, "A", "x", ttl=60), value(2, "B", "y", ttl=600))
    fixture = Fixture(world)
    brief = Handle.parse("88.100.1/brief")
    await fixture.recursor.resolve(brief)

    fixture.now_s = 59.9
    assert (await fixture.recursor.resolve(brief)).origin is Origin.HIT
    fixture.now_s = 60.0
    assert (await fixture.recursor.resolve(brief)).origin is Origin.FETCHED


async def test_an_authoritative_answer_replaces_what_was_remembered() -> None:
    world = national_hierarchy()
    fixture = Fixture(world)
    await fixture.recursor.resolve(PUMP)
    world.node(ENTERPRISE).hold(str(PUMP), value(1, "DESC", "gone tomorrow", ttl=0))

    await fixture.recursor.resolve(PUMP, authoritative=True)

    assert fixture.recursor.cached(PUMP) is None


async def test_an_authority_that_is_busy_ends_no_older_record() -> None:
    world = national_hierarchy()
    fixture = Fixture(world)
    await fixture.recursor.resolve(PUMP)
    world.node(ENTERPRISE).always = always(ResponseCode.ACCESS_DENIED, "not now")

    refused = await fixture.recursor.resolve(PUMP, authoritative=True)

    assert isinstance(refused.entry, Denial)
    assert fixture.recursor.cached(PUMP) is not None


async def test_a_code_that_means_nothing_to_a_client_is_a_failure() -> None:
    world = national_hierarchy()
    world.node(ENTERPRISE).always = always(ResponseCode.AUTHENTICATION_NEEDED)

    with pytest.raises(ResolutionFailed, match="402"):
        await Fixture(world).recursor.resolve(PUMP)


async def test_a_question_that_passed_too_many_nodes_is_refused_unless_it_is_cached() -> None:
    fixture = Fixture(national_hierarchy(), recursion_limit=2)

    with pytest.raises(RecursionLimit):
        await fixture.recursor.resolve(PUMP, recursion_count=2)
    assert fixture.limits == ["recursion_limit"]
    await fixture.recursor.resolve(PUMP, recursion_count=1)
    await fixture.recursor.resolve(PUMP, recursion_count=2)


async def test_equal_questions_share_one_way_and_others_are_bounded() -> None:
    fixture = Fixture(national_hierarchy(), resolutions_max=1)
    fixture.delay_s = 0.001

    results = await asyncio.gather(
        fixture.recursor.resolve(PUMP),
        fixture.recursor.resolve(PUMP),
        fixture.recursor.resolve(Handle.parse("88.100.1/other")),
        return_exceptions=True,
    )

    assert [getattr(result, "origin", type(result)) for result in results] == [
        Origin.FETCHED,
        Origin.SHARED,
        TooBusy,
    ]


async def test_a_resolution_that_never_ends_is_ended() -> None:
    fixture = Fixture(national_hierarchy(), resolution_time_s=-0.45)  # with the grace, 50 ms
    fixture.delay_s = 3_600

    with pytest.raises(Unreachable, match="resolution_time_s"):
        await fixture.recursor.resolve(PUMP)


async def test_a_restricted_value_never_enters_a_cache() -> None:
    world = national_hierarchy()
    answer = Answer(
        code=ResponseCode.SUCCESS,
        values=world.node(ENTERPRISE).records[PUMP.key],
    )
    fixture = Fixture(world)
    secret = value(300, "HS_SECKEY", "secret")
    leaky = type(answer.values).of([*answer.values, _restricted(secret)])
    world.put = lambda ask: (  # type: ignore[method-assign]
        Answer(code=ResponseCode.SUCCESS, values=leaky)
        if ask.handle == PUMP
        else ScriptedWorld.put(world, ask)
    )

    resolved = await fixture.recursor.resolve(PUMP)

    assert isinstance(resolved.entry, Record)
    assert b"secret" not in resolved.entry.values.octets


def _restricted(given: Any) -> Any:
    from dataclasses import replace

    return replace(given, permissions=0x0C)


def test_a_failing_node_is_told_of_once_in_a_while() -> None:
    complaints, failure = Complaints(), Unreachable("no answer", node="0.NA/88")
    with capture_logs() as lines:
        for now_s in (0.0, 1.0, 59.0, 61.0):
            complaints.tell(PUMP, failure, now_s)
        complaints.tell(PUMP, Unreachable("no answer", node="0.NA/99"), 61.0)

    assert [(line["event"], line["node"]) for line in lines] == [
        ("resolution_failed", "0.NA/88"),
        ("resolution_failed", "0.NA/88"),
        ("resolution_failed", "0.NA/99"),
    ]


def certified(name: str = str(PUMP), *, request_id: int = 7) -> tuple[Question, Message]:
    """A question, and the request of a client that wants the authority's own signature."""
    question = Question(handle=Handle.parse(name))
    request = Message.request(
        OpCode.RESOLUTION,
        ResolutionRequest(handle=question.handle).encode(),
        request_id=request_id,
        expiration=0,
        flags=OpFlag.CERT | OpFlag.RECU | OpFlag.PUBL,
    )
    return question, request


async def test_a_request_is_passed_on_each_time_and_its_answer_kept_by_nobody() -> None:
    fixture = Fixture(national_hierarchy())
    await fixture.recursor.resolve(PUMP)

    for request_id in (1, 2):
        question, request = certified(request_id=request_id)
        told = await fixture.recursor.pass_on(question, request)
        assert isinstance(told, Message)
        assert told.envelope.request_id == request_id
        assert fixture.world.node(ENTERPRISE).octets[-1] == request.encode()
    assert fixture.counts.count(("prefix", "ok")) == 3


async def test_a_prefix_that_does_not_exist_is_denied_without_an_answer_to_pass_on() -> None:
    told = await Fixture(national_hierarchy()).recursor.pass_on(*certified("99.1/x"))
    assert isinstance(told, Denied)
    assert told.code == ResponseCode.HANDLE_NOT_FOUND


async def test_a_challenge_is_not_passed_on() -> None:
    world = national_hierarchy()
    world.node(ENTERPRISE).always = always(ResponseCode.AUTHENTICATION_NEEDED)
    with pytest.raises(ResolutionFailed, match="402"):
        await Fixture(world).recursor.pass_on(*certified())


async def test_requests_that_are_passed_on_are_bounded_and_one_that_comes_back_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("resolver.recursor.PASSING_MAX", 1)
    fixture = Fixture(national_hierarchy())
    fixture.delay_s = 0.01
    first = asyncio.create_task(fixture.recursor.pass_on(*certified()))
    await asyncio.sleep(0)

    with pytest.raises(RecursionLimit, match="circle"):
        await fixture.recursor.pass_on(*certified())
    with pytest.raises(TooBusy):
        await fixture.recursor.pass_on(*certified(request_id=8))

    assert isinstance(await first, Message)
    assert fixture.limits == ["passing_on"]
    assert isinstance(await fixture.recursor.pass_on(*certified(request_id=8)), Message)
