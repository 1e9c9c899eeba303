"""Floods a front end with datagrams and says whether it is well afterwards."""

import asyncio
import gc
import resource
from collections.abc import Sequence

from protocol.transport.base import looks_like_request
from protocol.transport.fast_path import FastPath
from protocol.transport.udp import UdpListener, listen_udp
from tests.support.transport import Datagrams, Echo, Watcher, anyone, resolution

AT_ONCE = 20
CACHE_OCTETS = 1_048_576
GROWTH_KB_MAX = 64 * 1_024  # of the process: far above what a flood needs, far below what a leak would take


async def flood_udp(path: FastPath, datagrams: Sequence[bytes]) -> None:
    """Sends all to a front end of this path, twice. AssertionError when it is not well afterwards."""
    echo, watcher = Echo(cache_s=600), Watcher()
    cache = path.answer_table(octets_max=CACHE_OCTETS)
    listener = await listen_udp(
        "127.0.0.1", 0, echo, source=anyone(), cache=cache, observer=watcher, path=path
    )
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        for _ in range(2):
            await _send(listener, datagrams)
        assert cache.octets <= CACHE_OCTETS
        assert len(listener._reassembler) <= 1_024
        assert len(listener._misses) <= 4_096
    finally:
        await listener.close()
    gc.collect()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < GROWTH_KB_MAX


async def _send(listener: UdpListener, datagrams: Sequence[bytes]) -> None:
    with Datagrams(listener.address) as noise, Datagrams(listener.address) as client:
        asked = 0
        for number, octets in enumerate(datagrams):
            noise.send(octets)
            asked += looks_like_request(octets)
            if number % AT_ONCE == AT_ONCE - 1 or len(octets) > 2_000:
                answer = await client.ask(resolution(request_id=number))
                assert answer.envelope.request_id == number
        for number in range(5):  # what was sent before is answered before the last of these
            answer = await client.ask(resolution(f"1/{number}", request_id=number))
            assert answer.envelope.request_id == number
        heard = []
        while True:
            try:
                heard.append(noise.socket.recv(65_535))
            except BlockingIOError:
                break
            await asyncio.sleep(0)
        assert all(octets[24:28] != bytes(4) for octets in heard), "a request was sent back"
        assert len(heard) <= asked * 3, "more answers than requests, and few answers have three packets"
