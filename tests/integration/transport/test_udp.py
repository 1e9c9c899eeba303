"""The UDP front end with real sockets."""

import asyncio
import random

import pytest

from protocol.codes import OpFlag, ResponseCode
from protocol.generations import Generations
from protocol.message import ENVELOPE_OCTETS, Message, decode_message
from protocol.packets import PACKET_OCTETS, Reassembler, split
from protocol.transport.answer_cache import OCTETS_MAX
from protocol.transport.base import Peer, Reply
from protocol.transport.fast_path import FastPath
from protocol.transport.source import SourceCheck
from protocol.transport.udp import listen_udp
from tests.support.transport import Datagrams, Echo, Watcher, answer_to, anyone, resolution


async def whole(client: Datagrams) -> Message:
    """The next message, however many datagrams it takes."""
    joined = None
    reassembler: Reassembler[str] = Reassembler()
    while joined is None:
        packet = await client.receive()
        assert len(packet) <= PACKET_OCTETS
        joined = reassembler.add("server", packet, 0)
    return decode_message(joined)


async def test_a_request_is_answered_to_where_it_came_from(loopback: str, path: FastPath) -> None:
    echo, watcher = Echo(), Watcher()
    listener = await listen_udp(loopback, 0, echo, source=anyone(), observer=watcher, path=path)
    with Datagrams(listener.address) as client:
        answer = await client.ask(resolution(request_id=42))

    assert answer.envelope.request_id == 42
    assert answer.header.response_code == ResponseCode.SUCCESS
    assert echo.asked[0][1].host == loopback
    assert watcher.answers == [("udp", "miss")]
    await listener.close()


async def test_a_cached_answer_needs_no_responder_and_carries_the_new_request_id(path: FastPath) -> None:
    echo, watcher, generations = Echo(cache_s=60), Watcher(), Generations()
    echo.stamp = generations.stamp(b"20.500.1/PUMP-7", b"20.500.1")
    cache = path.answer_table(octets_max=OCTETS_MAX, generations=generations)
    listener = await listen_udp(
        "127.0.0.1", 0, echo, source=anyone(), cache=cache, observer=watcher, path=path
    )
    with Datagrams(listener.address) as client:
        first = await client.ask(resolution(request_id=1))
        await watcher.until(lambda: len(watcher.answers) == 1)
        second = await client.ask(resolution(request_id=2))
        generations.bump([b"20.500.1/PUMP-7"])
        await client.ask(resolution(request_id=3))

    assert (first.envelope.request_id, second.envelope.request_id) == (1, 2)
    assert second.body == first.body
    assert len(echo.asked) == 2
    await listener.close()


async def test_long_requests_and_answers_travel_in_packets_of_512_octets(
    loopback: str, path: FastPath
) -> None:
    echo = Echo(data_octets=3_000)
    listener = await listen_udp(loopback, 0, echo, source=anyone(), path=path)
    request = resolution("20.500.1/" + "n" * 1_200)
    packets = split(request.encode())
    assert len(packets) == 3
    with Datagrams(listener.address) as client:
        client.send(packets[2], packets[0], packets[0], packets[1])  # reordered, one twice
        answer = await whole(client)

    assert answer.header.response_code == ResponseCode.SUCCESS
    assert len(answer.body) > 3_000
    await listener.close()


async def test_a_retransmission_of_a_request_in_progress_is_worked_on_once(path: FastPath) -> None:
    echo = Echo(gate=asyncio.Event())
    listener = await listen_udp("127.0.0.1", 0, echo, source=anyone(), path=path)
    assert echo.gate is not None
    request = resolution().encode()
    with Datagrams(listener.address) as client:
        client.send(request, request, request)
        client.send(resolution(request_id=8).encode())
        while len(echo.asked) < 2:
            echo.entered.clear()
            await echo.entered.wait()
        echo.gate.set()
        ids = {decode_message(await client.receive()).envelope.request_id for _ in range(2)}

    assert ids == {7, 8}
    assert len(echo.asked) == 2
    await listener.close()


async def test_more_misses_at_once_than_allowed_are_told_that_the_server_is_busy(path: FastPath) -> None:
    echo, watcher = Echo(gate=asyncio.Event()), Watcher()
    listener = await listen_udp(
        "127.0.0.1", 0, echo, source=anyone(), observer=watcher, misses_max=2, path=path
    )
    assert echo.gate is not None
    with Datagrams(listener.address) as client:
        client.send(*(resolution(request_id=number).encode() for number in (1, 2, 3)))
        shed = decode_message(await client.receive())
        echo.gate.set()
        served = {decode_message(await client.receive()).envelope.request_id for _ in range(2)}

    assert (shed.envelope.request_id, shed.header.response_code) == (3, ResponseCode.SERVER_TOO_BUSY)
    assert served == {1, 2}
    assert watcher.limits == ["concurrent_misses"]
    await listener.close()


async def test_over_its_rate_a_network_is_told_so_only_now_and_then(path: FastPath) -> None:
    watcher = Watcher()
    source = SourceCheck(rate_per_s=0.001, burst=1)
    listener = await listen_udp("127.0.0.1", 0, Echo(), source=source, observer=watcher, path=path)
    with Datagrams(listener.address) as client:
        await client.ask(resolution())
        client.send(*(resolution(request_id=number).encode() for number in range(1, 9)))
        told = [decode_message(await client.receive()) for _ in range(2)]

    assert [answer.header.response_code for answer in told] == [ResponseCode.ERROR] * 2
    assert watcher.limits == ["source_rate"] * 8
    await listener.close()


