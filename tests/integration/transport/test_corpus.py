"""The corpus against every front end: nothing falls over, nothing is answered to what is no request."""

import asyncio

import pytest

from protocol.message import ENVELOPE_OCTETS
from protocol.transport.base import looks_like_request
from protocol.transport.fast_path import FastPath
from protocol.transport.tcp import listen_tcp
from protocol.transport.udp import listen_udp
from tests.support.corpus import FILE, corpus, made
from tests.support.flood import flood_udp
from tests.support.intakes import Bench, fed, fill
from tests.support.paths import PURE, path_of
from tests.support.transport import WAIT_S, Datagrams, Echo, anyone, resolution


def test_the_corpus_is_what_its_program_makes() -> None:
    assert FILE.read_text(encoding="utf-8") == made()
    assert FILE.stat().st_size < 200_000


async def test_the_corpus_leaves_a_datagram_front_end_well(path: FastPath) -> None:
    await flood_udp(path, list(corpus().values()))


def test_both_intakes_do_the_same_with_the_corpus() -> None:
    seen = []
    for path in (PURE, path_of("compiled")):
        with Bench(path) as bench:
            fill(bench)
            received = fed(bench, list(corpus().values()), ["127.0.0.1"], 40)
            seen.append((received, bench.owner.misses, bench.owner.codes))
    assert seen[0] == seen[1]


async def test_what_is_no_request_hears_nothing(path: FastPath) -> None:
    listener = await listen_udp("127.0.0.1", 0, Echo(), source=anyone(), path=path)
    silent = [octets for octets in corpus().values() if not looks_like_request(octets)]
    assert len(silent) > 40
    with Datagrams(listener.address) as noise, Datagrams(listener.address) as client:
        noise.send(*silent)
        await client.ask(resolution())
        with pytest.raises(BlockingIOError):
            noise.socket.recv(1)
    await listener.close()


async def test_the_corpus_leaves_a_stream_front_end_well(path: FastPath) -> None:
    cache = path.answer_table(octets_max=1_048_576)
    listener = await listen_tcp("127.0.0.1", 0, Echo(cache_s=600), source=anyone(), cache=cache)
    for octets in corpus().values():
        async with asyncio.timeout(WAIT_S):
            reader, writer = await asyncio.open_connection(*listener.address)
            writer.write(octets)
            writer.write_eof()
            try:
                heard = await reader.read()
            except ConnectionResetError:
                heard = b""
            assert not heard or len(heard) >= ENVELOPE_OCTETS
            writer.close()
    async with asyncio.timeout(WAIT_S):
        reader, writer = await asyncio.open_connection(*listener.address)
        writer.write(resolution(request_id=5).encode())
        assert (await reader.readexactly(ENVELOPE_OCTETS))[8:12] == b"\0\0\0\5"
        writer.close()
    await listener.close()
