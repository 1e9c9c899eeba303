"""HTTP answers from the cache, over real sockets: the same answers, in the same order, behind the same guards."""

import asyncio
import ssl
from collections.abc import AsyncIterator

import pytest

from protocol.generations import Generations
from protocol.transport.http import HttpListener, listen_http
from protocol.transport.http_cache import HttpCache
from protocol.transport.http_connection import (
    ANSWERS_PER_TURN,
    HELD_OCTETS_MAX,
    WRITE_OCTETS,
    HttpConnection,
)
from protocol.transport.source import SourceCheck
from tests.support.cached_app import CachedApp, HitWatcher, likes_json
from tests.support.raw_http import RawClient, get
from tests.support.transport import WAIT_S, Watcher, anyone


@pytest.fixture
def app() -> CachedApp:
    return CachedApp()


@pytest.fixture
def watcher() -> HitWatcher:
    return HitWatcher()


@pytest.fixture
def cache(watcher: HitWatcher) -> HttpCache:
    return HttpCache(accept_class=likes_json, observer=watcher)


@pytest.fixture
async def address(app: CachedApp, cache: HttpCache) -> AsyncIterator[tuple[str, int]]:
    listener = await listen_http(app.application(), "127.0.0.1", 0, source=anyone(), cache=cache)
    yield listener.address
    await listener.close(0)


def the_connection(listener: HttpListener) -> HttpConnection:
    assert listener._runner.server is not None
    (connection,) = listener._runner.server.connections
    assert isinstance(connection, HttpConnection)
    return connection


@pytest.fixture
async def client(address: tuple[str, int]) -> AsyncIterator[RawClient]:
    async with RawClient(address) as connected:
        yield connected


async def test_the_second_answer_is_that_of_the_first_without_the_application(
    client: RawClient, app: CachedApp, cache: HttpCache
) -> None:
    first, second = await client.ask(get("/r/1")), await client.ask(get("/r/1"))

    assert first.without(b"Date") == second.without(b"Date")
    assert first.body == b"GET /r/1 False 0"
    assert app.asked["/r/1"] == 1
    assert len(cache) == 1


async def test_a_head_gets_the_fields_of_a_get_without_a_body(client: RawClient, app: CachedApp) -> None:
    first = await client.ask(get("/r/12", method="HEAD"))
    second = await client.ask(get("/r/12", method="HEAD"))
    third = await client.ask(get("/r/12"))

    assert first.without(b"Date") == second.without(b"Date")
    assert second[b"Content-Length"] == str(len(third.body) + 1).encode()  # HEAD is a letter longer
    assert app.asked["/r/12"] == 2


@pytest.mark.parametrize(
    "fields", [[], ["Accept: application/json"], ["Accept: text/html", "Accept: a/json"]]
)
async def test_the_class_of_the_accept_fields_tells_answers_apart(
    client: RawClient, app: CachedApp, fields: list[str]
) -> None:
    for _ in range(2):
        for accept in ("text/html", "application/json"):
            await client.ask(get("/r/1", f"Accept: {accept}"))
    assert app.asked["/r/1"] == 2

    answer = await client.ask(get("/r/1", *fields))

    assert answer.body.split()[2] == (b"True" if fields else b"False")
    assert app.asked["/r/1"] == 2


@pytest.mark.parametrize(
    "field",
    [
        "Authorization: Basic eDp5",
        "Cookie: session=1",
        "Range: bytes=0-1",
        "If-None-Match: *",
        "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
        "X-Request-Id: 0123456789",
        "X-HTTP-Method-Override: DELETE",
        "X-Unheard-Of: 1",
        "Content-Length: 0",
        "Connection: close",
        "Connection: keep-alive, upgrade",
        "Upgrade: h2c",
        "Host: other.example",
    ],
)
async def test_a_request_that_is_not_plain_never_touches_the_cache(
    address: tuple[str, int], client: RawClient, app: CachedApp, cache: HttpCache, field: str
) -> None:
    await client.ask(get("/r/1"))
    for target in ("/r/1", "/r/2"):
        async with RawClient(address) as other:
            await other.ask(get(target, field))
    assert app.asked["/r/1"] == (1 if field.startswith("Host") else 2)  # a second Host is refused by aiohttp
    assert len(cache) == 1