async def test_a_small_request_cannot_make_us_send_many_packets_again_and_again(path: FastPath) -> None:
    echo, watcher = Echo(data_octets=20_000), Watcher()
    source = SourceCheck(rate_per_s=10, burst=10)
    listener = await listen_udp("127.0.0.1", 0, echo, source=source, observer=watcher, path=path)
    with Datagrams(listener.address) as client:
        client.send(*(resolution(request_id=number).encode() for number in range(1, 6)))
        first = await whole(client)
        await watcher.until(lambda: len(watcher.limits) == 4)
        with pytest.raises(BlockingIOError):
            client.socket.recv(1)

    assert first.header.response_code == ResponseCode.SUCCESS
    assert watcher.limits == ["source_rate"] * 4
    await listener.close()


async def test_a_refused_network_hears_nothing(path: FastPath) -> None:
    watcher = Watcher()
    source = SourceCheck(deny=["127.0.0.1/32"])
    listener = await listen_udp("127.0.0.1", 0, Echo(), source=source, observer=watcher, path=path)
    with Datagrams(listener.address) as refused, Datagrams(listener.address, source="127.0.0.2") as admitted:
        refused.send(resolution().encode())
        await admitted.ask(resolution())
        with pytest.raises(BlockingIOError):
            refused.socket.recv(1)

    assert watcher.limits == ["source_refused"]
    await listener.close()


async def test_responses_and_fragments_of_a_header_are_never_answered(path: FastPath) -> None:
    watcher = Watcher()
    listener = await listen_udp("127.0.0.1", 0, Echo(), source=anyone(), observer=watcher, path=path)
    with Datagrams(listener.address) as client:
        client.send(answer_to(resolution().encode()), b"", b"x", bytes(19), bytes(43))
        await client.ask(resolution())
        with pytest.raises(BlockingIOError):
            client.socket.recv(1)

    assert len(watcher.undecodables) == 5
    await listener.close()


async def test_lengths_that_lie_get_an_error_that_echoes_the_request_id(path: FastPath) -> None:
    listener = await listen_udp("127.0.0.1", 0, Echo(), source=anyone(), path=path)
    octets = resolution(request_id=77).encode()
    with Datagrams(listener.address) as client:
        client.send(octets[:16] + (2**31).to_bytes(4, "big") + octets[ENVELOPE_OCTETS:])
        too_large = decode_message(await client.receive())
        client.send(octets[:40] + (2**31).to_bytes(4, "big") + octets[44:])
        body_too_long = decode_message(await client.receive())

    for answer in (too_large, body_too_long):
        assert answer.envelope.request_id == 77
        assert answer.header.response_code == ResponseCode.PROTOCOL_ERROR
    await listener.close()


async def test_random_datagrams_and_floods_of_fragments_leave_the_server_answering(path: FastPath) -> None:
    source = random.Random(20261120)
    echo = Echo()
    listener = await listen_udp("127.0.0.1", 0, echo, source=anyone(), path=path)
    first_packet = split(resolution("20.500.1/" + "n" * 1_200).encode())[0]
    with Datagrams(listener.address) as noise, Datagrams(listener.address) as client:
        for number in range(2_000):
            junk = source.randbytes(source.randrange(600))
            fragment = first_packet[:8] + number.to_bytes(4, "big") + first_packet[12:]
            try:
                noise.send(junk, fragment)
            except BlockingIOError:
                await asyncio.sleep(0)
        answer = await client.ask(resolution(request_id=5))

    assert answer.envelope.request_id == 5
    assert len(listener._reassembler) <= 1_024
    await listener.close()


async def test_a_bug_in_the_responder_is_answered_without_detail(path: FastPath) -> None:
    def broken(octets: bytes, peer: Peer, reply: Reply) -> None:
        raise RuntimeError("password is hunter2")

    listener = await listen_udp("127.0.0.1", 0, broken, source=anyone(), path=path)
    with Datagrams(listener.address) as client:
        answer = await client.ask(resolution(flags=OpFlag.RECU))

    assert answer.header.response_code == ResponseCode.ERROR
    assert b"hunter2" not in answer.body
    await listener.close()


async def test_closing_finishes_what_is_in_flight_and_takes_nothing_new(path: FastPath) -> None:
    echo = Echo(gate=asyncio.Event())
    listener = await listen_udp("127.0.0.1", 0, echo, source=anyone(), path=path)
    assert echo.gate is not None
    with Datagrams(listener.address) as client:
        client.send(resolution(request_id=1).encode())
        await echo.entered.wait()
        closing = asyncio.create_task(listener.close())
        await asyncio.sleep(0)
        client.send(resolution(request_id=2).encode())
        echo.gate.set()
        answer = decode_message(await client.receive())
        await closing

    assert answer.envelope.request_id == 1
    assert len(echo.asked) == 1


async def test_closing_gives_up_what_does_not_end(path: FastPath) -> None:
    echo = Echo(gate=asyncio.Event())
    listener = await listen_udp("127.0.0.1", 0, echo, source=anyone(), path=path)
    with Datagrams(listener.address) as client:
        client.send(resolution().encode())
        await echo.entered.wait()
        await listener.close(drain_s=0.01)


async def test_datagrams_that_find_a_full_buffer_are_counted_by_the_kernel(path: FastPath) -> None:
    listener = await listen_udp("127.0.0.1", 0, Echo(), source=anyone(), path=path)
    junk = bytes(60_000)
    with Datagrams(listener.address) as client:
        for _ in range(2_000):  # 120 MB, while the loop does not turn
            client.socket.send(junk)

    assert listener.drops > 0
    await listener.close()
