"""Packets: splitting and joining, within bounds of memory and time."""

import random
from itertools import permutations

import pytest

from protocol.errors import Malformed, Truncated, WireError
from protocol.message import Envelope, decode_envelope
from protocol.packets import (
    PACKET_OCTETS,
    REASSEMBLY_WAIT_S,
    SLICE_OCTETS,
    Reassembler,
    split,
)


def message(octets: int, request_id: int = 1) -> bytes:
    """Return a message of so many octets behind its envelope."""
    body = bytes(position * 7 & 0xFF for position in range(octets))
    return Envelope(request_id=request_id, message_octets=octets).encode() + body


def as_joined(whole: bytes) -> bytes:
    """Return a message as packets make it: the truncated flag is that of its packets."""
    return whole if len(whole) <= PACKET_OCTETS else whole[:2] + bytes((whole[2] | 0x20,)) + whole[3:]


def test_v33_a_message_of_1080_octets_makes_three_packets() -> None:
    whole = message(1080)
    packets = split(whole)
    assert [packet[:20].hex() for packet in packets] == [
        "020b220b00000000000000010000000000000438",
        "020b220b00000000000000010000000100000438",
        "020b220b00000000000000010000000200000438",
    ]
    assert [packet[20:] for packet in packets] == [whole[20:512], whole[512:1004], whole[1004:]]


def test_a_message_that_fits_one_packet_is_sent_as_it_is() -> None:
    assert split(message(SLICE_OCTETS)) == [message(SLICE_OCTETS)]
    assert len(split(message(SLICE_OCTETS + 1))) == 2


