"""Bodies of every operation but resolution: administration, challenges, verification, sessions, replication.

Octets to objects and back; a request digest in front of a response's body is taken off with message.split_digest.
Operations that answer success with no body have no class for it. Source: PROTOCOL.md §4.5-4.14.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from protocol.bodies import BLANK_HANDLE
from protocol.errors import Malformed, SessionFailed
from protocol.handle import Handle
from protocol.message import DIGEST_OCTETS, Version
from protocol.value import ValueList, ValueReference
from protocol.wire import MAX_HANDLE_OCTETS, MAX_MESSAGE_OCTETS, MAX_VALUES, Reader, Writer, encode_text, text

MAX_NAMES: Final = MAX_MESSAGE_OCTETS // 4  # names of one list: the largest message holds no more
MAX_NONCE_OCTETS: Final = 1_024  # deployed nonces have 16
MAX_DIGEST_OCTETS: Final = 64  # of the longest hash that anybody uses
MAX_ANSWER_OCTETS: Final = 4_096  # a signature by a key of 16384 bits, and names
MAX_KIND_OCTETS: Final = 64  # HS_PUBKEY and HS_SECKEY have nine
MAX_KEY_BLOB_OCTETS: Final = 8_192  # three numbers of 16384 bits, and their lengths
STATES_SINCE: Final = (2, 9)  # requests for transactions say which kind of position follows


class SessionMode(IntEnum):
    """How the key of a session comes about. Source: PROTOCOL.md §4.13; only DIFFIE_HELLMAN works anywhere."""

    CLIENT_KEY = 1
    SERVER_KEY = 2
    HANDLE_KEY = 3
    DIFFIE_HELLMAN = 4


class DumpPart(IntEnum):
    """The four parts of a dump from which it can be resumed. Source: PROTOCOL.md §9.4."""

    HANDLE_DATES = 0
    PREFIX_DATES = 1
    HANDLES = 2
    PREFIXES = 3


_MODES: Final = frozenset(SessionMode)
_WITH_KEY: Final = frozenset({SessionMode.CLIENT_KEY, SessionMode.DIFFIE_HELLMAN})
_STRAY: Final = bytes(2)  # deployed encoders count the session mode as four octets and write two
_ANONYMOUS: Final = ValueReference(b"", 0xFFFF_FFFF)


def _handle(reader: Reader) -> Handle:
    return Handle.parse(reader.counted(MAX_HANDLE_OCTETS))


def _reference(reader: Reader) -> ValueReference:
    return ValueReference(reader.counted(MAX_HANDLE_OCTETS), reader.u32())


def _stray(reader: Reader) -> bytes:
    rest = reader.rest()
    if rest not in (_STRAY, b""):
        raise Malformed(f"{len(rest)} surplus octets behind a session body")
    return rest


@dataclass(frozen=True, slots=True, kw_only=True)
class HandleRequest:
    """One name: delete, list handles and derived prefixes, home and unhome; "/" where an operation needs none."""

    handle: Handle = BLANK_HANDLE

    def encode(self) -> bytes:
        """The body's octets. Source: PROTOCOL.md §4.6, §4.11-4.14, vectors V16 and V22."""
        return Writer().counted(self.handle.octets).octets()

    @classmethod
    def decode(cls, octets: bytes) -> "HandleRequest":
        """The body that octets hold. Raises WireError, or InvalidHandle for an empty name."""
        reader = Reader(octets)
        handle = _handle(reader)
        reader.expect_end()
        return cls(handle=handle)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValuesRequest:
    """A handle and values for it: create, add values, modify values."""

    handle: Handle
    values: ValueList

    def encode(self) -> bytes:
        """The body's octets. Source: PROTOCOL.md §4.5, §4.7, vectors V15 and V21."""
        return Writer().counted(self.handle.octets).raw(self.values.encode()).octets()

    @classmethod
    def decode(cls, octets: bytes) -> "ValuesRequest":
        """The body that octets hold. Raises WireError or InvalidHandle; what the values say is not looked at."""
        reader = Reader(octets)
        handle, values = _handle(reader), ValueList.decode(reader)
        reader.expect_end()
        return cls(handle=handle, values=values)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveValuesRequest:
    """A handle and the indexes of the values that it is to lose."""

    handle: Handle
    indexes: tuple[int, ...]

    def encode(self) -> bytes:
        """The body's octets. Source: PROTOCOL.md §4.8, vector V21a."""
        writer = Writer().counted(self.handle.octets).u32(len(self.indexes))
        for index in self.indexes:
            writer.u32(index)
        return writer.octets()

    @classmethod
    def decode(cls, octets: bytes) -> "RemoveValuesRequest":
        """The body that octets hold. Raises WireError or InvalidHandle."""
        reader = Reader(octets)
        handle = _handle(reader)
        indexes = tuple(reader.u32() for _ in range(reader.count(MAX_VALUES, 4)))
        reader.expect_end()
        return cls(handle=handle, indexes=indexes)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateResponse:
    """The handle that was created, which a minting server chose."""

    handle: Handle | None
    """None where old servers say nothing."""

    def encode(self) -> bytes:
        """The body's octets. Source: PROTOCOL.md §4.5, vector V15b."""
        return Writer().counted(self.handle.octets).octets() if self.handle else b""

    @classmethod
    def decode(cls, octets: bytes) -> "CreateResponse":
        """The body that octets hold. Raises WireError or InvalidHandle."""
        return cls(handle=HandleRequest.decode(octets).handle if octets else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandleListResponse:
    """Names: those of one message of a list; CONT in its header says that another message follows."""

    names: tuple[bytes, ...]

    def encode(self) -> bytes:
        """The body's octets. Source: PROTOCOL.md §4.11, §4.12, vector V22b."""
        writer = Writer().u32(len(self.names))
        for name in self.names:
            writer.counted(name)
        return writer.octets()

    @classmethod
    def decode(cls, octets: bytes) -> "HandleListResponse":
        """The body that octets hold. Raises WireError."""
        reader = Reader(octets)
        count = reader.count(MAX_NAMES, 4)
        names = tuple(reader.counted(MAX_HANDLE_OCTETS) for _ in range(count))
        reader.expect_end()
        return cls(names=names)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengeResponse:
    """What is to be signed, together with the digest of the request that stands in front of this body."""

    nonce: bytes
    old_digest: bytes = b""
    """To peers of version 2.0, the digest of the request: it stands behind the nonce and not in front."""

    def encode(self) -> bytes:
        """The body's octets. Source: PROTOCOL.md §4.9, §3.4, vector V17."""
        writer = Writer().counted(self.nonce)
        return (writer.counted(self.old_digest) if self.old_digest else writer).octets()

    @classmethod
    def decode(cls, octets: bytes) -> "ChallengeResponse":
        """The body that octets hold. Raises WireError."""
        reader = Reader(octets)
        nonce = reader.counted(MAX_NONCE_OCTETS)
        old_digest = reader.counted(MAX_DIGEST_OCTETS) if reader.remaining else b""
        reader.expect_end()
        return cls(nonce=nonce, old_digest=old_digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengeAnswerRequest:
    """Proof that the sender holds the key that a reference names; the envelope's session id says which challenge."""

    kind: str
    """HS_PUBKEY or HS_SECKEY, the type of the value that holds the key."""
    key: ValueReference
    """The identity; index 0 stands for any key of the handle."""
    answer: bytes = field(repr=False)
    """challenge.py has its forms."""

    def encode(self) -> bytes:
        """The body's octets. Source: PROTOCOL.md §4.9, vector V19."""
        writer = Writer().counted(encode_text(self.kind))
        return writer.counted(self.key.handle).u32(self.key.index).counted(self.answer).octets()

    @classmethod
    def decode(cls, octets: bytes) -> "ChallengeAnswerRequest":
        """The body that octets hold. Raises WireError."""
        reader = Reader(octets)
        kind, key = text(reader.counted(MAX_KIND_OCTETS)), _reference(reader)
        answer = reader.counted(MAX_ANSWER_OCTETS)
        reader.expect_end()
        return cls(kind=kind, key=key, answer=answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest:
    """Asks the server that holds a secret key whether an answer to somebody's challenge is right."""

    key: ValueReference
    nonce: bytes
    digest: bytes
    answer: bytes = field(repr=False)
    digest_algorithm: int = 0
    """0 for the deployed form, a counted string; otherwise the octet in front of a raw digest."""

    def encode(self) -> bytes:
        """The body's octets. Source: PROTOCOL.md §4.10, vector V25a."""
        writer = Writer().counted(self.key.handle).u32(self.key.index).counted(self.nonce)
        if self.digest_algorithm:
            writer.u8(self.digest_algorithm).raw(self.digest)
        else:
            writer.counted(self.digest)
        return writer.counted(self.answer).octets()

    @classmethod
    def decode(cls, octets: bytes) -> "VerifyRequest":
        """The body that octets hold. Raises WireError."""
        reader = Reader(octets)
        key, nonce = _reference(reader), reader.counted(MAX_NONCE_OCTETS)
        algorithm = octets[reader.position] if reader.remaining else 0
        digest = _raw_digest(reader) if algorithm else reader.counted(MAX_DIGEST_OCTETS)
        answer = reader.counted(MAX_ANSWER_OCTETS)
        reader.expect_end()
        return cls(key=key, nonce=nonce, digest=digest, answer=answer, digest_algorithm=algorithm)


def _raw_digest(reader: Reader) -> bytes:
    algorithm = reader.u8()
    if algorithm not in DIGEST_OCTETS:
        raise Malformed(f"request digest of unknown algorithm {algorithm}")
    return reader.take(DIGEST_OCTETS[algorithm])


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyResponse:
    """Whether the answer is right."""

    valid: bool

    def encode(self) -> bytes:
        """The body's octets. Source: PROTOCOL.md §4.10, vector V25b."""
        return bytes((self.valid,))

    @classmethod
    def decode(cls, octets: bytes) -> "VerifyResponse":
        """The body that octets hold. Raises WireError for anything but one octet, 0 or 1."""
        if octets not in (b"\0", b"\1"):
            raise Malformed("not one octet, 0 or 1")
        return cls(valid=octets == b"\1")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSetupRequest:
    """Asks for a session: how to agree on its key, how long it should live unused, for whom."""

    mode: int
    timeout_s: int
    identity: ValueReference = _ANONYMOUS
    key: bytes = b""
    """The blob of a public key, for the modes CLIENT_KEY and DIFFIE_HELLMAN."""
    exchange: ValueReference | None = None
    """Where the client's key is, for the mode HANDLE_KEY."""
    stray: bytes = _STRAY
    """Two zero octets that deployed encoders leave behind; some peers do not."""

    def encode(self) -> bytes:
        """The body's octets. Source: PROTOCOL.md §4.13, vector V26a."""
        writer = Writer().u16(self.mode).u32(self.timeout_s)
        writer.counted(self.identity.handle).u32(self.identity.index)
        if self.mode in _WITH_KEY:
            writer.counted(self.key)
        if self.exchange is not None:
            writer.counted(self.exchange.handle).u32(self.exchange.index)
        return writer.raw(self.stray).octets()

    @classmethod
    def decode(cls, octets: bytes) -> "SessionSetupRequest":
        """The body that octets hold. Raises WireError, and SessionFailed for an unknown mode."""
        reader = Reader(octets)
        mode, timeout_s, identity = reader.u16(), reader.u32(), _reference(reader)
        if mode not in _MODES:
            raise SessionFailed(f"unknown mode of key exchange {mode}")
        return cls(
            mode=mode,
            timeout_s=timeout_s,
            identity=identity,
            key=reader.counted(MAX_KEY_BLOB_OCTETS) if mode in _WITH_KEY else b"",
            exchange=_reference(reader) if mode == SessionMode.HANDLE_KEY else None,
            stray=_stray(reader),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSetupResponse:
    """The server's half of the key exchange; the session's id stands in the envelope."""

    mode: int
    data: bytes
    """session.py has its form for the mode DIFFIE_HELLMAN."""
    stray: bytes = _STRAY

    def encode(self) -> bytes:
        """The body's octets. Source: PROTOCOL.md §4.13, vector V26b."""
        return Writer().u16(self.mode).counted(self.data).raw(self.stray).octets()

    @classmethod
    def decode(cls, octets: bytes) -> "SessionSetupResponse":
        """The body that octets hold. Raises WireError."""
        reader = Reader(octets)
        return cls(mode=reader.u16(), data=reader.counted(MAX_KEY_BLOB_OCTETS), stray=_stray(reader))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginRequest:
    """The identity that the IDIS SDK will prove for its whole connection."""

    identity: ValueReference

    def encode(self) -> bytes:
        """The body's octets. Source: DOMAIN.md §3.5."""
        return Writer().counted(self.identity.handle).u32(self.identity.index).octets()

    @classmethod
    def decode(cls, octets: bytes) -> "LoginRequest":
        """The body that octets hold. Raises WireError."""
        reader = Reader(octets)
        identity = _reference(reader)
        reader.expect_end()
        return cls(identity=identity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """Which share of the handles a mirror's server wants: those that fall to it by the site's hash."""

    hash_option: int
    servers: int
    server: int
    """From 0."""


def _write_receiver(writer: Writer, receiver: Receiver) -> Writer:
    return writer.u8(receiver.hash_option).u32(receiver.servers).u32(receiver.server)


def _receiver(reader: Reader) -> Receiver:
    return Receiver(hash_option=reader.u8(), servers=reader.u32(), server=reader.u32())


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrieveTransactionsRequest:
    """Asks for what changed since a position: two numbers, or a state for each source."""

    receiver: Receiver
    last_transaction: int = 0
    last_query_ms: int = 0
    """Unix milliseconds."""
    states: str | None = None
    """JSON text, the receiver's position in the queue of each source; the two numbers are not sent with it."""

    def encode(self, version: Version) -> bytes:
        """The body's octets in a message of this version. Source: PROTOCOL.md §4.14, vector V29a.

        states needs a version of 2.9 or later.
        """
        writer = Writer()
        if self.states is not None:
            assert version >= STATES_SINCE, "an older peer knows no states"
            writer.u8(1).counted(encode_text(self.states))
        else:
            writer.raw(b"\0" if version >= STATES_SINCE else b"")
            writer.u64(self.last_transaction).u64(self.last_query_ms)
        return _write_receiver(writer, self.receiver).octets()

    @classmethod
    def decode(cls, octets: bytes, version: Version) -> "RetrieveTransactionsRequest":
        """The body that octets hold in a message of this version. Raises WireError."""
        reader = Reader(octets)
        kind = reader.u8() if version >= STATES_SINCE else 0
        if kind > 1:
            raise Malformed(f"unknown kind of position {kind}")
        states = text(reader.counted()) if kind else None
        last_transaction, last_query_ms = (0, 0) if kind else (reader.u64(), reader.u64())
        receiver = _receiver(reader)
        reader.expect_end()
        return cls(
            receiver=receiver,
            last_transaction=last_transaction,
            last_query_ms=last_query_ms,
            states=states,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrieveTransactionsResponse:
    """What precedes a stream of transactions."""

    keep_alive: bool = False

    def encode(self) -> bytes:
        """The body's octets. Source: PROTOCOL.md §4.14."""
        return bytes((self.keep_alive,))

    @classmethod
    def decode(cls, octets: bytes) -> "RetrieveTransactionsResponse":
        """The body that octets hold; seven more bits are ignored. Raises WireError."""
        reader = Reader(octets)
        flags = reader.u8()
        reader.expect_end()
        return cls(keep_alive=bool(flags & 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpRequest:
    """Asks for everything that a mirror's server should hold, or for the rest of it."""

    receiver: Receiver
    resume_after: tuple[bytes, int] | None = None
    """The last name that arrived and its DumpPart, from which to go on; None for the beginning."""

    def encode(self) -> bytes:
        """The body's octets. Source: PROTOCOL.md §4.14, vector V29b."""
        writer = _write_receiver(Writer(), self.receiver)
        if self.resume_after is not None:
            writer.counted(self.resume_after[0]).u32(self.resume_after[1])
        return writer.octets()

    @classmethod
    def decode(cls, octets: bytes) -> "DumpRequest":
        """The body that octets hold. Raises WireError."""
        reader = Reader(octets)
        receiver = _receiver(reader)
        resume_after = (reader.counted(MAX_HANDLE_OCTETS), reader.u32()) if reader.remaining else None
        reader.expect_end()
        return cls(receiver=receiver, resume_after=resume_after)
