"""The floor of any registration: a bare aiohttp handler that puts the body of a POST into a table of the definition of
handles, one INSERT and COMMIT each, and answers 201.

    python -m benchmarks.bare_inserts postgresql:///bare

It checks nothing, looks nothing up and keeps no log. It prints its port and ends when its standard input does.
"""

import asyncio
import sys
from typing import Final

import asyncpg
import msgspec
import uvloop
from aiohttp import web

CONNECTIONS: Final = 16
"""To the database; one for each client."""
INSERT: Final = """
    INSERT INTO handles (key, name, prefix, public_values, public_count, version, changed_ms)
    VALUES ($1, $1, $2, $3, 1, 1, 0)"""
PREFIX: Final = b"88.100.1"


class Named(msgspec.Struct):
    """What is read of a body: the name that becomes the key."""

    identifier: str


async def serve(dsn: str) -> None:
    """Serve until standard input ends."""
    pool = await asyncpg.create_pool(dsn, min_size=CONNECTIONS, max_size=CONNECTIONS, reset=_leave_as_is)
    decoder = msgspec.json.Decoder(Named)

    async def insert(request: web.Request) -> web.Response:
        octets = await request.read()
        key = decoder.decode(octets).identifier.encode()
        await pool.execute(INSERT, key, PREFIX, octets)
        return web.Response(status=201, body=octets, content_type="application/json")

    application = web.Application()
    application.router.add_post("/", insert)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert runner.addresses
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()
    await pool.close()


async def _leave_as_is(connection: object) -> None:
    """Nothing to reset: one statement is all that a connection is used for."""


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
