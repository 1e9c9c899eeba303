"""Rubbish at every door: no crash, no leak, and the next question is answered."""

import asyncio
import random
from collections.abc import Mapping
from typing import Final

from protocol.message import Envelope
from tests.support.asking import resolution, send_packets, send_tcp
from tests.support.vectors import recorded
from tests.support.world import TestNode, TestResolver, World

URL = "https://plant.example/"


def rubbish(seed: int) -> list[bytes]:
    """Return datagrams that no well-behaved peer sends."""
    source = random.Random(seed)
    real = [entry.octets for entry in recorded() if entry.to_server and len(entry.octets) < 512]
    made = [source.randbytes(source.randrange(1, 512)) for _ in range(100)]
    for _ in range(200):
        octets = bytearray(source.choice(real))
        for _ in range(source.randrange(1, 8)):
            octets[source.randrange(len(octets))] = source.randrange(256)
        made.append(bytes(octets))
    for number in range(200):
        head = Envelope(request_id=number, sequence=source.randrange(4), truncated=True, message_octets=1_500)
        made.append(head.encode() + source.randbytes(492))
    return made


async def nodes(world: World) -> list[TestNode | TestResolver]:
    """Start a registry and a recursive node that know one product."""
    _, plant = await world.chain("88")
    await plant.create("88/x", url=URL)
    return [plant, await world.resolver()]


async def test_random_and_damaged_datagrams_leave_both_nodes_well(world: World) -> None:
    for node in await nodes(world):
        before = len(asyncio.all_tasks())
        await send_packets(node.address, rubbish(7), answers=10_000, patience_s=1.0)
        assert (await node.ask("88/x")).url == URL
        await asyncio.sleep(0.5)
        assert len(asyncio.all_tasks()) <= before + 20


RUBBISH: Final[Mapping[str, bytes]] = {
    "nothing": b"",
    "one": b"\x00",
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(60),
    "too large": Envelope(message_octets=262_145).encode() + bytes(100),
    "never sent": Envelope(message_octets=262_144).encode() + bytes(100),
    "no header": Envelope(message_octets=10).encode() + bytes(10),
    "empty": Envelope(message_octets=0).encode(),
    "zeros": bytes(300_000),
}


async def test_rubbish_over_tcp_ends_the_connection(world: World) -> None:
    for node in await nodes(world):
        for name, octets in RUBBISH.items():
            try:
                await send_tcp(node.address, octets, half_close=True, patience_s=10.0)
            except (ConnectionError, BrokenPipeError):
                pass  # closed while we were still sending
            assert (await node.ask("88/x")).url == URL, name


async def test_a_slow_sender_holds_nobody_up(world: World) -> None:
    for node in await nodes(world):
        reader, writer = await asyncio.open_connection(*node.address)
        request = resolution("88/x").encode()
        for octet in range(10):
            writer.write(request[octet : octet + 1])
            await writer.drain()
            assert (await node.ask("88/x")).url == URL
        writer.write(request[10:])
        writer.write_eof()
        assert (await reader.read())[24:28] == b"\x00\x00\x00\x01"
        writer.close()
        await writer.wait_closed()


async def test_names_of_every_kind_have_an_answer(world: World) -> None:
    strange = [
        b"88/\xff\xfe",
        b"88/\x00",
        b"88/" + b"x" * 2_045,
        b"/",
        b"//",
        b"88/\r\nSet-Cookie: a=b",
        b"0.NA/",
        b"0.NA//",
    ]
    for node in await nodes(world):
        for name in strange:
            assert (await node.ask(name)).rc in {100, 102, 301}, name


async def test_forged_indexes_and_types_have_an_answer(world: World) -> None:
    for node in await nodes(world):
        assert (await node.ask("88/x", indexes=range(2_048))).url == URL
        assert (await node.ask("88/x", types=["\udcff", "URL", ""])).url == URL
