"""A load of authenticated writes.

    python -m benchmarks.writers

It reads where everything is from the first line of standard input, and then tasks, as JSON. It connects for a task and
spends beforehand what proofs cost a client, where that can be: keys are derived from salts, sessions are set up and
proved. Then it says "ready", and with the next line it runs and says what it saw; connections end with the line after
that, so that no process at their other ends is gone before its time was read. It ends when standard input does.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import uvloop

from benchmarks.load.result import BUCKETS, bucket
from benchmarks.writers.bare import BareWriter
from benchmarks.writers.over_handle import (
    SaltedKey,
    by_one_salt,
    by_private_key,
    by_secret,
    challenged,
    in_session,
    salted_key,
)
from benchmarks.writers.over_http import with_password, with_session
from benchmarks.writers.task import Place, Scheme, Task

SALTS_PER_S: Final = 500
"""Keys derived beforehand for each second: more than two cores derive at the other end."""
THREADS: Final = 2


class Writer(Protocol):
    """One client."""

    async def write(self, number: int) -> None:
        """Create one handle; raises what went wrong."""

    def close(self) -> None:
        """Hang up."""


@dataclass(slots=True)
class Seen:
    """What all clients of a run note."""

    counts: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    sent: int = 0
    answers: int = 0
    fault: str = ""
    last_s: float = 0.0


async def opened(place: Place, task: Task) -> list[Writer]:
    """The clients of a task, ready to write."""
    derived: list[SaltedKey] = []
    if task.scheme is Scheme.SECRET:
        derived = await _derived(place.secret, int(SALTS_PER_S * task.seconds) + 2 * task.clients)
    return [await _open(place, task, client, derived) for client in range(task.clients)]


async def _open(place: Place, task: Task, client: int, derived: list[SaltedKey]) -> Writer:
    match task.scheme:
        case Scheme.BARE:
            return await BareWriter.open(place.bare_dsn)
        case Scheme.SECRET:
            return await challenged(place, by_secret(place, derived.pop))
        case Scheme.SECRET_KEPT:
            return await challenged(place, by_one_salt(place))
        case Scheme.RSA:
            return await challenged(place, by_private_key(place))
        case Scheme.SESSION:
            return await in_session(place, task.first + client)
        case Scheme.HTTP_BASIC:
            return await with_password(place)
        case Scheme.HTTP_SESSION:
            return await with_session(place)


async def _derived(secret: str, count: int) -> list[SaltedKey]:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(THREADS) as pool:
        return list(
            await asyncio.gather(*(loop.run_in_executor(pool, salted_key, secret) for _ in range(count)))
        )


async def keep_writing(writer: Writer, numbers: Iterator[int], until_s: float, seen: Seen) -> None:
    """One write after the other."""
    while (began_s := time.perf_counter()) < until_s and not seen.fault:
        seen.sent += 1
        try:
            await writer.write(next(numbers))
        except Exception as error:
            seen.fault = f"{type(error).__name__}: {error}"
            return
        seen.last_s = time.perf_counter()
        seen.answers += 1
        seen.counts[bucket(int((seen.last_s - began_s) * 1e9))] += 1


async def run(task: Task, writers: Sequence[Writer], numbers: Iterator[int]) -> dict[str, Any]:
    """Do a task; gives the fields of a LoadResult."""
    seen = Seen()
    began_s, cpu_s = time.perf_counter(), time.process_time()
    clients = (keep_writing(writer, numbers, began_s + task.seconds, seen) for writer in writers)
    await asyncio.gather(*clients)
    cpu_s = time.process_time() - cpu_s
    return {
        "sent": seen.sent,
        "answers": seen.answers,
        "lost": 0,
        "wrong": int(bool(seen.fault)),
        "stray": 0,
        "closed": 0,
        "octets": 0,
        "seconds": seen.last_s - began_s,
        "generator_cpu_s": cpu_s,
        "counts": seen.counts,
        "fault": seen.fault,
    }


async def serve() -> None:
    """Do the tasks that come."""
    loop = asyncio.get_running_loop()

    async def next_line() -> str:
        return await loop.run_in_executor(None, sys.stdin.readline)

    place = Place(**json.loads(await next_line()))
    while line := await next_line():
        given = json.loads(line)
        task = Task(**{**given, "scheme": Scheme(given["scheme"])})
        writers = await opened(place, task)
        numbers = iter(range(task.first + task.clients, sys.maxsize))
        for writer in writers:
            await writer.write(next(numbers))  # the first one of a connection makes plans and caches
        print("ready", flush=True)
        await next_line()
        print(json.dumps(await run(task, writers, numbers)), flush=True)
        await next_line()
        for writer in writers:
            writer.close()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        uvloop.run(serve())
