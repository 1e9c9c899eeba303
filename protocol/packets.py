"""Packets: split a message into datagrams, join datagrams into a message, within bounds of memory and time.

Every packet repeats the envelope with its own sequence number and carries 492 octets of the message, the last one the
rest; packet n starts at octet 492 n (PROTOCOL.md §3.9, §12).
"""

import struct
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from protocol.errors import Malformed, Truncated
from protocol.message import ENVELOPE_OCTETS, decode_envelope

PACKET_OCTETS: Final = 512  # what deployed clients receive into
SLICE_OCTETS: Final = PACKET_OCTETS - ENVELOPE_OCTETS
REASSEMBLY_WAIT_S: Final = 5.0  # as deployed servers wait for the missing packets
REASSEMBLY_ENTRIES_MAX: Final = 1_024  # half messages kept at once; the oldest goes first
REASSEMBLY_OCTETS_MAX: Final = 16 * 1_048_576  # octets of half messages kept at once
_TRUNCATED: Final = 0x20

PeerKey = TypeVar("PeerKey")


def split(message: bytes) -> list[bytes]:
    """The packets of a message, envelope included; each at most 512 octets.

    When there are several, each has the truncated flag, which deployed servers need (§10, 2). Raises Truncated when
    the octets are no message.
    """
    if len(message) <= PACKET_OCTETS:
        return [message]
    if len(message) < ENVELOPE_OCTETS:
        raise Truncated("no envelope")
    head = message[:2] + bytes((message[2] | _TRUNCATED,)) + message[3:12]
    tail = message[16:ENVELOPE_OCTETS]
    starts = range(ENVELOPE_OCTETS, len(message), SLICE_OCTETS)
    return [
        head + struct.pack(">I", sequence) + tail + message[start : start + SLICE_OCTETS]
        for sequence, start in enumerate(starts)
    ]


@dataclass(slots=True)
class _Partial:
    message_octets: int
    first_s: float
    packets: dict[int, bytes] = field(default_factory=dict)


class Reassembler(Generic[PeerKey]):
    """Joins packets of messages from many peers; knows each half message by peer, session and request id.

    Bounded in entries, octets and time; add() never raises anything but WireError.
    """

    def __init__(
        self,
        *,
        entries_max: int = REASSEMBLY_ENTRIES_MAX,
        octets_max: int = REASSEMBLY_OCTETS_MAX,
        wait_s: float = REASSEMBLY_WAIT_S,
    ) -> None:
        self._entries_max = entries_max
        self._octets_max = octets_max
        self._wait_s = wait_s
        self._partials: OrderedDict[tuple[PeerKey, int, int], _Partial] = OrderedDict()
        self._octets = 0
        self.dropped = 0
        """Half messages given up: too many, too large together, or too old."""

    def __len__(self) -> int:
        return len(self._partials)

    def add(self, peer: PeerKey, packet: bytes, now_s: float) -> bytes | None:
        """Takes one datagram; gives the whole message, envelope with sequence 0 included, once nothing is missing.

        A message that fits one packet is given back at once, whatever its sequence number says; how many packets
        there are follows from the announced length, never from the truncated flag (§10, 1). Duplicates are ignored.
        Raises WireError for a packet that cannot belong to any message.
        """
        envelope = decode_envelope(packet)
        payload = packet[ENVELOPE_OCTETS:]
        if envelope.message_octets <= SLICE_OCTETS or len(payload) >= envelope.message_octets:
            return packet
        if not envelope.truncated and envelope.sequence == 0 and len(payload) > SLICE_OCTETS:
            raise Malformed(f"a datagram of {len(packet)} octets, {PACKET_OCTETS} allowed")
        _check_slice(envelope.sequence, len(payload), envelope.message_octets)
        self._expire(now_s)
        key = (peer, envelope.session_id, envelope.request_id)
        partial = self._partials.get(key)
        if partial is None or partial.message_octets != envelope.message_octets:
            self._drop(key)
            partial = self._partials[key] = _Partial(envelope.message_octets, now_s)
        if envelope.sequence not in partial.packets:
            partial.packets[envelope.sequence] = payload
            self._octets += len(payload)
        if len(partial.packets) * SLICE_OCTETS >= partial.message_octets:
            return self._complete(key, packet)
        self._bound()
        return None

    def _complete(self, key: tuple[PeerKey, int, int], packet: bytes) -> bytes:
        partial = self._partials.pop(key)
        self._octets -= sum(map(len, partial.packets.values()))
        slices = [partial.packets[sequence] for sequence in sorted(partial.packets)]
        return packet[:12] + bytes(4) + packet[16:ENVELOPE_OCTETS] + b"".join(slices)

    def _drop(self, key: tuple[PeerKey, int, int]) -> None:
        partial = self._partials.pop(key, None)
        if partial is not None:
            self._octets -= sum(map(len, partial.packets.values()))
            self.dropped += 1

    def _expire(self, now_s: float) -> None:
        while self._partials:
            key, partial = next(iter(self._partials.items()))
            if now_s - partial.first_s <= self._wait_s:
                return
            self._drop(key)

    def _bound(self) -> None:
        while len(self._partials) > self._entries_max or self._octets > self._octets_max:
            self._drop(next(iter(self._partials)))


def _check_slice(sequence: int, octets: int, message_octets: int) -> None:
    """Raises Malformed unless a packet of this number may carry so many octets."""
    start = sequence * SLICE_OCTETS
    expected = min(SLICE_OCTETS, message_octets - start)
    if expected <= 0 or octets != expected:
        raise Malformed(
            f"packet {sequence} of a message of {message_octets} octets carries {octets}, not {max(expected, 0)}"
        )
