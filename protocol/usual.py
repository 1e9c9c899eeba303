"""The usual request, on octets: a resolution that wants nothing else, and the answer to it.

What stands here reads and writes what message.py and bodies.py do, for the one case that is nearly all of the traffic;
anything else is left to them.
"""

import struct
from typing import Final

from protocol.bodies import ResolutionRequest
from protocol.codes import OpCode, OpFlag, ResponseCode
from protocol.errors import HandleError
from protocol.message import (
    ANSWER_LIFE_S,
    DIGEST_OCTETS,
    ENVELOPE_OCTETS,
    HASHES,
    HEADER_OCTETS,
    NO_CREDENTIAL,
    Message,
    decode_message,
    digest_algorithm,
    response_code_for,
)
from protocol.wire import MAX_HANDLE_OCTETS

TEMPLATES_MAX: Final = 256  # versions by flags; real clients send a handful
_BODY: Final = ENVELOPE_OCTETS + HEADER_OCTETS
_NAME: Final = _BODY + 4
_ANY_ENVELOPE_FLAG: Final = 0xE0  # compressed, encrypted, one of several packets
_RESOLUTION: Final = int(OpCode.RESOLUTION)
_NO_FILTER: Final = bytes(8)  # no index, no type
_U32_MAX: Final = 0xFFFF_FFFF
_REQUEST: Final = struct.Struct(">2xB13xIIII2xBx4xII")
"""Envelope flags, octets, operation, response code, flags, recursion count, body, name."""
_ANSWER: Final = struct.Struct(">4s8s4xIII6sBxII")
"""Versions, session and request id, octets, operation, response code, flags and serial, recursion count, expiration,
body."""

Filter = tuple[tuple[int, ...], tuple[str, ...]]
"""The indexes and the types of a query; all values are wanted when both are empty."""
NO_FILTER: Final[Filter] = ((), ())

Flags = tuple[int, int]
"""The flags that are looked at, and those of them that are set in a usual request."""
OF_RECURSION: Final[Flags] = (
    int(OpFlag.AUTH | OpFlag.CERT | OpFlag.ENCR | OpFlag.RECU),
    int(OpFlag.RECU),
)
"""What a recursive node is usually asked."""
OF_AUTHORITY: Final[Flags] = (int(OpFlag.CERT | OpFlag.ENCR), 0)
"""What an authority is usually asked: it answers alike with AUTH and RECU and without."""

UsualRequest = tuple[bytes, int, Filter]
"""The name, the recursion count, the filter."""


def read_usual_request(octets: bytes, usual: Flags = OF_RECURSION) -> UsualRequest | None:
    """What a usual request asks for: its flags are such, it has no credential, and is whole and in one datagram.

    None for anything else, of which nothing is said.
    """
    size = len(octets)
    if size < _NAME:
        return None
    envelope_flags, message_octets, op_code, code, flags, recursion_count, body_octets, name_octets = (
        _REQUEST.unpack_from(octets)
    )
    body_end = _BODY + body_octets
    name_end = _NAME + name_octets
    if (
        envelope_flags & _ANY_ENVELOPE_FLAG
        or message_octets != size - ENVELOPE_OCTETS
        or op_code != _RESOLUTION
        or code
        or flags & usual[0] != usual[1]
        or not 0 < name_octets <= MAX_HANDLE_OCTETS
        or not name_end <= body_end <= size
        or octets[body_end:] not in (NO_CREDENTIAL, b"")
    ):
        return None
    wanted = NO_FILTER
    if octets[name_end:body_end] != _NO_FILTER:
        try:
            query = ResolutionRequest.decode(octets[_BODY:body_end])
        except HandleError:
            return None
        wanted = (query.indexes, query.types)
    return octets[_NAME:name_end], recursion_count, wanted


class _Template:
    """What all answers to requests of one version and one set of flags share; taken from one of Message.answer()."""

    __slots__ = ("digest_head", "flags_and_serial", "hash", "version", "versions")

    def __init__(self, request: Message, *, authoritative: bool, site_serial: int) -> None:
        answer = request.answer(
            ResponseCode.SUCCESS, b"", authoritative=authoritative, site_serial=site_serial, wall_s=0.0
        )
        octets = answer.encode()
        self.version = answer.envelope.version
        self.versions = octets[:4]
        self.flags_and_serial = octets[28:34]
        algorithm = digest_algorithm(self.version)
        self.hash = HASHES[algorithm] if answer.has(OpFlag.RRDG) else None
        self.digest_head = answer.body[: len(answer.body) - DIGEST_OCTETS[algorithm]]


class AnswerTemplates:
    """Answers to usual requests, octet for octet those of Message.answer()."""

    def __init__(self, *, authoritative: bool, site_serial: int) -> None:
        """See Message.answer()."""
        self._authoritative = authoritative
        self._site_serial = site_serial
        self._templates: dict[bytes, _Template] = {}

    def answer(self, request: bytes, code: ResponseCode, body: bytes, wall_s: float) -> bytes:
        """The octets of the response to a request that read_usual_request() takes. wall_s: Unix seconds."""
        key = request[:4] + request[28:32]
        template = self._templates.get(key) or self._add(key, request)
        if template.hash is not None:
            body_end = _BODY + int.from_bytes(request[40:44], "big")
            digest = template.hash(request[ENVELOPE_OCTETS:body_end]).digest()
            body = b"".join((template.digest_head, digest, body))
        body_octets = len(body)
        head = _ANSWER.pack(
            template.versions,
            request[4:12],
            HEADER_OCTETS + body_octets + 4,
            _RESOLUTION,
            code if code is ResponseCode.SUCCESS else response_code_for(code, template.version),
            template.flags_and_serial,
            request[34],
            min(int(wall_s) + ANSWER_LIFE_S, _U32_MAX),
            body_octets,
        )
        return b"".join((head, body, NO_CREDENTIAL))

    def _add(self, key: bytes, request: bytes) -> _Template:
        if len(self._templates) >= TEMPLATES_MAX:
            self._templates.clear()
        template = self._templates[key] = _Template(
            decode_message(request), authoritative=self._authoritative, site_serial=self._site_serial
        )
        return template
