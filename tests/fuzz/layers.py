"""Layers: what is fuzzed, one function for each, and the octets that it begins with.

A function takes any octets and returns. What may be refused is refused with a HandleError; everything else that is
raised is a fault, and so is what is said twice in two ways: what was decoded must decode the same once it is encoded.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self

from protocol import admin_bodies, bodies, credential, session
from protocol.challenge import Challenge, SecretCode, check_key_answer, check_secret_answer
from protocol.codes import ResponseCode
from protocol.errors import HandleError
from protocol.handle import Handle
from protocol.jsonform import record_to_json, site_from_json, values_from_json
from protocol.message import Message, decode_message, matches_digest, split_digest, undecodable
from protocol.packets import Reassembler
from protocol.private_key import decode_private_key
from protocol.replication import DumpedHandle, decode_dump, decode_transactions
from protocol.site import Site
from protocol.transport.http_head import HeaderBlocks, may_become_head
from protocol.transport.http_target import parse_target
from protocol.usual import read_usual_request
from protocol.value import HandleValue, ValueList
from protocol.valuetypes import PublicKey, decode_typed
from protocol.wire import Reader, Writer
from registry.bulk.rows import Row
from registry.dump_import.rows import row_of, source_of
from registry.rest.authentication import parse_authorization
from tests.fuzz import streams
from tests.support.keys import toy_key
from tests.support.paths import PURE
from tests.support.vectors import keys, recorded, recordings

WALL_S: Final = 1_800_000_000.0
ITERATIONS_MAX: Final = 16
"""Of PBKDF2, so that what is searched is the decoder and not the hash."""
CACHE: Final = PURE.answer_table(octets_max=1_000_000)
PASSPHRASE: Final = b"passphrase"


class Body(Protocol):
    """What all bodies can do."""

    def encode(self) -> bytes:
        """The octets."""

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """Raises WireError."""


BODIES: Final[tuple[type[Body], ...]] = (
    bodies.ResolutionRequest,
    bodies.ResolutionResponse,
    bodies.SiteInfoRequest,
    bodies.SiteInfoResponse,
    bodies.ErrorBody,
    bodies.ReferralBody,
    admin_bodies.HandleRequest,
    admin_bodies.ValuesRequest,
    admin_bodies.RemoveValuesRequest,
    admin_bodies.CreateResponse,
    admin_bodies.HandleListResponse,
    admin_bodies.ChallengeResponse,
    admin_bodies.ChallengeAnswerRequest,
    admin_bodies.VerifyRequest,
    admin_bodies.VerifyResponse,
    admin_bodies.SessionSetupRequest,
    admin_bodies.SessionSetupResponse,
    admin_bodies.LoginRequest,
    admin_bodies.RetrieveTransactionsResponse,
    admin_bodies.DumpRequest,
)
VERSIONS: Final = ((2, 0), (2, 7), (2, 9), (2, 11))
TYPES: Final = (
    "HS_ADMIN",
    "HS_VLIST",
    "HS_SITE",
    "HS_SITE.PREFIX",
    "HS_SERV",
    "HS_ALIAS",
    "HS_PUBKEY",
    "HS_SECKEY",
    "HS_NAMESPACE",
    "10320/loc",
    "URL",
    "DESC",
)


@dataclass(frozen=True, slots=True)
class Layer:
    """One target of the fuzzer."""

    play: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]


def play_message(octets: bytes) -> None:
    """Envelope and header, datagrams, digests, the answer cache and the answer to what is no message."""
    undecodable(octets, "no message", WALL_S).encode()
    CACHE.get(octets, 0.0, WALL_S)
    read_usual_request(octets)
    with suppress(HandleError):
        reassembler: Reassembler[int] = Reassembler()
        for start in range(0, min(len(octets), 4_096), 512):
            reassembler.add(1, octets[start : start + 512], 0.0)
    with suppress(HandleError):
        message = decode_message(octets)
        assert decode_message(message.encode()) == message
        answer = message.answer(ResponseCode.SUCCESS, b"", authoritative=True, site_serial=1, wall_s=WALL_S)
        decode_message(answer.encode())
        digest, _ = split_digest(message)
        if digest is not None:
            matches_digest(message, digest)


def play_body(octets: bytes) -> None:
    """The body of every operation; the first octet says which."""
    if not octets:
        return
    number, rest = octets[0], octets[1:]
    with suppress(HandleError):
        if number < len(BODIES):
            body = BODIES[number].decode(rest)
            assert BODIES[number].decode(body.encode()) == body
        else:
            version = VERSIONS[number % len(VERSIONS)]
            request = admin_bodies.RetrieveTransactionsRequest.decode(rest, version)
            again = admin_bodies.RetrieveTransactionsRequest.decode(request.encode(version), version)
            assert again == request


def play_value(octets: bytes) -> None:
    """Values, lists of them, their types, their JSON form, and what is made of that again."""
    if not octets:
        return
    number, rest = octets[0], octets[1:]
    with suppress(HandleError):
        values = ValueList.decode(Reader(rest))
        assert len(list(values.slices())) == values.count
        values.select((1, 100), ("URL", "HS_"))
        values.sorted().smallest_ttl_s(WALL_S)
        record_to_json(1, handle=Handle.parse("1/2"), values=values)
    with suppress(HandleError):
        value = HandleValue.decode(rest)
        assert HandleValue.decode(value.encode()) == value
    kind = TYPES[number % len(TYPES)]
    _play_data(kind, rest)


def _play_data(kind: str, data: bytes) -> None:
    value = HandleValue(index=1, type=kind, data=data)
    form = record_to_json(1, handle=Handle.parse("1/2"), values=ValueList.of([value]))
    json.dumps(form)
    with suppress(HandleError):
        typed = decode_typed(kind, data)
        if typed is not None:
            again = decode_typed(kind, typed.encode())
            assert again == typed
    with suppress(HandleError):
        site = Site.decode(data)
        if site.servers:
            site.responsible_server(Handle.parse("1/2"))


def play_credential(octets: bytes) -> None:
    """Credentials, signatures, MACs, answers to challenges, sessions, encrypted messages and key files."""
    if not octets:
        return
    number, rest = octets[0], octets[1:]
    key = PublicKey.of_rsa(toy_key().public_key())
    challenge = Challenge(b"n" * 16, hashlib.sha256(b"request").digest())
    with suppress(HandleError):
        held = credential.Credential.decode(rest)
        assert credential.Credential.decode(held.encode()) == held
    with suppress(HandleError):
        check_secret_answer(
            challenge, rest, b"secret", accepted=frozenset(SecretCode), iterations_max=ITERATIONS_MAX
        )
    with suppress(HandleError):
        check_key_answer(challenge, rest, key)
    with suppress(HandleError):
        message = decode_message(rest)
        for check in (_verify, _verify_mac):
            with suppress(HandleError):
                check(message, key)
    with suppress(HandleError):
        session.decrypt_checked(rest, bytes(range(32)))
    with suppress(HandleError):
        PublicKey.decode(rest)
    if number % 4 == 0:
        with suppress(HandleError):
            decode_private_key(rest, PASSPHRASE)
    if number % 16 == 1:
        with suppress(HandleError):
            request = admin_bodies.SessionSetupRequest.decode(rest)
            session.accept_session(request, (2, 11), bytes(64))


def _verify(message: Message, key: PublicKey) -> None:
    credential.verify(message, key)


def _verify_mac(message: Message, key: PublicKey) -> None:
    credential.verify_mac(message, key.encode()[:32])


def play_http(octets: bytes) -> None:
    """Targets, header blocks, credentials and JSON as HTTP brings them; the first octet says which."""
    if not octets:
        return
    number, rest = octets[0], octets[1:]
    text = rest.decode("utf-8", "surrogateescape")
    with suppress(HandleError):
        match number % 5:
            case 0:
                target = parse_target(text)
                target.indexes()
                target.types()
                target.flag("auth")
                Handle.parse(target.path)
            case 1:
                parse_authorization(text)
            case 2:
                blocks = HeaderBlocks(None)
                may_become_head(rest)
                blocks.learn(rest)
            case 3:
                _play_json(rest)
            case _:
                parse_authorization("Basic " + text)


def _play_json(octets: bytes) -> None:
    try:
        form: Any = json.loads(octets)
    except (ValueError, RecursionError):  # what the standard library refuses is refused before it comes to us
        return
    for read in (values_from_json, site_from_json):
        with suppress(HandleError):
            read(form)


def _messages() -> Iterator[bytes]:
    return (entry.octets for entry in recorded() if len(entry.octets) <= 4_096)


def _bodies() -> Iterator[bytes]:
    for entry in recorded():
        with suppress(HandleError):
            body = decode_message(entry.octets).body
            for number in range(len(BODIES)):
                with suppress(HandleError):
                    BODIES[number].decode(body)
                    yield bytes((number,)) + body


def _values() -> Iterator[bytes]:
    for entry in recorded():
        with suppress(HandleError):
            body = bodies.ResolutionResponse.decode(split_digest(decode_message(entry.octets))[1])
            for value in body.values:
                number = TYPES.index(value.type) if value.type in TYPES else 0
                yield bytes((number,)) + value.data
                yield bytes((number,)) + value.encode()


def _credentials() -> Iterator[bytes]:
    for entry in recorded():
        with suppress(HandleError):
            message = decode_message(entry.octets)
            if message.credential:
                yield b"\2" + message.credential
                yield b"\2" + entry.octets
            if message.header.op_code == 200:
                yield b"\2" + admin_bodies.ChallengeAnswerRequest.decode(message.body).answer
            if message.header.op_code == 400:
                yield b"\1" + message.body


def _http() -> Iterator[bytes]:
    yield b"\0/api/handles/20.500/abc?index=1&type=URL&auth=true&overwrite=false"
    yield b"\1Basic MzAxJTNBMjAuNTAwLjk5OS9BRE1JTjpzZWNyZXQ="
    yield b"\2GET / HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n"
    yield b'\3{"values":[{"index":1,"type":"URL","data":{"format":"string","value":"a"},"ttl":1}]}'
    yield b"\4MzAxJTNBMjAuNTAwLjk5OS9BRE1JTjpzZWNyZXQ="
    for recording in recordings().values():
        for entry in recording.get("messages", ()):
            if "http" in str(entry.get("transport", "")):
                yield b"\2" + bytes.fromhex(entry["hex"])[:2_048]


def play_replication(octets: bytes) -> None:
    """A dump, or transactions, in pieces; the first octet says which, how long the pieces are, and who signs them."""
    number, rest = octets[0] if octets else 0, octets[1:]
    key = PublicKey.decode(bytes.fromhex(keys()["server_rsa_public_key_hex"])) if number & 2 else None
    decode = decode_transactions if number & 1 else decode_dump
    told = []
    for step in (1 + (number >> 2), len(rest) + 1):
        decoder = decode(key)
        records: list[object] = []
        with suppress(HandleError):
            for start in range(0, len(rest), step):
                records += decoder.feed(rest[start : start + step])
        told.append((len(records), decoder.ended))
        for record in records:
            if isinstance(record, DumpedHandle) and isinstance(row := row_of(record, 1), Row):
                source_of(row.creation)
    assert told[0][1] == told[1][1], told


def _replication() -> Iterator[bytes]:
    dump = Writer().u32(2).u8(0).u64(1).u64(4).u8(1).counted(b"88.100/A").u32(1).counted(b"value")
    dump.u8(2).counted(b"0.NA/88.100").u8(3).counted(b"88.100/A").u64(7).u32(2).u8(5).counted(b"1:x").u8(0xFF)
    yield b"\0" + dump.octets()
    head = Writer().u32(2).u32(2).u8(2).counted(b"1:site").u8(1).u64(9).counted(b"88.100/A").u8(1).u64(5)
    yield b"\x11" + head.u32(1).counted(b"value").u8(3).u64(6).u8(0).octets()
    for recording, number in (("repl_dump_handles_v27", b"\2"), ("repl_retrieve_txn_v27", b"\3")):
        for entry in recordings()[recording]["messages"]:
            if entry.get("part") == "stream":
                yield number + bytes.fromhex(entry["hex"])[4:]


LAYERS: Final = {
    "message": Layer(play_message, _messages),
    "body": Layer(play_body, _bodies),
    "value": Layer(play_value, _values),
    "credential": Layer(play_credential, _credentials),
    "http": Layer(play_http, _http),
    "replication": Layer(play_replication, _replication),
    "stream": Layer(streams.play, streams.seeds),
}