async def test_another_host_is_another_answer(client: RawClient, app: CachedApp) -> None:
    for host in ("a", "b", "a", "b"):
        await client.ask(f"GET /r/1 HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())

    assert app.asked["/r/1"] == 2


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (500, {}),
        (503, {}),
        (429, {}),
        (200, {"Set-Cookie": "a=b"}),
        (200, {"Cache-Control": "no-store"}),
        (200, {"Cache-Control": "private, max-age=5"}),
        (200, {"Vary": "Accept, Origin"}),
    ],
)
async def test_what_may_not_be_given_again_is_asked_for_again(
    client: RawClient, app: CachedApp, cache: HttpCache, status: int, headers: dict[str, str]
) -> None:
    app.status, app.headers = status, headers

    for _ in range(3):
        await client.ask(get("/r/1"))

    assert app.asked["/r/1"] == 3
    assert len(cache) == 0


async def test_what_is_not_marked_is_asked_for_again(client: RawClient, app: CachedApp) -> None:
    for _ in range(3):
        await client.ask(get("/n/1"))

    assert app.asked["/n/1"] == 3


@pytest.mark.parametrize("count", [2, 100, 1_000])
async def test_pipelined_requests_are_answered_in_their_order(
    client: RawClient, app: CachedApp, count: int
) -> None:
    for known in (False, True):
        client.send(b"".join(get(f"/r/{number}") for number in range(count)))
        answers = [await client.answer() for _ in range(count)]
        assert [answer.body for answer in answers] == [
            b"GET /r/%d False 0" % number for number in range(count)
        ], known
    assert sum(app.asked.values()) == count


async def test_hits_and_misses_in_one_segment_do_not_change_places(client: RawClient, app: CachedApp) -> None:
    for number in range(0, 200, 3):
        await client.ask(get(f"/r/{number}"))

    client.send(b"".join(get(f"/r/{number}") for number in range(200)))

    for number in range(200):
        assert (await client.answer()).body == b"GET /r/%d False 0" % number


async def test_a_hit_waits_for_the_answer_in_progress(client: RawClient, app: CachedApp) -> None:
    await client.ask(get("/r/1"))

    client.send(get("/wait/1"))
    async with asyncio.timeout(WAIT_S):
        await app.waiting.wait()
    client.send(get("/r/1") + get("/n/2"))
    client.send(get("/r/1"))
    app.gate.set()

    bodies = [(await client.answer()).body.split()[1] for _ in range(4)]
    assert bodies == [b"/wait/1", b"/r/1", b"/n/2", b"/r/1"]
    assert app.asked["/r/1"] == 1


async def test_requests_cut_at_every_octet_are_answered_alike(
    address: tuple[str, int], app: CachedApp
) -> None:
    async with RawClient(address) as client:
        await client.ask(get("/r/1"))
    whole = get("/r/1") + get("/n/2") + get("/r/1", method="HEAD") + get("/r/1")

    for cut in range(1, len(whole)):
        async with RawClient(address) as client:
            client.send(whole[:cut])
            before = whole[:cut].count(b"\r\n\r\n")
            answers = [await client.answer(method) for method in (b"GET", b"GET", b"HEAD", b"GET")[:before]]
            client.send(whole[cut:])
            answers += [await client.answer(method) for method in (b"GET", b"GET", b"HEAD", b"GET")[before:]]
        assert [answer.body for answer in answers] == [
            b"GET /r/1 False 0",
            b"GET /n/2 False 0",
            b"",
            b"GET /r/1 False 0",
        ]


async def test_requests_that_come_octet_by_octet_are_answered(client: RawClient, app: CachedApp) -> None:
    await client.ask(get("/r/1"))
    for octet in get("/r/1"):
        client.send(bytes([octet]))
        await asyncio.sleep(0)

    assert (await client.answer()).body == b"GET /r/1 False 0"
    assert app.asked["/r/1"] == 1


@pytest.mark.parametrize("sent", [0, 1, 3, 5])
async def test_after_a_body_the_cache_answers_on(client: RawClient, app: CachedApp, sent: int) -> None:
    await client.ask(get("/r/1"))
    head, body = get("/n/1", "Content-Length: 5", method="POST"), b"hello"

    for part in (head + body[:sent], body[sent:4], body[max(sent, 4) :] + get("/r/1")):
        client.send(part)
        for _ in range(5):
            await asyncio.sleep(0)

    assert (await client.answer()).body == b"POST /n/1 False 5"
    assert (await client.answer()).body == b"GET /r/1 False 0"
    assert (await client.ask(get("/r/1"))).body == b"GET /r/1 False 0"
    assert app.asked["/r/1"] == 1