@pytest.mark.parametrize("octets", [0, 1, 491, 492, 493, 983, 984, 985, 5_000, 262_144])
def test_no_packet_is_larger_than_deployed_clients_receive(octets: int) -> None:
    packets = split(message(octets))
    assert max(map(len, packets)) <= PACKET_OCTETS
    assert len(packets) == max(1, -(-octets // SLICE_OCTETS))


def test_what_has_no_envelope_is_not_split() -> None:
    assert split(b"short") == [b"short"]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_packets_join_in_any_order(order: tuple[int, ...]) -> None:
    whole = message(1080)
    packets = split(whole)
    reassembler: Reassembler[str] = Reassembler()
    joined = [reassembler.add("peer", packets[number], 0.0) for number in order]
    assert joined == [None, None, as_joined(whole)]
    assert len(reassembler) == 0


def test_duplicates_change_nothing() -> None:
    packets = split(message(1080))
    reassembler: Reassembler[str] = Reassembler()
    for packet in (packets[0], packets[0], packets[1], packets[0], packets[1]):
        assert reassembler.add("peer", packet, 0.0) is None
    assert reassembler.add("peer", packets[2], 0.0) == as_joined(message(1080))
    assert reassembler.add("peer", packets[2], 0.0) is None  # begins a message that never ends


def test_the_first_packet_of_a_number_counts_when_two_overlap() -> None:
    whole = message(1080)
    packets = split(whole)
    forged = packets[1][:20] + bytes(SLICE_OCTETS)
    reassembler: Reassembler[str] = Reassembler()
    for packet in (packets[0], packets[1], forged):
        reassembler.add("peer", packet, 0.0)
    assert reassembler.add("peer", packets[2], 0.0) == as_joined(whole)


def test_deployed_servers_leave_the_truncated_flag_out() -> None:
    whole = message(1080)
    packets = [packet[:2] + b"\x02" + packet[3:] for packet in split(whole)]
    reassembler: Reassembler[str] = Reassembler()
    assert [reassembler.add("peer", packet, 0.0) for packet in packets] == [None, None, whole]


def test_messages_of_different_peers_sessions_and_ids_do_not_mix() -> None:
    one, two = split(message(600, 1)), split(message(600, 2))
    reassembler: Reassembler[str] = Reassembler()
    assert reassembler.add("a", one[0], 0.0) is None
    assert reassembler.add("b", one[1], 0.0) is None
    assert reassembler.add("a", two[1], 0.0) is None
    assert len(reassembler) == 3
    assert reassembler.add("a", one[1], 0.0) == as_joined(message(600, 1))


def test_a_packet_of_another_length_begins_anew() -> None:
    reassembler: Reassembler[str] = Reassembler()
    reassembler.add("peer", split(message(600))[0], 0.0)
    reassembler.add("peer", split(message(1080))[1], 0.0)
    assert len(reassembler) == 1
    assert reassembler.dropped == 1


def test_a_small_message_passes_whatever_its_sequence_number() -> None:
    packet = bytearray(message(40))
    packet[15] = 7
    assert Reassembler[str]().add("peer", bytes(packet), 0.0) == bytes(packet)


@pytest.mark.parametrize(
    ("sequence", "octets"), [(0, 491), (0, 1), (1, 492), (1, 107), (1, 109), (2, 1), (2**32 - 1, 492), (1, 0)]
)
def test_a_packet_that_cannot_belong_to_its_message_is_refused(sequence: int, octets: int) -> None:
    envelope = Envelope(request_id=1, sequence=sequence, truncated=True, message_octets=600)
    reassembler: Reassembler[str] = Reassembler()
    with pytest.raises(Malformed):
        reassembler.add("peer", envelope.encode() + bytes(octets), 0.0)
    assert len(reassembler) == 0


def test_a_packet_without_an_envelope_is_refused() -> None:
    with pytest.raises(Truncated):
        Reassembler[str]().add("peer", bytes(19), 0.0)


def test_half_messages_are_forgotten_after_a_while() -> None:
    reassembler: Reassembler[str] = Reassembler()
    reassembler.add("peer", split(message(600, 1))[0], 100.0)
    reassembler.add("peer", split(message(600, 2))[0], 100.0 + REASSEMBLY_WAIT_S)
    assert len(reassembler) == 2
    reassembler.add("peer", split(message(600, 3))[0], 100.1 + REASSEMBLY_WAIT_S)
    assert len(reassembler) == 2
    assert reassembler.dropped == 1


def test_half_messages_are_bounded_in_number_and_the_oldest_goes_first() -> None:
    reassembler: Reassembler[str] = Reassembler(entries_max=2)
    for request_id in (1, 2, 3):
        reassembler.add("peer", split(message(600, request_id))[0], 0.0)
    assert len(reassembler) == 2
    assert reassembler.add("peer", split(message(600, 3))[1], 0.0) is not None
    assert reassembler.add("peer", split(message(600, 1))[1], 0.0) is None


def test_half_messages_are_bounded_in_octets_and_the_count_is_kept() -> None:
    reassembler: Reassembler[str] = Reassembler(octets_max=10 * SLICE_OCTETS)
    for request_id in range(50):
        for packet in split(message(262_144, request_id))[:7]:
            reassembler.add("peer", packet, 0.0)
    assert len(reassembler) == 1
    for request_id in range(100, 200):
        for packet in split(message(600, request_id)):
            reassembler.add("peer", packet, 0.0)
    assert len(reassembler) <= 1


def test_one_message_of_the_largest_size_fits() -> None:
    whole = message(262_144)
    packets = split(whole)
    random.Random(1).shuffle(packets)
    reassembler: Reassembler[int] = Reassembler()
    assert [reassembler.add(1, packet, 0.0) for packet in packets][-1] == as_joined(whole)


def test_random_octets_never_raise_anything_else() -> None:
    source = random.Random(7)
    reassembler: Reassembler[int] = Reassembler(entries_max=8)
    for _ in range(3_000):
        octets = source.randbytes(source.randrange(600))
        head = Envelope(
            request_id=source.randrange(3),
            sequence=source.randrange(4),
            message_octets=source.choice([0, 492, 493, 984, 1000]),
        )
        try:
            joined = reassembler.add(source.randrange(2), head.encode() + octets, 0.0)
        except WireError:
            continue
        assert joined is None or decode_envelope(joined).message_octets <= 262_144
    assert len(reassembler) <= 8
