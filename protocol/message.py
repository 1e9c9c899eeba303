"""Envelope, Header and Message: decode and encode, requests, answers to them, and request digests.

A message is an envelope of 20 octets, a header of 24, a body and a credential; envelope.message_octets counts all but
the envelope (PROTOCOL.md §3). A peer may leave out the credential's length word, or send octets behind it: both are
kept, so that encoding gives back what came.
"""

import hashlib
import struct
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Final

from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag, ResponseCode
from protocol.errors import Malformed, TooLarge, Truncated
from protocol.wire import MAX_MESSAGE_OCTETS, Reader

ENVELOPE_OCTETS: Final = 20
HEADER_OCTETS: Final = 24
ANSWER_LIFE_S: Final = 43_200  # 12 hours; clients refuse an answer past its expiration (PROTOCOL.md §3.2)
UNKNOWN_SERIAL: Final = 0xFFFF
UNKNOWN_REQUEST_ID: Final = 0xFFFF_FFFF
NO_CREDENTIAL: Final = bytes(4)

_ENVELOPE: Final = struct.Struct(">BBBBIIII")
_HEADER: Final = struct.Struct(">IIIHBBII")
_COMPRESSED: Final = 0x80
_ENCRYPTED: Final = 0x40
_TRUNCATED: Final = 0x20
_U32_MAX: Final = 0xFFFF_FFFF

Version = tuple[int, int]
OUR_VERSION: Final[Version] = (2, 11)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The part of a packet that says which message it belongs to."""

    version: Version = OUR_VERSION
    """Major and minor of what this message is written in."""
    suggested: Version = OUR_VERSION
    """The highest version that the sender speaks; a major of 0 means "as version"."""
    compressed: bool = False
    encrypted: bool = False
    truncated: bool = False
    session_id: int = 0
    request_id: int = 0
    sequence: int = 0
    """The number of this packet, from 0."""
    message_octets: int = 0
    """Octets that follow the envelope, summed over all packets of the message."""

    def encode(self) -> bytes:
        """The 20 octets."""
        flags = self.suggested[0] & 0x1F
        flags |= _COMPRESSED if self.compressed else 0
        flags |= _ENCRYPTED if self.encrypted else 0
        flags |= _TRUNCATED if self.truncated else 0
        return _ENVELOPE.pack(
            *self.version,
            flags,
            self.suggested[1],
            self.session_id,
            self.request_id,
            self.sequence,
            self.message_octets,
        )


def is_encrypted(octets: bytes) -> bool:
    """Whether octets begin with an envelope behind which only a session can read (PROTOCOL.md §3.10)."""
    return len(octets) >= ENVELOPE_OCTETS and bool(octets[2] & _ENCRYPTED)


def decode_envelope(octets: bytes) -> Envelope:
    """Decode the 20-octet envelope that starts every packet.

    octets: 20 or more; what follows the envelope is left for the caller.
    Raises Truncated for fewer than 20 octets, TooLarge when the message would exceed MAX_MESSAGE_OCTETS, Malformed
    when a web server sent them.
    Source: RFC 3652 §2.2.1, PROTOCOL.md §3.1.
    """
    if len(octets) < ENVELOPE_OCTETS:
        raise Truncated(f"an envelope has {ENVELOPE_OCTETS} octets, not {len(octets)}")
    major, minor, flags, suggested_minor, session_id, request_id, sequence, message_octets = (
        _ENVELOPE.unpack_from(octets)
    )
    if message_octets > MAX_MESSAGE_OCTETS:
        if octets.startswith(b"HTTP/"):
            raise Malformed("it speaks HTTP: this port is not the one for Handle messages")
        raise TooLarge(f"a message of {message_octets} octets, {MAX_MESSAGE_OCTETS} allowed")
    return Envelope(
        version=(major, minor),
        suggested=(flags & 0x1F, suggested_minor),
        compressed=bool(flags & _COMPRESSED),
        encrypted=bool(flags & _ENCRYPTED),
        truncated=bool(flags & _TRUNCATED),
        session_id=session_id,
        request_id=request_id,
        sequence=sequence,
        message_octets=message_octets,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What is asked or answered; the body's length is computed from the body."""

    op_code: int
    response_code: int = 0
    op_flags: int = DEFAULT_FLAGS
    site_serial: int = UNKNOWN_SERIAL
    recursion_count: int = 0
    reserved: int = 0
    expiration: int = 0
    """Unix seconds. Requests carry anything here; a response must lie in the future."""

    def encode(self, body_octets: int) -> bytes:
        """The 24 octets."""
        return _HEADER.pack(
            self.op_code,
            self.response_code,
            self.op_flags,
            self.site_serial,
            self.recursion_count,
            self.reserved,
            self.expiration,
            body_octets,
        )


class DigestAlgorithm(IntEnum):
    """The octet in front of a request digest. Source: PROTOCOL.md §3.8."""

    MD5 = 1
    SHA1 = 2
    SHA256 = 3