async def test_after_what_only_the_framework_understands_it_serves_on(client: RawClient) -> None:
    await client.ask(get("/r/1"))
    chunked = get("/n/1", "Transfer-Encoding: chunked", method="POST") + b"5\r\nhello\r\n0\r\n\r\n"

    client.send(chunked + get("/r/1") * 2)

    assert (await client.answer()).body == b"POST /n/1 False 5"
    assert (await client.answer()).body == b"GET /r/1 False 0"
    assert (await client.answer()).body == b"GET /r/1 False 0"


async def test_a_body_that_looks_like_a_request_is_none(client: RawClient) -> None:
    await client.ask(get("/r/1"))
    inner = get("/r/1")

    answer = await client.ask(get("/n/1", f"Content-Length: {len(inner)}", method="POST") + inner)

    assert answer.body == b"POST /n/1 False %d" % len(inner)
    assert (await client.ask(get("/n/3"))).body == b"GET /n/3 False 0"


async def test_a_client_that_does_not_read_stops_the_server(
    app: CachedApp, cache: HttpCache, watcher: HitWatcher
) -> None:
    listener = await listen_http(app.application(), "127.0.0.1", 0, source=anyone(), cache=cache)
    count = 3_000  # 90 megabytes
    async with RawClient(listener.address) as client:
        await client.ask(get("/large/1"))
        client.send(get("/large/1") * count)
        connection = the_connection(listener)
        turns = 0
        async with asyncio.timeout(WAIT_S):
            while turns < 100:  # some that the server could use to go on
                turns += connection.writing_paused
                await asyncio.sleep(0)
        assert connection.transport is not None
        buffered = connection.transport.get_write_buffer_size()
        assert 0 < buffered < 2 * WRITE_OCTETS + 65_536
        assert len(connection._held) < 8 * HELD_OCTETS_MAX
        for _ in range(count):
            assert (await client.answer()).body.startswith(b"GET /large/1")
    assert app.asked["/large/1"] == 1
    await listener.close()


async def test_every_hit_takes_one_token_and_the_limit_speaks_as_ever(app: CachedApp) -> None:
    for cache in (None, HttpCache()):
        source = SourceCheck(rate_per_s=0.000_1, burst=5)
        watcher = Watcher()
        listener = await listen_http(
            app.application(), "127.0.0.1", 0, source=source, observer=watcher, cache=cache
        )
        async with RawClient(listener.address) as client:
            client.send(get("/r/1") * 7)
            statuses = [(await client.answer()).line[9:12] for _ in range(6)]
            assert statuses == [b"200"] * 5 + [b"429"]
            assert await client.rest() == b""
        assert watcher.limits == ["source_rate"]
        await listener.close()
    assert app.asked["/r/1"] == 6


async def test_a_refused_network_gets_no_cached_answer(app: CachedApp, cache: HttpCache) -> None:
    source = SourceCheck(deny=["127.0.0.2/32"])
    listener = await listen_http(app.application(), "127.0.0.1", 0, source=source, cache=cache)
    async with RawClient(listener.address) as client:
        await client.ask(get("/r/1"))
    async with RawClient(listener.address, local="127.0.0.2") as refused:
        assert (await refused.ask(get("/r/1"))).line.startswith(b"HTTP/1.1 403")
    await listener.close()


async def test_hits_and_misses_are_counted(client: RawClient, cache: HttpCache, watcher: HitWatcher) -> None:
    client.send(get("/r/1"))
    await client.answer()
    client.send(get("/r/1") * 3)
    for _ in range(3):
        await client.answer()

    cache.tally.tell()

    assert watcher.misses == 1
    assert watcher.hits == {(1, 1): 3}
    assert watcher.hosts == {"127.0.0.1": 3}


async def test_a_hit_is_activity(app: CachedApp, cache: HttpCache) -> None:
    listener = await listen_http(app.application(), "127.0.0.1", 0, source=anyone(), cache=cache, idle_s=50)
    async with RawClient(listener.address) as client:
        await client.ask(get("/r/1"))
        connection = the_connection(listener)
        connection._next_keepalive_close_time = 0.0
        await client.ask(get("/r/1"))
        assert connection._next_keepalive_close_time > asyncio.get_running_loop().time()
    assert app.asked["/r/1"] == 1
    await listener.close()


