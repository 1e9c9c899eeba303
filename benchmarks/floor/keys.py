"""A bare database loop: one key in one prepared statement, so many loops at once on a pool.

    python -m benchmarks.floor.keys DSN ROWS CONNECTIONS

It prints its process id, then reads lines "loops seconds" and answers each with a line of JSON: reads, seconds, and
percentiles of their latency. It ends when standard input does.
"""

import asyncio
import json
import os
import random
import sys
import time
from array import array
from typing import Final

import asyncpg
import uvloop

from benchmarks.load.result import BUCKETS, Histogram, bucket
from benchmarks.record import some_names
from protocol.handle import Handle

SELECT: Final = "SELECT public_values, public_count FROM handles WHERE key = $1"
NAMES: Final = some_names(array("I"))


async def loop(pool: "asyncpg.Pool[asyncpg.Record]", rows: int, until_s: float, counts: list[int]) -> None:
    """Read random keys until a moment."""
    start = Handle.parse(NAMES.name(0)).key[: -NAMES.digits]
    while (began_s := time.perf_counter()) < until_s:
        key = start + b"%0*d" % (NAMES.digits, random.randrange(rows))
        row = await pool.fetchrow(SELECT, key)
        assert row is not None, key
        counts[bucket(int((time.perf_counter() - began_s) * 1e9))] += 1


async def serve(dsn: str, rows: int, connections: int) -> None:
    """Run loops as lines ask for them."""
    pool = await asyncpg.create_pool(dsn, min_size=connections, max_size=connections, reset=_leave_as_is)
    print(os.getpid(), flush=True)
    running = asyncio.get_running_loop()
    while line := await running.run_in_executor(None, sys.stdin.readline):
        loops, seconds = line.split()
        counts = [0] * BUCKETS
        began_s, cpu_s = time.perf_counter(), time.process_time()
        until_s = began_s + float(seconds)
        await asyncio.gather(*(loop(pool, rows, until_s, counts) for _ in range(int(loops))))
        latency = Histogram(counts)
        facts = {
            "reads": sum(counts),
            "seconds": time.perf_counter() - began_s,
            "cpu_s": time.process_time() - cpu_s,
            "p50_ms": latency.percentile_ms(50),
            "p99_ms": latency.percentile_ms(99),
        }
        print(json.dumps(facts), flush=True)
    await pool.close()


async def _leave_as_is(connection: object) -> None:
    """Nothing to reset: one statement is all that a connection is used for."""


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
