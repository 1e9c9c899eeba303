"""An HTTP application of a test whose answers may be given again, and which counts how often it was asked."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping

from aiohttp import web

from protocol.generations import Stamp
from protocol.transport.http_cache import REUSE, Kind, LastHit, Reuse

LIFE_S = 1_000.0


def likes_json(accept: str) -> bool:
    return "json" in accept


class CachedApp:
    """/r/… may be given again; /n/… may not; /wait/… waits for the gate; /large/… is a quarter of a megabyte in all.

    Every answer names the method, the target and the Accept class that it was made for.
    """

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.gate = asyncio.Event()
        self.waiting = asyncio.Event()
        self.status = 200
        self.headers: dict[str, str] = {}
        self.stamp: Stamp | None = None
        self.life_s = LIFE_S
        self.despite_no_store = False

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", r"/{path:[\s\S]*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked[request.raw_path] += 1
        if request.raw_path.startswith("/wait/"):
            self.waiting.set()
            await self.gate.wait()
        accept = ",".join(request.headers.getall("Accept", ()))
        text = f"{request.method} {request.raw_path} {likes_json(accept)} {len(await request.read())}"
        if request.raw_path.startswith("/large/"):
            text += "x" * 30_000
        response = web.Response(status=self.status, text=text, headers=self.headers)
        if not request.raw_path.startswith("/n/"):
            response[REUSE] = Reuse(
                operation=1,
                code=1,
                until_s=time.monotonic() + self.life_s,
                stamp=self.stamp,
                despite_no_store=self.despite_no_store,
            )
        return response


class HitWatcher:
    """Remembers what a cache tells its observer."""

    def __init__(self) -> None:
        self.hits: Counter[Kind] = Counter()
        self.hosts: Counter[str] = Counter()
        self.misses = 0

    def http_looked_up(
        self,
        hits: Mapping[Kind, int],
        misses: int,
        hosts: Mapping[str, int],
        elapsed_s: float,
        last: LastHit | None,
    ) -> None:
        assert elapsed_s >= 0
        self.hits.update(hits)
        self.hosts.update(hosts)
        self.misses += misses
