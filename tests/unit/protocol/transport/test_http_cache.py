"""What an HTTP answer costs in the cache, and what its head tells."""

import asyncio
import gc
import tracemalloc
from types import SimpleNamespace
from typing import cast

import pytest
from aiohttp import HttpVersion11, web

from protocol.generations import Generations
from protocol.transport.http_cache import REUSE, HttpCache, HttpEntry, Reuse
from resolver.http_headers import TimedHeaders

COUNT = 5_000
NOW_S = 1_000.0
FIELDS = {
    "Content-Type": "application/json;charset=utf-8",
    "Access-Control-Allow-Origin": "*",
    "ETag": '"0123456789abcdef0123456789abcdef"',
    "Content-Length": "300",
    "Date": "Sun, 06 Nov 1994 08:49:37 GMT",
}


def answer(number: int, reuse: Reuse, fields: dict[str, str]) -> tuple[web.Request, web.Response]:
    # What the cache reads of a request; aiohttp's own take a hundred times as long to make.
    asked = SimpleNamespace(
        version=HttpVersion11,
        method="GET",
        raw_path=f"/api/handles/88.100.1/pump-{number:08}",
        raw_headers=((b"Host", b"node.example"),),
    )
    request = cast(web.Request, asked)
    response = web.Response(body=b"%0300d" % number, headers=FIELDS | fields)
    response[REUSE] = reuse
    return request, response


def reuses(number: int, generations: Generations) -> dict[str, tuple[Reuse, dict[str, str]]]:
    timed = TimedHeaders(1e9 + number, 2e9 + number, '"node"; hit')
    stamp = generations.stamp(b"%d" % number, b"88.1")
    return {
        "resolver": (Reuse(operation=1, code=1, until_s=timed.until_s, timed=timed), timed(NOW_S)[0]),
        "registry": (
            Reuse(operation=1, code=1, until_s=2e9 + number, stamp=stamp, id_field="X-Request-Id"),
            {"X-Request-Id": "0123456789abcdef"},
        ),
    }


@pytest.mark.parametrize("daemon", ["resolver", "registry"])
def test_an_answer_costs_what_it_is_weighed_with(daemon: str) -> None:
    generations = Generations()
    cache = HttpCache(octets_max=2**30, generations=generations)

    async def fill() -> None:
        for number in range(COUNT):
            await cache.note(*answer(number, *reuses(number, generations)[daemon]))

    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        asyncio.run(fill())
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert len(cache) == COUNT
    assert 0.9 < cache.octets / grown < 1.1


def test_a_head_is_rewritten_where_it_tells_the_time() -> None:
    head = b"HTTP/1.1 200 OK\r\nAge: 9\r\nX-Request-Id: 0123456789abcdef\r\nDate: Sun\r\nX-Age: 9\r\n\r\n"
    reuse = Reuse(
        operation=1,
        code=1,
        until_s=2_000.0,
        timed=lambda now_s: ({"Age": str(int(now_s))}, now_s + 5),
        id_field="X-Request-Id",
    )
    entry = HttpEntry(head, b"body", (1, 1), reuse)
    answers: list[bytes] = []

    entry.write_head(1_234.0, "Monday", 1_300.0)
    entry.give(answers)
    octets = b"".join(answers)

    assert octets.startswith(b"HTTP/1.1 200 OK\r\nAge: 1234\r\nX-Request-Id: ")
    assert octets.endswith(b"\r\nDate: Monday\r\nX-Age: 9\r\n\r\nbody")
    assert b"0123456789abcdef" not in octets
    assert entry.head_until_s == 1_239.0
