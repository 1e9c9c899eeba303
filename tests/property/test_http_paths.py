"""The fast path of HTTP answers every request as the web framework does, and keeps no other request from its answer."""

import asyncio
import re

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from protocol.transport.http import listen_http
from protocol.transport.http_cache import HttpCache
from protocol.transport.http_head import END, EOL, HeaderBlocks, is_request_line, may_become_head
from tests.support.cached_app import CachedApp, HitWatcher, likes_json
from tests.support.raw_http import RawClient, get
from tests.support.transport import anyone

IDLE_S = 1.5  # after which a connection is closed whose request does not end; machines stall for less
DATE = re.compile(rb"Date: [^\r]*")
START = re.compile(rb"HTTP/1\.[01] ")

METHODS = st.sampled_from(
    ["GET", "GET", "GET", "HEAD", "POST", "OPTIONS", "DELETE", "get", "G\0T", "CONNECT"]
)
TARGETS = st.sampled_from(
    [
        "/r/1",
        "/r/1",
        "/r/2?auth",
        "/r/%31",
        "/r/\u00e4",
        "/n/1",
        "//r/1",
        "http://node.example/r/1",
        "*",
        "/r/1#x",
    ]
)
VERSIONS = st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "http/1.1", ""])
FIELDS = st.sampled_from(
    [
        "Host: node.example",
        "host:node.example",
        "Host: other",
        "Accept: application/json",
        "ACCEPT:\ttext/html ",
        "Accept: */*;q=0.1",
        "Accept:",
        "User-Agent: a b c",
        "Connection: keep-alive",
        "Connection: close",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Content-Length: 0",
        "Content-Length: 3",
        "Content-Length: -1",
        "Content-Length: 3, 3",
        "Transfer-Encoding: chunked",
        "Expect: 100-continue",
        "Authorization: Basic eDp5",
        "Cookie: a=b",
        "Range: bytes=0-3",
        "If-None-Match: *",
        "X-Request-Id: 12345678",
        "X-HTTP-Method-Override: DELETE",
        "Accept : a/json",
        " folded",
        "no colon",
        ": nameless",
        "Accept-Language: de\0",
        "Accept-Language: \u00e4",
        "Accept\u00e4: a",
        "X-Long: " + "x" * 9_000,
        "Referer: " + "y" * 3_000,
    ]
)
ENDS = st.sampled_from(["\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r"])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    end = draw(ENDS)
    line = " ".join([draw(METHODS), draw(TARGETS), draw(VERSIONS)])
    fields = draw(st.lists(FIELDS, max_size=4))
    if draw(st.integers(0, 4)):
        fields.insert(0, "Host: node.example")
    body = draw(st.sampled_from(["", "", "", "abc", "3\r\nabc\r\n0\r\n\r\n"]))
    return (line + end + end.join(fields) + end + end + body).encode()


LAST = get("/n/last", "Connection: close")


async def transcript(octets: bytes, cuts: list[int], *, cached: bool) -> list[bytes] | None:
    """What a client hears that sends octets in pieces and then a last request.

    None when it was too late to hear that it was refused: what it still sent came to a closed connection.
    """
    app, watcher = CachedApp(), HitWatcher()
    cache = HttpCache(accept_class=likes_json, observer=watcher) if cached else None
    listener = await listen_http(
        app.application(), "127.0.0.1", 0, source=anyone(), cache=cache, idle_s=IDLE_S
    )
    async with RawClient(listener.address) as client:
        for target in ("/r/1", "/r/2?auth", "/r/%31", "//r/1"):
            for method in ("GET", "HEAD"):
                for accept in ("a/html", "a/json"):
                    await client.ask(get(target, f"Accept: {accept}", method=method))
    async with RawClient(listener.address) as client:
        whole = octets + LAST
        for start, stop in zip([0, *cuts], [*cuts, len(whole)], strict=True):
            client.send(whole[start:stop])
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        heard = await client.rest()
    await listener.close(0)
    return None if heard == b"reset" else START.split(DATE.sub(b"Date", heard))[1:]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@given(octets=st.lists(requests(), min_size=1, max_size=3).map(b"".join), data=st.data())
def test_both_paths_answer_alike(loop: str, octets: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(1, len(octets)), max_size=2, unique=True)))
    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop

    with asyncio.Runner(loop_factory=factory) as runner:
        plain = runner.run(transcript(octets, cuts, cached=False))
        fast = runner.run(transcript(octets, cuts, cached=True))

    if plain is None or fast is None:
        return
    if plain and plain[-1].startswith(b"400"):
        # aiohttp forgets good requests when something malformed follows in their segment, or anything a last one; the
        # fast path, which gives it one at a time, does not.
        assert fast[: len(plain) - 1] == plain[:-1]
        assert fast[-1] == plain[-1] or b"Connection: close" in fast[-1]
    else:
        assert fast == plain


@given(st.binary(max_size=200) | requests())
def test_arbitrary_octets_are_classified_or_left_alone(octets: bytes) -> None:
    line, _, block = octets.partition(EOL)
    blocks = HeaderBlocks(likes_json)

    first, second = blocks.learn(EOL + block), blocks.learn(EOL + block)

    assert first == second
    assert is_request_line(line) in (True, False)
    assert may_become_head(octets) in (True, False)


@given(requests(), st.data())
def test_the_beginning_of_what_is_understood_is_waited_for(octets: bytes, data: st.DataObject) -> None:
    head, end, _ = octets.partition(END)
    line, _, block = head.partition(EOL)
    understood = end and is_request_line(line) and HeaderBlocks(None).learn(EOL + block) is not None
    if understood and line.startswith((b"GET /", b"HEAD /")):
        cut = data.draw(st.integers(1, len(head) + 3))
        assert may_become_head((head + end)[:cut])
