"""Packets: however they travel, a message arrives whole or not at all."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import WireError
from protocol.message import Envelope
from protocol.packets import PACKET_OCTETS, Reassembler, split
from tests.support import strategies as some


def message(octets: bytes, request_id: int) -> bytes:
    return Envelope(request_id=request_id, message_octets=len(octets)).encode() + octets


payloads = st.integers(0, 4_000).flatmap(
    lambda size: st.binary(min_size=8, max_size=8).map(lambda unit: (unit * (size // 8 + 1))[:size])
)


@given(payloads, st.randoms(use_true_random=False), st.integers(0, 5))
def test_reordered_and_duplicated_packets_make_the_message_once(
    payload: bytes, order: Random, copies: int
) -> None:
    whole = message(payload, 1)
    packets = split(whole)
    travelled = packets + [order.choice(packets) for _ in range(copies)]
    order.shuffle(travelled)
    reassembler: Reassembler[int] = Reassembler()
    seen: set[bytes] = set()
    for packet in travelled:
        joined = reassembler.add(1, packet, 0.0)
        seen.add(packet)
        if joined is not None:
            assert joined[20:] == payload
            assert seen == set(packets)
            return
    raise AssertionError("the message never came together")


@given(payloads.filter(lambda payload: len(payload) > 492), st.data())
def test_a_message_with_a_lost_packet_never_comes_together(payload: bytes, data: st.DataObject) -> None:
    packets = split(message(payload, 1))
    lost = data.draw(st.integers(0, len(packets) - 1))
    reassembler: Reassembler[int] = Reassembler()
    for number, packet in enumerate(packets):
        if number != lost:
            assert reassembler.add(1, packet, 0.0) is None


@given(
    st.lists(st.tuples(payloads, st.integers(0, 2), some.u32), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
)
def test_messages_of_many_peers_at_once_do_not_mix(
    parts: list[tuple[bytes, int, int]], order: Random
) -> None:
    wanted = {(peer, request_id): payload for payload, peer, request_id in parts}
    travelled = [
        (peer, packet)
        for (peer, request_id), payload in wanted.items()
        for packet in split(message(payload, request_id))
    ]
    order.shuffle(travelled)
    reassembler: Reassembler[int] = Reassembler()
    arrived = {}
    for peer, packet in travelled:
        joined = reassembler.add(peer, packet, 0.0)
        if joined is not None:
            arrived[peer, int.from_bytes(joined[8:12], "big")] = joined[20:]
    assert arrived == wanted
    assert len(reassembler) == 0


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.integers(0, 2),
            st.integers(0, 5) | some.u32,
            st.sampled_from([0, 40, 492, 493, 984, 1_000, 262_144, 262_145]),
            st.integers(0, 600),
            st.floats(0, 20),
        ),
        max_size=40,
    )
)
def test_no_sequence_of_packets_breaks_the_bounds(
    packets: list[tuple[int, int, int, int, int, float]],
) -> None:
    reassembler: Reassembler[int] = Reassembler(entries_max=3, octets_max=2_000)
    now_s = 0.0
    for peer, request_id, sequence, announced, size, pause_s in packets:
        now_s += pause_s
        head = Envelope(request_id=request_id, sequence=sequence, message_octets=announced).encode()
        try:
            joined = reassembler.add(peer, head + bytes(size), now_s)
        except WireError:
            continue
        finally:
            assert len(reassembler) <= 3
        assert joined is None or len(joined) >= 20


@given(payloads)
def test_packets_are_small_and_complete(payload: bytes) -> None:
    packets = split(message(payload, 1))
    assert all(len(packet) <= PACKET_OCTETS for packet in packets)
    assert b"".join(packet[20:] for packet in packets) == payload
