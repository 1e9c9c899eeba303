"""The corpus: datagrams that no server may fall over, in one file, and how that file is made."""

import json
import random
from functools import cache
from typing import Final

from protocol.codes import DEFAULT_FLAGS
from protocol.message import Envelope, Header, Message
from protocol.packets import split
from tests.support.datagrams import FLAGS, LENGTHS, VERSIONS, mutated, recorded_requests, with_number
from tests.support.vectors import VECTORS

FILE: Final = VECTORS / "datagrams.json"
SEED: Final = 20261129
DAMAGED: Final = 160
OCTETS_MAX: Final = 400  # of what is damaged: the file stays small


@cache
def corpus() -> dict[str, bytes]:
    """Datagrams by name."""
    held: dict[str, str] = json.loads(FILE.read_text(encoding="utf-8"))
    return {name: bytes.fromhex(octets) for name, octets in held.items()}


def made() -> str:
    """The file's content. It is the same each time."""
    return (
        json.dumps({name: octets.hex() for name, octets in {**_made(), **_damaged()}.items()}, indent=0)
        + "\n"
    )


def request(*, flags: int = DEFAULT_FLAGS, version: tuple[int, int] = (2, 11), body: bytes = b"") -> bytes:
    """A whole resolution request."""
    return Message(
        envelope=Envelope(version=version, suggested=version, request_id=77),
        header=Header(op_code=1, op_flags=flags),
        body=body or b"\0\0\0\x0f20.500.1/pump-7" + bytes(8),
    ).encode()


def _made() -> dict[str, bytes]:
    """One fault at a time, at every boundary."""
    plain = request()
    made = {f"cut to {end}": plain[:end] for end in range(len(plain))}
    for field, at in (("message", 16), ("body", 40), ("name", 44), ("indexes", 63), ("types", 67)):
        made |= {f"{field} length {number:#x}": with_number(plain, at, number) for number in LENGTHS}
    for field, at in (("session", 4), ("sequence", 12), ("operation", 20), ("response code", 24)):
        made |= {f"{field} {number}": with_number(plain, at, number) for number in (1, 99, 0xFFFF_FFFF)}
    for flags in FLAGS:
        made |= {
            f"flags {flags:#x} version {version}": request(flags=flags, version=version)
            for version in VERSIONS
        }
    made |= {
        f"envelope flags {bits:#x}": plain[:2] + bytes([bits]) + plain[3:]
        for bits in range(0x20, 0x100, 0x20)
    }
    made |= {f"{octets} octets behind": plain + b"\1" * octets for octets in (1, 3, 4, 5, 400)}
    for number, packet in enumerate(split(request(body=b"\0\0\4\0" + b"x" * 1_024 + bytes(8)))):
        made[f"packet {number} of 3"] = packet
        made[f"packet {number} of 3, cut"] = packet[:-1]
        made[f"packet {number} of 3, elsewhere"] = with_number(packet, 12, 0xFFFF_FFFF)
    return made


def _damaged() -> dict[str, bytes]:
    """Recorded requests with faults by chance."""
    source = random.Random(SEED)
    real = [octets for octets in recorded_requests() if len(octets) <= OCTETS_MAX]
    return {f"damaged {number}": mutated(source, source.choice(real)) for number in range(DAMAGED)}
