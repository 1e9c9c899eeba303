"""The short way of a miss, on real sockets: same answers as the general way, same limits, and never the last word."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from ipaddress import ip_network
from typing import Any, Final

import pytest

from protocol.bodies import ErrorBody, ResolutionRequest
from protocol.client.client import HandleClient
from protocol.client.delegation import Delegation
from protocol.client.direct import DirectClient
from protocol.client.selection import Opening
from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag, ResponseCode
from protocol.handle import Handle, Prefix
from protocol.message import Message, decode_message, split_digest
from protocol.runtime.memory_cache import MemoryCache
from protocol.runtime.single_flight import TooBusy
from protocol.site import Service, Site
from protocol.transport import udp_exchange
from protocol.transport.base import Answer, Peer
from protocol.transport.exchanger import Exchanger
from resolver.cache.policy import Denial, Lifetimes, Record
from resolver.cache.tiered import Memory, TieredCache
from resolver.recursor import Bounds, Origin, Recursor, system_clocks
from resolver.short_way import ShortWay
from resolver.wire_server import WireServer
from tests.integration.resolver.loopback import HOST, Authority, free_port, site, value

PEER: Final = Peer("192.0.2.1", 1, "udp")
PREFIX: Final = Prefix.parse("88.100.1")
NAME: Final = "88.100.1/pump-7"
WAIT_S: Final = 10.0


class Counts:
    """The observers of cache and recursor."""

    def __init__(self) -> None:
        self.exchanges: list[tuple[str, str]] = []
        self.limits: list[str] = []

    def exchanged(self, level: str, result: str) -> None:
        self.exchanges.append((level, result))

    def limit_reached(self, limit: str) -> None:
        self.limits.append(limit)

    def looked_up(self, cache: str, tier: str, *, hit: bool) -> None:
        pass


class Nowhere:
    """A forwarder without rules."""

    def applies(self, handle: Handle) -> bool:
        return False

    async def ask(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("nothing is forwarded")


class Node:
    """A wire server with a recursor that knows one prefix, with and without the short way."""

    def __init__(self, root: Authority, sites: tuple[Site, ...], **changes: Any) -> None:
        self.counts = Counts()
        self.exchanger = Exchanger()
        exchange_s = changes.pop("exchange_s", 1.5)
        bounds = {
            "resolution_time_s": 4.0,
            "recursion_limit": 10,
            "resolutions_max": 100,
            "service_exchanges_max": 100,
            "waiters_max": 100,
        }
        memory = Memory(
            records=MemoryCache(entries_max=100, octets_max=1_000_000),
            denials=MemoryCache(entries_max=100, octets_max=1_000_000),
            delegations=MemoryCache(entries_max=100, octets_max=1_000_000),
        )
        self.cache = TieredCache(memory, lifetimes=Lifetimes(), observer=self.counts, clocks=system_clocks)
        self.cache.put_delegation(Delegation(prefix=PREFIX, sites=sites, ttl_s=3_600))
        client = HandleClient(
            lambda: Service("the root service", (site(root.port),)),
            self.exchanger,
            exchange_s=exchange_s,
            request_digest=True,
        )
        self.client = client
        self.recursor = Recursor(
            cache=self.cache,
            root=lambda: Service("the root service", (site(root.port),)),
            upstream=client,
            forwarder=Nowhere(),
            openings=(Opening(network=ip_network("127.0.0.0/8"), prefix=None),),
            bounds=Bounds(**(bounds | changes)),
            observer=self.counts,
        )
        self.short_way = ShortWay(self.recursor, DirectClient(client, self.exchanger.udp))
        self.server = WireServer(self.recursor, site(1), short_way=self.short_way)

    def begin(self, octets: bytes) -> "asyncio.Future[Answer | None]":
        """Hand in a request."""
        answered: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        self.server.respond(octets, PEER, answered.set_result)
        return answered

    async def ask(self, octets: bytes) -> Message:
        """The answer to a request."""
        async with asyncio.timeout(WAIT_S):
            answer = await self.begin(octets)
        assert answer is not None
        return decode_message(answer.octets)

    async def close(self) -> None:
        await self.server.close()
        await self.recursor.close()
        await self.exchanger.close()


def request(name: str = NAME, *, flags: int = DEFAULT_FLAGS, count: int = 0, **query: Any) -> bytes:
    body = ResolutionRequest(handle=Handle.parse(name), **query).encode()
    return Message.request(
        OpCode.RESOLUTION, body, request_id=7, expiration=0, flags=flags, recursion_count=count
    ).encode()


def words(message: Message) -> str:
    return ErrorBody.decode(split_digest(message)[1]).message


Opened = Callable[..., Node]


@pytest.fixture
async def authority() -> AsyncIterator[Authority]:
    opened = Authority()
    opened.hold(NAME, value(1, "URL", "https://plant.example/pump-7", ttl=60), value(2, "DESC", "泵"))
    opened.hold("88.100.1/absolute", value(1, "URL", "x", ttl_type=1, ttl=int(time.time()) + 100))
    opened.hold("88.100.1/large", value(1, "DESC", b"x" * 2_000))
    opened.hold("88.100.1/secret", value(1, "URL", "x"), value(2, "HS_SECKEY", "key", permissions=0x0C))
    opened.hold("0.NA/88.100.1", value(1, "HS_SITE", site(opened.port)))
    await opened.start()
    yield opened
    await opened.stop()


@pytest.fixture
async def node_of(authority: Authority) -> AsyncIterator[Opened]:
    async with AsyncExitStack() as stack:

        def opened(*sites: Site, **changes: Any) -> Node:
            node = Node(authority, sites or (site(authority.port),), **changes)
            stack.push_async_callback(node.close)
            return node

        yield opened


def refuse_tasks(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def task(*_: Any, **__: Any) -> None:
        raise AssertionError("a task was made")

    monkeypatch.setattr(node.recursor, "resolve", task)
    monkeypatch.setattr(node.recursor, "carry_on", task)


async def test_a_usual_question_takes_one_exchange_and_no_task(
    node_of: Opened, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = node_of()
    refuse_tasks(node, monkeypatch)

    answer = await node.ask(request())

    assert answer.header.response_code == ResponseCode.SUCCESS
    assert authority.asked == [NAME]
    assert node.counts.exchanges == [("handle", "ok")]
    assert isinstance(node.recursor.cached(Handle.parse(NAME)), Record)
    assert not node.recursor.flights
    assert not node.recursor.shares._under_way
    again = await node.ask(request(types=("DESC",)))
    assert again.header.response_code == ResponseCode.SUCCESS
    assert len(authority.asked) == 1


QUESTIONS: Final = [
    request(),
    request(flags=DEFAULT_FLAGS | OpFlag.RRDG),
    request(flags=OpFlag.RECU),
    request(indexes=(2,)),
    request(types=("url",), flags=DEFAULT_FLAGS | OpFlag.RRDG),
    request(types=("EMAIL",)),
    request("88.100.1/absolute"),
    request("88.100.1/large"),
    request("88.100.1/secret"),
    request("88.100.1/unknown"),
    request("88.100.1/"),
    request(count=3),
]


@pytest.mark.parametrize("octets", QUESTIONS, ids=map(str, range(len(QUESTIONS))))
async def test_both_ways_give_the_same_octets(node_of: Opened, octets: bytes) -> None:
    short, long = node_of(), node_of()
    long.server = WireServer(long.recursor, site(1))

    answers = [await node.begin(octets) for node in (short, long)]

    assert answers[0] is not None
    assert answers[1] is not None
    now, then = (decode_message(answer.octets) for answer in answers if answer is not None)
    seconds = then.header.expiration - now.header.expiration
    assert abs(seconds) <= 1
    assert replace(now, header=replace(now.header, expiration=then.header.expiration)) == then
    assert short.counts.exchanges == long.counts.exchanges
    until_s = [answer.cache_until_s for answer in answers if answer is not None]
    assert [moment is None for moment in until_s] in ([True, True], [False, False])
    if until_s[0] is not None and until_s[1] is not None:
        assert abs(until_s[0] - until_s[1]) <= 2


async def test_equal_questions_of_both_ways_share_one_exchange(node_of: Opened, authority: Authority) -> None:
    node = node_of()
    authority.delay_s = 0.05
    handle = Handle.parse(NAME)

    first = node.begin(request())
    http = asyncio.ensure_future(node.recursor.resolve(handle))
    second = node.begin(request("88.100.1/pump-7", types=("URL",)))
    await asyncio.gather(first, second)
    assert (await http).origin is Origin.SHARED

    other = Handle.parse("88.100.1/absolute")
    http = asyncio.ensure_future(node.recursor.resolve(other))
    await asyncio.sleep(0)
    await node.ask(request(str(other)))
    assert (await http).origin is Origin.FETCHED
    assert authority.asked == [NAME, str(other)]


async def test_who_leaves_takes_nobody_along(node_of: Opened, authority: Authority) -> None:
    node = node_of()
    authority.delay_s = 0.05
    first = node.begin(request())
    http = asyncio.ensure_future(node.recursor.resolve(Handle.parse(NAME)))
    await asyncio.sleep(0)
    http.cancel()

    answer = await first

    assert answer is not None
    assert decode_message(answer.octets).header.response_code == ResponseCode.SUCCESS


@pytest.mark.parametrize("limit", ["waiters_max", "resolutions_max", "service_exchanges_max"])
async def test_the_limits_of_the_general_way_hold(node_of: Opened, authority: Authority, limit: str) -> None:
    node = node_of(**{limit: 1})
    authority.delay_s = 0.05
    first = node.begin(request())
    other = NAME if limit == "waiters_max" else "88.100.1/absolute"

    refused = await node.ask(request(other))

    assert refused.header.response_code == ResponseCode.SERVER_TOO_BUSY
    assert limit in words(refused)
    assert node.counts.limits == [limit]
    answer = await first
    assert answer is not None
    assert decode_message(answer.octets).header.response_code == ResponseCode.SUCCESS
    assert (await node.ask(request(other))).header.response_code == ResponseCode.SUCCESS


async def test_the_recursion_limit_holds_and_the_count_is_passed_on(
    node_of: Opened, authority: Authority
) -> None:
    node = node_of()
    refused = await node.ask(request(count=10))
    assert refused.header.response_code == ResponseCode.RECURSION_LIMIT
    assert not authority.asked

    await node.ask(request(count=9))
    assert decode_message(authority.octets[0]).header.recursion_count == 9


async def test_a_lost_request_is_sent_again(
    node_of: Opened, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp_exchange, "RETRY_S", (0.05, 1.0, 1.5))
    node = node_of()
    refuse_tasks(node, monkeypatch)
    lost: list[bytes] = []
    authority.script = lambda message, body: (
        authority.look_up(message, body) if lost else lost.append(body.handle.octets)
    )

    assert (await node.ask(request())).header.response_code == ResponseCode.SUCCESS
    assert authority.octets[0] == authority.octets[1]


async def test_a_silent_server_is_asked_once_over_udp_and_named(
    node_of: Opened, authority: Authority
) -> None:
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind((HOST, 0))
    silent.setblocking(False)
    port = silent.getsockname()[1]
    node = node_of(site(port), exchange_s=0.5)
    authority.hold("0.NA/88", value(2, "HS_SITE.PREFIX", site(authority.port)))
    authority.hold("0.NA/88.100", value(2, "HS_SITE.PREFIX", site(authority.port)))
    authority.hold("0.NA/88.100.1", value(1, "HS_SITE", site(port)))

    answer = await node.ask(request())

    assert answer.header.response_code == ResponseCode.ERROR
    assert f"UDP {port}" in words(answer)
    assert f"TCP {port}" in words(answer)
    asked = [silent.recv(2_048)]
    with pytest.raises(BlockingIOError):
        asked.append(silent.recv(2_048))
    assert not node.recursor.flights
    assert not node.recursor.shares._under_way
    silent.close()


async def test_a_mirror_takes_over(node_of: Opened, authority: Authority) -> None:
    dead = free_port()
    node = node_of(site(dead), site(authority.port), exchange_s=0.5)

    first = await node.ask(request())
    assert first.header.response_code == ResponseCode.SUCCESS
    node.counts.exchanges.clear()

    second = await node.ask(request("88.100.1/absolute"))
    assert second.header.response_code == ResponseCode.SUCCESS
    assert node.counts.exchanges == [("handle", "ok")]


@pytest.mark.parametrize(
    "code", [ResponseCode.SERVER_NOT_RESPONSIBLE, ResponseCode.ERROR, ResponseCode.SERVER_TOO_BUSY]
)
async def test_a_server_that_cannot_help_is_left_for_another(
    node_of: Opened, authority: Authority, code: ResponseCode
) -> None:
    useless = Authority()
    useless.script = lambda message, body: useless.refuse(message, code)
    await useless.start()
    node = node_of(site(useless.port), site(authority.port))

    assert (await node.ask(request())).header.response_code == ResponseCode.SUCCESS
    assert useless.asked == [NAME]
    await useless.stop()


async def test_a_referral_is_followed_by_the_general_way(node_of: Opened, authority: Authority) -> None:
    moved = Authority()
    moved.script = lambda message, body: moved.refuse(message, ResponseCode.SERVICE_REFERRAL)
    await moved.start()
    authority.hold("0.NA/88", value(2, "HS_SITE.PREFIX", site(authority.port)))
    authority.hold("0.NA/88.100", value(2, "HS_SITE.PREFIX", site(authority.port)))
    node = node_of(site(moved.port))

    assert (await node.ask(request())).header.response_code == ResponseCode.SUCCESS
    assert authority.asked[-1] == NAME
    await moved.stop()


async def test_a_forged_answer_is_not_believed(node_of: Opened, authority: Authority) -> None:
    """The right id from a wrong port is passed over; a wrong digest from the right port ends the short way."""
    node = node_of()
    liar = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    truth = authority.look_up
    authority.hold("88.100.1/lie", value(1, "URL", "https://evil.example"))

    def from_elsewhere(message: Message, body: ResolutionRequest) -> Message:
        port = next(iter(node.exchanger.udp._sockets.values())).port
        lie = replace(truth(message, body), body=b"")
        liar.sendto(lie.encode(), (HOST, port))
        return truth(message, body)

    authority.script = from_elsewhere
    assert (await node.ask(request())).header.response_code == ResponseCode.SUCCESS

    asked: list[str] = []

    def of_another_request(message: Message, body: ResolutionRequest) -> Message:
        asked.append(str(body.handle))
        honest = truth(message, body)
        if len(asked) > 1:
            return honest
        return replace(honest, body=honest.body[:1] + bytes(32) + honest.body[33:])

    authority.script = of_another_request
    answer = await node.ask(request("88.100.1/lie"))
    assert answer.header.response_code == ResponseCode.SUCCESS
    assert len(asked) == 2
    liar.close()


async def test_a_denial_is_kept_and_a_failure_is_not(node_of: Opened, authority: Authority) -> None:
    node = node_of()
    denied = await node.ask(request("88.100.1/unknown"))
    assert denied.header.response_code == ResponseCode.HANDLE_NOT_FOUND
    assert isinstance(node.recursor.cached(Handle.parse("88.100.1/unknown")), Denial)

    authority.script = lambda message, body: authority.refuse(message, ResponseCode.AUTHENTICATION_NEEDED)
    failed = await node.ask(request())
    assert failed.header.response_code == ResponseCode.ERROR
    assert "402" in words(failed)
    assert node.recursor.cached(Handle.parse(NAME)) is None


async def test_a_changed_delegation_is_followed_at_once(node_of: Opened, authority: Authority) -> None:
    node = node_of()
    await node.ask(request())
    other = Authority()
    other.hold("88.100.1/new", value(1, "URL", "x"))
    await other.start()
    node.cache.put_delegation(Delegation(prefix=PREFIX, sites=(site(other.port),), ttl_s=60))

    assert (await node.ask(request("88.100.1/new"))).header.response_code == ResponseCode.SUCCESS
    assert other.asked == ["88.100.1/new"]
    await other.stop()


async def test_each_server_of_a_divided_site_is_asked_for_its_own_handles(
    node_of: Opened, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Authority()
    await other.start()
    both = site(authority.port).servers + site(other.port).servers
    divided = replace(site(authority.port), servers=both)
    names = [f"88.100.1/pump-{number}" for number in range(20)]
    for name in names:
        holder = (authority, other)[divided.responsible_position(Handle.parse(name))]
        holder.hold(name, value(1, "URL", name))
    node = node_of(divided)
    refuse_tasks(node, monkeypatch)

    answers = [await node.ask(request(name)) for name in names]

    assert {answer.header.response_code for answer in answers} == {ResponseCode.SUCCESS}
    assert sorted(authority.asked + other.asked) == sorted(names)
    assert other.asked
    assert authority.asked
    await other.stop()


async def test_a_closed_server_tells_nobody_any_more(node_of: Opened, authority: Authority) -> None:
    node = node_of()
    authority.delay_s = 0.05
    waiting = node.begin(request())
    http = asyncio.ensure_future(node.recursor.resolve(Handle.parse(NAME)))
    await asyncio.sleep(0)

    await node.close()

    assert not waiting.done()
    with pytest.raises(TooBusy):
        await http
