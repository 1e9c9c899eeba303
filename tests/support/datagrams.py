"""Octets as the internet sends them: recorded requests, generated ones, both damaged, and noise."""

import random
import struct
from functools import cache

from hypothesis import strategies as st

from protocol.codes import DEFAULT_FLAGS, OpFlag, ResponseCode
from protocol.errors import HandleError
from protocol.message import Envelope, Header, Message, decode_message
from tests.support.vectors import recorded

VERSIONS = [(2, 0), (2, 1), (2, 4), (2, 6), (2, 7), (2, 10), (2, 11), (3, 0), (5, 0), (1, 0), (0, 0)]
FLAGS = [
    DEFAULT_FLAGS,
    DEFAULT_FLAGS | OpFlag.RRDG,
    DEFAULT_FLAGS | OpFlag.AUTH,
    DEFAULT_FLAGS | OpFlag.CERT,
    DEFAULT_FLAGS | OpFlag.ENCR,
    OpFlag.RRDG | OpFlag.RECU | OpFlag.KPAL,
    0,
    0xFFFF_FFFF,
]
LENGTHS = [
    0,
    1,
    3,
    4,
    23,
    24,
    25,
    43,
    44,
    45,
    491,
    492,
    493,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFD4,
    0xFFFF_FFFF,
]
"""Lengths that lie: around every boundary, and where 32 bits overflow when 20, 24 or 44 is added."""
GIANT_OCTETS = 65_507  # the longest datagram of IPv4

u32 = st.integers(0, 0xFFFF_FFFF)


@cache
def recorded_requests() -> tuple[bytes, ...]:
    """Everything that a client sent in a recording, once."""
    return tuple(dict.fromkeys(entry.octets for entry in recorded() if entry.to_server))


@cache
def recorded_responses() -> tuple[bytes, ...]:
    """Everything that a server sent in a recording, once."""
    return tuple(dict.fromkeys(entry.octets for entry in recorded() if not entry.to_server))


def outside_the_key(octets: bytes, request_id: int, sequence: int, serial: int, recursion: int) -> bytes:
    """The same question in other words: what the cache's key leaves out, changed."""
    if len(octets) < 44:
        return octets
    head = octets[:8] + struct.pack(">II", request_id, sequence) + octets[16:32]
    return head + struct.pack(">HBBI", serial, recursion, serial & 0xFF, request_id ^ 0xFFFF) + octets[40:]


def with_number(octets: bytes, at: int, number: int) -> bytes:
    """Octets with another 32-bit number in them."""
    return octets[:at] + number.to_bytes(4, "big") + octets[at + 4 :]


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Requests, most of them such as may be kept, some of them damaged."""
    message = Message(
        envelope=Envelope(
            version=draw(st.sampled_from(VERSIONS)),
            suggested=draw(st.sampled_from(VERSIONS)),
            compressed=draw(st.sampled_from([False] * 9 + [True])),
            truncated=draw(st.sampled_from([False] * 9 + [True])),
            session_id=draw(st.sampled_from([0] * 9 + [1])),
            request_id=draw(u32),
            sequence=draw(st.sampled_from([0, 0, 7])),
        ),
        header=Header(
            op_code=draw(st.sampled_from([1, 1, 2, 99])),
            response_code=draw(st.sampled_from([0] * 9 + [1])),
            op_flags=draw(st.sampled_from(FLAGS)),
            site_serial=draw(st.integers(0, 0xFFFF)),
            recursion_count=draw(st.integers(0, 0xFF)),
            expiration=draw(u32),
        ),
        body=draw(st.sampled_from([b"", b"question", b"x" * 7, b"y" * 600]) | st.binary(max_size=20)),
        credential=draw(st.sampled_from([b""] * 6 + [None, b"signed"])),
        surplus=draw(st.sampled_from([b""] * 9 + [b"more"])),
    )
    octets = message.encode()
    match draw(st.sampled_from(["whole"] * 6 + ["cut", "longer", "envelope", "body"])):
        case "cut":
            return octets[: draw(st.integers(0, len(octets)))]
        case "longer":
            return octets + draw(st.binary(min_size=1, max_size=9))
        case "envelope":
            return with_number(octets, 16, draw(st.sampled_from(LENGTHS)))
        case "body":
            return with_number(octets, 40, draw(st.sampled_from(LENGTHS)))
        case _:
            return octets


def answer_for(request: bytes, body: bytes = b"answer") -> bytes:
    """A response that a node might give to a request, or octets that are none when that is none."""
    try:
        message = decode_message(request)
    except HandleError:
        return request
    return message.answer(
        ResponseCode.SUCCESS, body, authoritative=True, site_serial=3, wall_s=1_700_000_000.0
    ).encode()


def mutated(source: random.Random, octets: bytes) -> bytes:
    """Octets with one to four faults, such as a fuzzer makes."""
    changed = bytearray(octets)
    for _ in range(source.randrange(1, 5)):
        at = source.randrange(len(changed) + 1)
        match source.randrange(7):
            case 0 if at < len(changed):
                changed[at] = source.choice([0, 1, 0x7F, 0x80, 0xFF, source.randrange(256)])
            case 1 if at < len(changed):
                changed[at] ^= 1 << source.randrange(8)
            case 2:
                del changed[at:]
            case 3:
                changed[at:at] = source.randbytes(source.randrange(1, 9))
            case 4 if len(changed) >= 44:
                field = source.choice([0, 4, 16, 20, 24, 28, 40])
                changed[field : field + 4] = source.choice(LENGTHS).to_bytes(4, "big")
            case 5:
                del changed[at : at + source.randrange(1, 9)]
            case _:
                changed[at:at] = changed[: source.randrange(60)]
    return bytes(changed[:GIANT_OCTETS])


def traffic(seed: int, count: int) -> list[bytes]:
    """Datagrams of every kind in a random order: whole requests, the same with other ids, damaged ones and noise."""
    source = random.Random(seed)
    real = recorded_requests() + recorded_responses()[::4]
    made: list[bytes] = []
    for _ in range(count):
        octets = source.choice(real)[:GIANT_OCTETS]
        match source.randrange(10):
            case 0 | 1 | 2:
                octets = mutated(source, octets)
            case 3 | 4 | 5:
                octets = outside_the_key(
                    octets,
                    source.getrandbits(32),
                    source.getrandbits(32),
                    source.getrandbits(16),
                    source.getrandbits(8),
                )
            case 6:
                octets = source.randbytes(source.choice([0, 1, 19, 20, 43, 44, 45, 512, 1_472]))
            case _:
                pass
        made.append(octets)
    giant = real[0][:44] + bytes(GIANT_OCTETS - 44)
    made[count // 2 : count // 2] = [
        b"",
        giant,
        with_number(giant, 16, GIANT_OCTETS - 20),
        bytes(GIANT_OCTETS),
    ]
    return made
