"""Cached HTTP answers of a recursive node: those of its caches, with headers as of now."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from resolver.daemon import RecursiveNode
from tests.integration.resolver.loopback import PUMP, Hierarchy, running_node, value
from tests.support.raw_http import RawAnswer, RawClient, get
from tests.support.scratch import free_port

TIMED = (b"Date", b"Age", b"Cache-Status", b"Cache-Control", b"Expires")
ACCEPTS = {"browser": "Accept: text/html,*/*;q=0.8", "program": "Accept: application/json"}


@pytest.fixture
async def node(hierarchy: Hierarchy) -> AsyncIterator[RecursiveNode]:
    async with running_node(hierarchy.settings(admin_port=free_port())) as node:
        yield node


@pytest.fixture
async def client(node: RecursiveNode) -> AsyncIterator[RawClient]:
    async with RawClient(node.addresses.http[0]) as connected:
        yield connected


async def hits(node: RecursiveNode) -> float:
    url = "http://{}:{}/metrics".format(*node.addresses.admin[0])
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        lines = (await response.text()).splitlines()
    wanted = 'handlegrid_cache_lookups_total{cache="http",result="hit",tier="memory"} '
    return sum(float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted))


@pytest.mark.parametrize(
    "target", [f"/{PUMP}", f"/api/handles/{PUMP}", f"/{PUMP}?noredirect", "/88.100.1/none"]
)
@pytest.mark.parametrize("accept", ["browser", "program"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_cached_answer_is_that_of_the_application(
    hierarchy: Hierarchy, target: str, accept: str, method: str
) -> None:
    async def ask(octets_max: int) -> tuple[list[RawAnswer], float]:
        async with running_node(
            hierarchy.settings(admin_port=free_port(), http_cache_octets_max=octets_max)
        ) as node:
            async with RawClient(node.addresses.http[0]) as client:
                request = get(target, ACCEPTS[accept], method=method)
                answers = [await client.ask(request) for _ in range(3)]
            return answers, await hits(node)

    plain, none = await ask(0)
    cached, two = await ask(2**24)

    assert (none, two) == (0, 2)
    for answers in (plain, cached):
        assert len({answer.without(*TIMED) for answer in answers}) == 1
    if not target.endswith("?noredirect"):  # that page tells when the node fetched the record
        assert plain[0].without(*TIMED) == cached[0].without(*TIMED)
    for answer in (*plain[1:], *cached[1:]):
        assert b"; hit; ttl=" in answer[b"Cache-Status"]
        assert [name for name, _ in answer.fields] == [name for name, _ in plain[0].fields]


async def test_the_forms_of_one_address_are_kept_apart(client: RawClient) -> None:
    for _ in range(2):
        assert (await client.ask(get(f"/{PUMP}", ACCEPTS["browser"]))).line.startswith(b"HTTP/1.1 302")
        assert (await client.ask(get(f"/{PUMP}", ACCEPTS["program"]))).line.startswith(b"HTTP/1.1 200")


async def test_a_client_that_holds_the_answer_is_told_so(client: RawClient) -> None:
    request = f"/api/handles/{PUMP}"
    tag = [await client.ask(get(request)) for _ in range(2)][1][b"ETag"].decode()

    again = await client.ask(get(request, f"If-None-Match: {tag}"))

    assert again.line.startswith(b"HTTP/1.1 304")
    assert (await client.ask(get(request))).line.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("parameter", ["auth", "auth=yes", "%61uth=true"])
async def test_who_asks_for_the_authority_goes_past_every_cache(
    hierarchy: Hierarchy, node: RecursiveNode, client: RawClient, parameter: str
) -> None:
    await client.ask(get(f"/api/handles/{PUMP}"))
    hierarchy.forget()

    for _ in range(3):
        answer = await client.ask(get(f"/api/handles/{PUMP}?{parameter}"))
        assert answer[b"Cache-Control"] == b"no-store"

    assert hierarchy.enterprise.asked.count(PUMP) == 3
    assert await hits(node) == 0


async def test_what_must_not_be_cached_is_asked_for_again(
    hierarchy: Hierarchy, node: RecursiveNode, client: RawClient
) -> None:
    hierarchy.enterprise.hold("88.100.1/now", value(1, "DESC", "now", ttl=0))

    for _ in range(3):
        await client.ask(get("/api/handles/88.100.1/now"))

    assert hierarchy.enterprise.asked.count("88.100.1/now") == 3
    assert await hits(node) == 0


async def test_a_failure_is_not_kept(hierarchy: Hierarchy, node: RecursiveNode, client: RawClient) -> None:
    for _ in range(2):
        answer = await client.ask(get("/api/handles/99.1/x"))
        assert answer.line[9:12] in (b"404", b"502", b"503", b"504")
    assert (await client.ask(get("/api/handles/88.100.1/%zz"))).line.startswith(b"HTTP/1.1 400")
    assert (await client.ask(get("/api/handles/88.100.1/%zz"))).line.startswith(b"HTTP/1.1 400")
