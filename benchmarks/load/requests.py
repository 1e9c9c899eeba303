"""What is asked, and how an answer is judged: one template with a number patched in, for every protocol alike."""

import random
import time
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from protocol.bodies import ResolutionRequest
from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag, ResponseCode
from protocol.handle import Handle
from protocol.message import Message

SEED: Final = 20_261_201
REQUEST_LIFE_S: Final = 43_200
NAME_AT: Final = 48  # of the name in a resolution request and its answer: envelope, header, length
TXT_QUESTION: Final = b"\0\x10\0\1"
ZONE: Final = b"\5bench\7example\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Equally long requests that differ in a number and a request id.

    Places are octets from the start of the request or answer; `echo_back_at` of HTTP counts from the body.
    """

    template: bytes
    numbers: "array[int]" = field(default_factory=lambda: array("I", [0]))
    """Patched in one after the other, over and over."""
    number_at: int = 0
    number_digits: int = 0
    """0: every request is the same."""
    id_at: int = 0
    id_octets: int = 0
    """0: answers come in order."""
    code_at: int
    code_octets: int
    code_mask: int
    code: int
    """What the masked octets of a good answer are."""
    echo_at: int = 0
    echo_octets: int = 0
    echo_back_at: int = 0
    """Where an answer repeats these octets of its request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Names that end in a number of so many digits: PUMP-000000042."""

    start: str
    digits: int
    numbers: "array[int]"

    def name(self, number: int) -> str:
        """One of them."""
        return f"{self.start}{number:0{self.digits}}" if self.digits else self.start


def shuffled(count: int, *, first: int = 0, seed: int = SEED) -> "array[int]":
    """The numbers from first on, each once, in a random order that is the same every time."""
    numbers = array("I", range(first, first + count))
    random.Random(seed).shuffle(numbers)
    return numbers


def parse_names(pattern: str, numbers: Iterable[int]) -> Names:
    """Names by a pattern: "88.100.1/PUMP-####" ends in four digits; one without # is one name."""
    start = pattern.rstrip("#")
    return Names(start=start, digits=len(pattern) - len(start), numbers=array("I", numbers))


def handle_requests(names: Names, *, keep_alive: bool = False, code: int = ResponseCode.SUCCESS) -> Requests:
    """Resolutions over UDP, or, with keep_alive, over TCP. code: 0 is what an echo answers."""
    name = names.name(0)
    template = Message.request(
        OpCode.RESOLUTION,
        ResolutionRequest(handle=Handle.parse(name)).encode(),
        request_id=0,
        expiration=int(time.time()) + REQUEST_LIFE_S,
        flags=DEFAULT_FLAGS | (OpFlag.KPAL if keep_alive else 0),
    ).encode()
    octets = len(name.encode())
    return Requests(
        template=template,
        numbers=names.numbers,
        number_at=NAME_AT + octets - names.digits,
        number_digits=names.digits,
        id_at=8,
        id_octets=4,
        code_at=24,
        code_octets=4,
        code_mask=0xFFFF_FFFF,
        code=code,
        echo_at=NAME_AT - 4,
        echo_octets=octets + 4,
        echo_back_at=NAME_AT - 4,
    )


def dns_requests(numbers: "array[int]", *, digits: int = 9, echo: bool = False) -> Requests:
    """TXT questions for n000000042.bench.example, to be answered with one record."""
    question = bytes([digits + 1]) + b"n" + b"0" * digits + ZONE + TXT_QUESTION
    return Requests(
        template=b"\0\0\1\0\0\1\0\0\0\0\0\0" + question,
        numbers=numbers,
        number_at=14,
        number_digits=digits,
        id_at=0,
        id_octets=2,
        code_at=2,
        code_octets=6,  # flags, and the counts of questions and answers
        code_mask=0x800F_FFFF_FFFF,
        code=0x0000_0001_0000 if echo else 0x8000_0001_0001,
        echo_at=12,
        echo_octets=len(question),
        echo_back_at=12,
    )


def http_requests(
    path: str,
    names: Names,
    *,
    accept: str = "application/json",
    status: int = 200,
    name_at: int | None = None,
) -> Requests:
    """GETs of path + name on connections kept alive. name_at: where the body repeats the name; None: it does not."""
    name = names.name(0)
    target = (path + name).encode()
    octets = len(name.encode())
    head = b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: %b\r\n\r\n" % (target, accept.encode())
    return Requests(
        template=head,
        numbers=names.numbers,
        number_at=4 + len(target) - names.digits,
        number_digits=names.digits,
        code_at=9,
        code_octets=3,
        code_mask=0xFF_FFFF,
        code=int.from_bytes(str(status).encode(), "big"),
        echo_at=4 + len(path.encode()),
        echo_octets=0 if name_at is None else octets,
        echo_back_at=name_at or 0,
    )