DIGEST_OCTETS: Final[dict[int, int]] = {
    DigestAlgorithm.MD5: 16,
    DigestAlgorithm.SHA1: 20,
    DigestAlgorithm.SHA256: 32,
}
HASHES: Final = {
    DigestAlgorithm.MD5: hashlib.md5,
    DigestAlgorithm.SHA1: hashlib.sha1,
    DigestAlgorithm.SHA256: hashlib.sha256,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """A request digest: which algorithm, and its raw octets; old is the length-prefixed MD5 form of version 2.0."""

    algorithm: DigestAlgorithm
    octets: bytes
    old: bool = False

    def encode(self) -> bytes:
        """The octets at the start of a response body."""
        if self.old:
            return struct.pack(">I", len(self.octets)) + self.octets
        return bytes((self.algorithm,)) + self.octets


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A whole request or response; the body is opaque here (bodies.py has its forms)."""

    envelope: Envelope
    header: Header
    body: bytes = b""
    credential: bytes | None = b""
    """The credential's octets without their length word; None when the word itself is left out."""
    surplus: bytes = b""
    """Octets behind the credential that the message's length counts."""
    signed_octets: bytes | None = field(default=None, compare=False, repr=False)
    """Header and body exactly as received: what digests and signatures cover. None for a message of our own."""

    @property
    def header_and_body(self) -> bytes:
        """The octets that a request digest covers."""
        if self.signed_octets is not None:
            return self.signed_octets
        return self.header.encode(len(self.body)) + self.body

    def encode(self) -> bytes:
        """Envelope and message in one piece, with the envelope's length as it must be."""
        credential = (
            b"" if self.credential is None else struct.pack(">I", len(self.credential)) + self.credential
        )
        rest = self.header.encode(len(self.body)) + self.body + credential + self.surplus
        return replace(self.envelope, message_octets=len(rest)).encode() + rest

    @property
    def flags(self) -> OpFlag:
        """The header's flag word."""
        return OpFlag(self.header.op_flags)

    def has(self, flag: OpFlag) -> bool:
        """Whether the header has this flag."""
        return bool(self.header.op_flags & flag)

    @classmethod
    def request(
        cls,
        op_code: OpCode,
        body: bytes,
        *,
        request_id: int,
        expiration: int,
        flags: int = DEFAULT_FLAGS,
        version: Version = OUR_VERSION,
        site_serial: int = UNKNOWN_SERIAL,
        recursion_count: int = 0,
        session_id: int = 0,
    ) -> "Message":
        """A request of ours. request_id: 31 bits, unpredictable; expiration: Unix seconds."""
        return cls(
            envelope=Envelope(version=version, request_id=request_id, session_id=session_id),
            header=Header(
                op_code=op_code,
                op_flags=flags,
                site_serial=site_serial,
                recursion_count=recursion_count,
                expiration=expiration,
            ),
            body=body,
        )

    def answer(
        self,
        response_code: ResponseCode,
        body: bytes,
        *,
        authoritative: bool,
        site_serial: int,
        wall_s: float,
        clear: int = 0,
    ) -> "Message":
        """The response to this request.

        Version: the lower of the request's suggestion and ours. Flags: the request's, AUTH set or cleared as
        authoritative says, CERT, ENCR, CONT and those in clear cleared. RRDG puts the digest in front of the body.
        wall_s: Unix seconds; the response expires 12 hours later. Source: PROTOCOL.md §3.2, §3.4, §3.8, §10.49.
        """
        version = answer_version(self.envelope)
        flags = self.header.op_flags & ~(OpFlag.CERT | OpFlag.ENCR | OpFlag.CONT | OpFlag.AUTH | clear)
        flags |= OpFlag.AUTH if authoritative else 0
        if flags & OpFlag.RRDG:
            body = request_digest(self, version).encode() + body
        return Message(
            envelope=Envelope(
                version=version,
                session_id=self.envelope.session_id,
                request_id=self.envelope.request_id,
            ),
            header=Header(
                op_code=self.header.op_code,
                response_code=response_code_for(response_code, version),
                op_flags=flags,
                site_serial=site_serial,
                recursion_count=self.header.recursion_count,
                expiration=min(int(wall_s) + ANSWER_LIFE_S, _U32_MAX),
            ),
            body=body,
        )


def decode_message(octets: bytes) -> Message:
    """Decode one whole message, envelope included.

    octets: one message. An announced length that is not the real one is tolerated as deployed servers do: octets
    behind it are ignored, fewer are taken when header and body are whole (PROTOCOL.md §12); the envelope returned
    carries the real length. Raises WireError, also for an encrypted message, of which only the envelope is readable.
    """
    envelope = decode_envelope(octets)
    if envelope.encrypted:
        raise Malformed("an encrypted message, and no session that could read it")
    rest = octets[ENVELOPE_OCTETS : ENVELOPE_OCTETS + envelope.message_octets]
    if len(rest) != envelope.message_octets:
        envelope = replace(envelope, message_octets=len(rest))
    if len(rest) < HEADER_OCTETS:
        raise Truncated(f"a header has {HEADER_OCTETS} octets, {len(rest)} came")
    op_code, response_code, op_flags, serial, recursion, reserved, expiration, body_octets = (
        _HEADER.unpack_from(rest)
    )
    body_end = HEADER_OCTETS + body_octets
    if body_end > len(rest):
        raise Truncated(f"a body of {body_octets} octets, {len(rest) - HEADER_OCTETS} came")
    credential, surplus = _split_credential(rest[body_end:])
    return Message(
        envelope=envelope,
        header=Header(
            op_code=op_code,
            response_code=response_code,
            op_flags=op_flags,
            site_serial=serial,
            recursion_count=recursion,
            reserved=reserved,
            expiration=expiration,
        ),
        body=rest[HEADER_OCTETS:body_end],
        credential=credential,
        surplus=surplus,
        signed_octets=rest[:body_end],
    )


def _split_credential(octets: bytes) -> tuple[bytes | None, bytes]:
    if not octets:
        return None, b""
    reader = Reader(octets)
    return reader.counted(), reader.rest()


def answer_version(request: Envelope) -> Version:
    """The version in which to answer: the lower of what the peer speaks and 2.11; 5.x means 2.0.

    A peer that suggests a higher minor than it writes in gets what it suggests. Source: PROTOCOL.md §3.4.
    """
    spoken = request.suggested if request.suggested[0] else request.version
    if request.version[0] >= 5:
        return (2, 0)
    version = min(spoken, OUR_VERSION)
    if version < (2, 0):
        return request.version if request.version >= (1, 0) else (2, 0)
    return version


def response_code_for(response_code: ResponseCode, version: Version) -> int:
    """The number that a peer of this version understands. Source: PROTOCOL.md §3.4, row 2.5, vector V14b."""
    if version < (2, 5):
        if response_code is ResponseCode.SERVER_BACKUP:
            return ResponseCode.PREFIX_REFERRAL
        if response_code is ResponseCode.INVALID_VALUE:
            return ResponseCode.VALUE_ALREADY_EXISTS
    return response_code


def response_code_of(response: Message) -> int:
    """What a response's number means, given the version that it is written in."""
    code = response.header.response_code
    if response.envelope.version < (2, 5) and code == ResponseCode.PREFIX_REFERRAL:
        return ResponseCode.SERVER_BACKUP
    return code


def digest_algorithm(version: Version) -> DigestAlgorithm:
    """The algorithm of request digests at this version. Source: PROTOCOL.md §3.8."""
    if version >= (2, 7):
        return DigestAlgorithm.SHA256
    return DigestAlgorithm.SHA1 if version >= (2, 1) else DigestAlgorithm.MD5


def request_digest(request: Message, version: Version) -> Digest:
    """The digest of a request's header and body, as a response of this version carries it."""
    algorithm = digest_algorithm(version)
    octets = HASHES[algorithm](request.header_and_body, usedforsecurity=True).digest()
    return Digest(algorithm=algorithm, octets=octets, old=version < (2, 1))


def matches_digest(request: Message, digest: Digest) -> bool:
    """Whether a digest that a peer sent is that of our request."""
    return HASHES[digest.algorithm](request.header_and_body).digest() == digest.octets


def split_digest(response: Message) -> tuple[Digest | None, bytes]:
    """The request digest of a response, None without RRDG, and the rest of its body. Raises WireError."""
    if not response.has(OpFlag.RRDG):
        return None, response.body
    reader = Reader(response.body)
    kind = reader.u8()
    if kind == 0:  # the form of version 2.0: a length of four octets, whose first is 0
        length = int.from_bytes(reader.take(3), "big")
        if length != DIGEST_OCTETS[DigestAlgorithm.MD5]:
            raise Malformed(f"an old request digest of {length} octets")
        return Digest(algorithm=DigestAlgorithm.MD5, octets=reader.take(length), old=True), reader.rest()
    if kind not in DIGEST_OCTETS:
        raise Malformed(f"request digest of unknown algorithm {kind}")
    algorithm = DigestAlgorithm(kind)
    return Digest(algorithm=algorithm, octets=reader.take(DIGEST_OCTETS[algorithm])), reader.rest()


def undecodable(
    octets: bytes, message: str, wall_s: float, *, code: ResponseCode = ResponseCode.PROTOCOL_ERROR
) -> Message:
    """The answer to octets that are no message: RC 4 as a rule, with request id and operation where they can be read.

    Deployed servers answer with request id -1, which clients cannot match (PROTOCOL.md §3.9, §12).
    """
    request_id, op_code, session_id = UNKNOWN_REQUEST_ID, 0, 0
    if len(octets) >= ENVELOPE_OCTETS:
        session_id, request_id = struct.unpack_from(">II", octets, 4)
    if len(octets) >= ENVELOPE_OCTETS + 4 and not is_encrypted(octets):
        op_code = int.from_bytes(octets[ENVELOPE_OCTETS : ENVELOPE_OCTETS + 4], "big")
    text_octets = message.encode("utf-8", "replace")
    return Message(
        envelope=Envelope(request_id=request_id, session_id=session_id),
        header=Header(
            op_code=op_code,
            response_code=code,
            op_flags=0,
            expiration=min(int(wall_s) + ANSWER_LIFE_S, _U32_MAX),
        ),
        body=struct.pack(">I", len(text_octets)) + text_octets,
    )
