"""Many requests at once, cold and warm mixed, answered out of order: each answer is that of its own request."""

import asyncio
import random
import time

import pytest

from protocol.bodies import ResolutionRequest, ResolutionResponse
from protocol.codes import DEFAULT_FLAGS, OpFlag, ResponseCode
from protocol.message import ENVELOPE_OCTETS, Message, decode_message, matches_digest, split_digest
from protocol.transport.base import Answer, Peer
from protocol.transport.fast_path import FastPath
from protocol.transport.tcp import listen_tcp
from protocol.transport.udp import listen_udp
from protocol.value import HandleValue, ValueList
from tests.support.transport import WAIT_S, Datagrams, anyone, as_responder, resolution

REQUESTS = 2_000
WARM = 30  # names that are asked for again and again
BURST = 40
FLAGS = [DEFAULT_FLAGS | OpFlag.KPAL, DEFAULT_FLAGS | OpFlag.KPAL | OpFlag.RRDG]


class Late:
    """A responder that answers when it likes, with a value that holds the name and its own count."""

    def __init__(self, seed: int) -> None:
        self._source = random.Random(seed)

    async def __call__(self, octets: bytes, peer: Peer) -> Answer:
        for _ in range(self._source.randrange(8)):
            await asyncio.sleep(0)
        request = decode_message(octets)
        handle = ResolutionRequest.decode(request.body).handle
        values = ValueList.of([HandleValue(index=1, type="DESC", data=b"of " + handle.octets)])
        answer = request.answer(
            ResponseCode.SUCCESS,
            ResolutionResponse(handle=handle, values=values).encode(),
            authoritative=True,
            site_serial=3,
            wall_s=time.time(),
        )
        is_warm = b"warm" in handle.octets
        return Answer(octets=answer.encode(), cache_until_s=time.monotonic() + 600 if is_warm else None)


def asked(seed: int) -> list[Message]:
    """Requests with ids that are all different, in an order by chance."""
    source = random.Random(seed)
    return [
        resolution(
            f"1/warm {source.randrange(WARM)}" if source.random() < 0.7 else f"1/cold {number}",
            request_id=number * 7 + 1,
            flags=source.choice(FLAGS),
        )
        for number in range(REQUESTS)
    ]


def belongs(answer: Message, request: Message) -> None:
    """AssertionError unless id, handle, value and digest are those of this request."""
    name = ResolutionRequest.decode(request.body).handle.octets
    digest, body = split_digest(answer)
    given = ResolutionResponse.decode(body)
    assert answer.envelope.request_id == request.envelope.request_id
    assert given.handle.octets == name
    assert [value.data for value in given.values] == [b"of " + name]
    assert (digest is not None) == request.has(OpFlag.RRDG)
    assert digest is None or matches_digest(decode_message(request.encode()), digest)


@pytest.mark.parametrize("seed", [1, 2])
async def test_over_one_datagram_socket(path: FastPath, seed: int) -> None:
    cache = path.answer_table(octets_max=1_048_576)
    listener = await listen_udp(
        "127.0.0.1", 0, as_responder(Late(seed)), source=anyone(), cache=cache, path=path
    )
    messages = asked(seed)
    with Datagrams(listener.address) as client:
        for start in range(0, REQUESTS, BURST):
            burst = {message.envelope.request_id: message for message in messages[start : start + BURST]}
            client.send(*(message.encode() for message in burst.values()))
            while burst:
                answer = decode_message(await client.receive())
                belongs(answer, burst.pop(answer.envelope.request_id))
    assert len(cache) == WARM * len(FLAGS)
    await listener.close()


@pytest.mark.parametrize("seed", [1, 2])
async def test_over_one_connection(path: FastPath, seed: int) -> None:
    cache = path.answer_table(octets_max=1_048_576)
    listener = await listen_tcp("127.0.0.1", 0, as_responder(Late(seed)), source=anyone(), cache=cache)
    messages, source = asked(seed), random.Random(seed)
    reader, writer = await asyncio.open_connection(*listener.address)

    async def write() -> None:
        stream = b"".join(message.encode() for message in messages)
        while stream:
            end = source.choice([1, 19, 20, 44, 100, 1_448, 6_000])  # two in one segment, one in a hundred
            writer.write(stream[:end])
            await writer.drain()
            stream = stream[end:]

    writing = asyncio.create_task(write())
    async with asyncio.timeout(WAIT_S):
        for message in messages:
            envelope = await reader.readexactly(ENVELOPE_OCTETS)
            rest = await reader.readexactly(int.from_bytes(envelope[16:], "big"))
            belongs(decode_message(envelope + rest), message)
        await writing
    writer.close()
    await listener.close()
