"""The HTTP front end with real sockets: two protocols on one port, limits, the tunnel."""

import asyncio
import json
import random
import ssl
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from protocol.codes import ResponseCode
from protocol.errors import SettingsError
from protocol.message import decode_message
from protocol.transport import http
from protocol.transport.answer_table import AnswerTable
from protocol.transport.http import is_tls, listen_http, peer_host
from protocol.transport.http_cache import HttpCache
from protocol.transport.source import SourceCheck
from protocol.transport.tunnel import MESSAGE_TYPE, add_tunnel
from tests.support.transport import WAIT_S, Echo, Watcher, anyone, resolution

BINARY = {"Content-Type": MESSAGE_TYPE, "Accept": MESSAGE_TYPE}


@pytest.fixture(autouse=True, params=["framework", "cache"])
def _path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs every test with an answer cache in front of the framework too."""
    if request.param == "cache":
        monkeypatch.setattr(request.module, "listen_http", partial(listen_http, cache=HttpCache()))


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=WAIT_S)
    async with aiohttp.ClientSession(timeout=timeout) as opened:
        yield opened
    await asyncio.sleep(0)


def application() -> web.Application:
    async def about(request: web.Request) -> web.Response:
        return web.json_response({"tls": is_tls(request), "host": peer_host(request)})

    async def fail(request: web.Request) -> web.Response:
        raise RuntimeError("password is hunter2")

    async def body(request: web.Request) -> web.Response:
        return web.json_response(len(await request.read()))

    app = web.Application()
    app.router.add_get("/about", about)
    app.router.add_get("/fail", fail)
    app.router.add_post("/body", body)
    return app


def url(address: tuple[str, int], path: str, scheme: str = "http") -> str:
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"{scheme}://{host}:{address[1]}{path}"


async def test_one_port_speaks_http_and_https(
    session: aiohttp.ClientSession, tls: ssl.SSLContext, loopback: str
) -> None:
    listener = await listen_http(application(), loopback, 0, tls=tls, source=anyone())
    async with session.get(url(listener.address, "/about")) as plain:
        assert await plain.json() == {"tls": False, "host": loopback}
    async with session.get(url(listener.address, "/about", "https"), ssl=False) as secure:
        assert await secure.json() == {"tls": True, "host": loopback}
    await listener.close()


async def test_several_addresses_share_one_application_and_port(session: aiohttp.ClientSession) -> None:
    listener = await listen_http(application(), ["127.0.0.1", "::1"], 0, source=anyone())
    port = listener.address[1]
    for host in ("127.0.0.1", "::1"):
        async with session.get(url((host, port), "/about")) as answer:
            assert (await answer.json())["host"] == host
    await listener.close()


async def test_silent_clients_hold_up_nobody_and_are_let_go(
    session: aiohttp.ClientSession, tls: ssl.SSLContext
) -> None:
    watcher = Watcher()
    listener = await listen_http(
        application(), "127.0.0.1", 0, tls=tls, source=anyone(), observer=watcher, idle_s=1.0
    )
    silent = [await asyncio.open_connection(*listener.address) for _ in range(20)]
    async with session.get(url(listener.address, "/about")) as answer:
        assert answer.status == 200
    async with asyncio.timeout(WAIT_S):
        assert [await reader.read() for reader, _ in silent] == [b""] * 20
    for _, writer in silent:
        writer.close()

    assert watcher.limits == ["request_wait"] * 20
    await listener.close()


@pytest.mark.parametrize("sent", [b"", b"GET /about HT", b"GET /about HTTP/1.1\r\nHost: a\r\nX: "])
async def test_a_header_that_does_not_end_is_given_up(sent: bytes) -> None:
    listener = await listen_http(application(), "127.0.0.1", 0, source=anyone(), idle_s=0.1)
    reader, writer = await asyncio.open_connection(*listener.address)
    writer.write(sent)
    async with asyncio.timeout(WAIT_S):
        assert await reader.read() == b""
    writer.close()
    await listener.close()


async def test_a_body_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_S", 0.1)
    monkeypatch.setattr(http, "LINGER_S", 0.1)
    listener = await listen_http(application(), "127.0.0.1", 0, source=anyone())
    reader, writer = await asyncio.open_connection(*listener.address)
    writer.write(b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nx")
    async with asyncio.timeout(WAIT_S):
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
    writer.close()
    await listener.close()


async def test_noise_ends_its_own_connection_and_nothing_else(
    session: aiohttp.ClientSession, tls: ssl.SSLContext
) -> None:
    source = random.Random(20261120)
    listener = await listen_http(application(), "127.0.0.1", 0, tls=tls, source=anyone(), idle_s=WAIT_S)
    for first in (b"", b"\x16", b"\x16\x03\x01", b"GET ", b"POST / HTTP/1.1\r\nContent-Length: -1\r\n"):
        reader, writer = await asyncio.open_connection(*listener.address)
        writer.write(first + source.randbytes(200))
        writer.write_eof()
        async with asyncio.timeout(WAIT_S):
            try:
                await reader.read()
            except ConnectionResetError:
                pass
        writer.close()
    async with session.get(url(listener.address, "/about")) as answer:
        assert answer.status == 200
    assert listener._count.total <= 1
    await listener.close()


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_failed_handshakes_leave_no_descriptor_open(
    session: aiohttp.ClientSession, tls: ssl.SSLContext
) -> None:
    watcher = Watcher()
    listener = await listen_http(application(), "127.0.0.1", 0, tls=tls, source=anyone(), observer=watcher)
    before = descriptors()
    for _ in range(50):
        reader, writer = await asyncio.open_connection(*listener.address)
        writer.write(b"\x16\x03\x01\x00\x05hello")
        async with asyncio.timeout(WAIT_S):
            await reader.read()
        writer.close()
        await writer.wait_closed()
    await watcher.until(lambda: len(watcher.undecodables) == 50)
    async with asyncio.timeout(WAIT_S):
        while descriptors() > before + 10:  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(0)
    async with session.get(url(listener.address, "/about", "https"), ssl=False) as answer:
        assert answer.status == 200
    assert listener._count.total == 1
    await listener.close()


async def test_lines_and_headers_beyond_the_limits_are_refused(session: aiohttp.ClientSession) -> None:
    listener = await listen_http(application(), "127.0.0.1", 0, source=anyone())
    async with session.get(url(listener.address, "/" + "x" * 9_000)) as long_line:
        assert long_line.status == 400
    async with session.get(
        url(listener.address, "/about"), headers={f"X-{n}": "1" for n in range(70)}
    ) as many:
        assert many.status == 400
    await listener.close()


async def test_over_the_rate_429_tells_when_to_come_back_and_refused_networks_get_403(
    session: aiohttp.ClientSession,
) -> None:
    watcher = Watcher()
    limited = await listen_http(
        application(), "127.0.0.1", 0, source=SourceCheck(rate_per_s=0.1), observer=watcher
    )
    async with session.get(url(limited.address, "/about")) as first:
        assert first.status == 200
    async with session.get(url(limited.address, "/about")) as second:
        assert second.status == 429
        assert 1 <= int(second.headers["Retry-After"]) <= 10
        assert (await second.json())["responseCode"] == ResponseCode.SERVER_TOO_BUSY
    refusing = await listen_http(
        application(), "127.0.0.1", 0, source=SourceCheck(allow=["10.0.0.0/8"]), observer=watcher
    )
    async with session.get(url(refusing.address, "/about")) as third:
        assert third.status == 403
        assert (await third.json())["responseCode"] == ResponseCode.ACCESS_DENIED

    assert watcher.limits == ["source_rate", "source_refused"]
    await limited.close()
    await refusing.close()


async def test_every_answer_names_the_product_and_none_what_it_is_made_of(
    session: aiohttp.ClientSession,
) -> None:
    listener = await listen_http(application(), "127.0.0.1", 0, source=anyone())
    for path, status in (("/about", 200), ("/fail", 500), ("/nowhere", 404), ("/" + "x" * 9_000, 400)):
        async with session.get(url(listener.address, path)) as answer:
            assert answer.status == status
            assert answer.headers["Server"] == "handlegrid"
    await listener.close()


@pytest.mark.parametrize("octets", [b"\x00\r\n\r\n", b"GET / HTTP/1.1\r\nBad <Header>: y\r\n\r\n"])
async def test_what_is_no_http_is_refused_as_json_without_an_echo(octets: bytes) -> None:
    listener = await listen_http(application(), "127.0.0.1", 0, source=anyone())
    reader, writer = await asyncio.open_connection(*listener.address)
    writer.write(octets)
    async with asyncio.timeout(WAIT_S):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()

    assert b" 400 " in head.splitlines()[0]
    assert b"aiohttp" not in head
    assert json.loads(body)["responseCode"] == ResponseCode.PROTOCOL_ERROR
    assert b"Header" not in body
    await listener.close()


async def test_what_the_router_refuses_is_json_too(session: aiohttp.ClientSession) -> None:
    listener = await listen_http(application(), "127.0.0.1", 0, source=anyone())
    async with session.get(url(listener.address, "/nowhere")) as unknown:
        assert (unknown.status, await unknown.json()) == (404, {"responseCode": 4, "message": "not found"})
    async with session.delete(url(listener.address, "/about")) as wrong:
        assert wrong.status == 405
        assert "GET" in wrong.headers["Allow"]
        assert (await wrong.json())["responseCode"] == ResponseCode.OPERATION_NOT_SUPPORTED
    await listener.close()


async def test_connections_of_one_network_are_bounded() -> None:
    watcher = Watcher()
    listener = await listen_http(
        application(), "127.0.0.1", 0, source=anyone(), observer=watcher, connections_per_source_max=1
    )
    _, first = await asyncio.open_connection(*listener.address)
    reader, second = await asyncio.open_connection(*listener.address)
    async with asyncio.timeout(WAIT_S):
        assert await reader.read() == b""
    first.close()
    second.close()

    assert watcher.limits == ["connections_per_source"]
    await listener.close()


async def test_a_bug_in_a_handler_is_answered_without_detail(session: aiohttp.ClientSession) -> None:
    listener = await listen_http(application(), "127.0.0.1", 0, source=anyone())
    async with session.get(url(listener.address, "/fail")) as answer:
        assert answer.status == 500
        assert await answer.json() == {"responseCode": ResponseCode.ERROR, "message": "internal error"}
    await listener.close()


async def test_a_port_in_use_is_told_with_its_remedy() -> None:
    first = await listen_http(application(), "127.0.0.1", 0, source=anyone())
    with pytest.raises(SettingsError, match="already in use"):
        await listen_http(application(), "127.0.0.1", first.address[1], source=anyone())
    await first.close()


async def test_the_tunnel_answers_on_any_path(session: aiohttp.ClientSession) -> None:
    echo, watcher, cache = Echo(cache_s=60), Watcher(), AnswerTable()
    app = application()
    add_tunnel(app, echo, cache=cache, observer=watcher)
    listener = await listen_http(app, "127.0.0.1", 0, source=anyone())
    for number, start in enumerate((b"", b"\r\n"), start=1):
        octets = start + resolution(request_id=number).encode()
        async with session.post(url(listener.address, "/20.500.1/x"), data=octets, headers=BINARY) as answer:
            assert answer.headers["Content-Type"] == MESSAGE_TYPE
            assert "Transfer-Encoding" not in answer.headers
            assert decode_message(await answer.read()).envelope.request_id == number

    assert watcher.answers == [("http", "miss"), ("http", "hit")]
    assert echo.asked[0][1].transport == "http"
    await listener.close()


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"short", 400), (bytes(43), 400), (bytes(300_000), 413)],
)
async def test_the_tunnel_refuses_what_is_no_request(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, body: bytes, status: int
) -> None:
    monkeypatch.setattr(http, "LINGER_S", 0.1)
    app = application()
    add_tunnel(app, Echo())
    listener = await listen_http(app, "127.0.0.1", 0, source=anyone())
    async with session.post(url(listener.address, "/"), data=body, headers=BINARY) as answer:
        assert answer.status == status
        message = decode_message(await answer.read())

    assert message.header.response_code == ResponseCode.PROTOCOL_ERROR
    await listener.close()


async def test_closing_finishes_a_request_in_flight(session: aiohttp.ClientSession) -> None:
    echo = Echo(gate=asyncio.Event())
    app = application()
    add_tunnel(app, echo)
    listener = await listen_http(app, "127.0.0.1", 0, source=anyone())
    assert echo.gate is not None
    asking = asyncio.create_task(
        session.post(url(listener.address, "/"), data=resolution().encode(), headers=BINARY).__aenter__()
    )
    await echo.entered.wait()
    closing = asyncio.create_task(listener.close())
    await asyncio.sleep(0)
    echo.gate.set()
    answer = await asking

    assert decode_message(await answer.read()).header.response_code == ResponseCode.SUCCESS
    await closing
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*listener.address)