@pytest.mark.parametrize("sent", [b"GET /r/1 HTT", get("/r/1")[:-1], get("/r/1")[:-2]])
async def test_a_connection_that_stops_within_a_head_is_given_up(
    app: CachedApp, cache: HttpCache, sent: bytes
) -> None:
    listener = await listen_http(app.application(), "127.0.0.1", 0, source=anyone(), cache=cache, idle_s=0.1)
    async with RawClient(listener.address) as client:
        client.send(sent)
        assert await client.rest() == b""
    await listener.close()


async def test_an_answer_ends_with_what_it_was_made_from(app: CachedApp) -> None:
    generations = Generations()
    listener = await listen_http(
        app.application(), "127.0.0.1", 0, source=anyone(), cache=HttpCache(generations=generations)
    )
    async with RawClient(listener.address) as client:
        for asked in (1, 2, 3):
            app.stamp = generations.stamp(b"88.1/A", b"88.1")
            for _ in range(3):
                await client.ask(get("/r/1"))
            assert app.asked["/r/1"] == asked
            generations.bump([b"88.1/OTHER"])
            await client.ask(get("/r/1"))
            assert app.asked["/r/1"] == asked
            generations.bump([b"88.1/A"])
    await listener.close()


async def test_an_answer_whose_time_is_over_is_asked_for_again(client: RawClient, app: CachedApp) -> None:
    app.life_s = 0

    for _ in range(3):
        await client.ask(get("/r/1"))

    assert app.asked["/r/1"] == 3


async def test_answers_over_tls_come_from_the_cache_too(
    app: CachedApp, cache: HttpCache, tls: ssl.SSLContext
) -> None:
    listener = await listen_http(app.application(), "127.0.0.1", 0, tls=tls, source=anyone(), cache=cache)
    client_side = ssl.create_default_context()
    client_side.check_hostname, client_side.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(*listener.address, ssl=client_side)
    async with asyncio.timeout(WAIT_S):
        for _ in range(3):
            writer.write(get("/r/1") * 2)
            for _ in range(2):
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200")
                assert await reader.readexactly(len(b"GET /r/1 False 0")) == b"GET /r/1 False 0"
    writer.close()
    assert app.asked["/r/1"] == 1
    await listener.close()


async def test_a_stopping_listener_answers_nothing_more(app: CachedApp, cache: HttpCache) -> None:
    listener = await listen_http(app.application(), "127.0.0.1", 0, source=anyone(), cache=cache)
    async with RawClient(listener.address) as client:
        await client.ask(get("/r/1"))
        await listener.close()
        client.send(get("/r/1"))
        assert await client.rest() in (b"", b"reset")


async def test_more_hits_than_one_turn_has_are_all_answered(client: RawClient, app: CachedApp) -> None:
    count = 5 * ANSWERS_PER_TURN + 7
    await client.ask(get("/r/1"))

    client.send(get("/r/1") * count)
    for _ in range(count):
        await client.answer()

    assert app.asked["/r/1"] == 1


async def test_a_body_that_the_framework_reads_does_not_let_requests_pile_up_behind_it(
    app: CachedApp, cache: HttpCache
) -> None:
    listener = await listen_http(app.application(), "127.0.0.1", 0, source=anyone(), cache=cache)
    async with RawClient(listener.address) as client:
        post = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n" + bytes(60_000)
        client.send(post + get("/n/1") * 20_000)
        connection, most = None, 0
        for _ in range(2_000):
            await client.answer()
            connection = connection or the_connection(listener)
            most = max(most, len(connection._held))
        assert most < 8 * HELD_OCTETS_MAX
    await listener.close(0)


async def test_refused_networks_take_nobodys_place(app: CachedApp, cache: HttpCache) -> None:
    source = SourceCheck(deny=["127.0.0.2/32"])
    listener = await listen_http(
        app.application(), "127.0.0.1", 0, source=source, cache=cache, connections_per_source_max=1
    )
    async with RawClient(listener.address, local="127.0.0.2") as refused:
        assert b" 403 " in (await refused.ask(get("/n/1"))).line
        async with RawClient(listener.address, local="127.0.0.3") as admitted:  # of the same /24
            assert b" 200 " in (await admitted.ask(get("/n/1"))).line
    await listener.close(0)
