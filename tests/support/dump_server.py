"""A small honest server that tells about itself, resolves, challenges, and dumps in signed blocks or over TLS.

Honest but for what a test tells it to do otherwise. It stands where the recordings end: the octets inside of TLS.
"""

import asyncio
import datetime as dt
import os
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from protocol.admin_bodies import ChallengeAnswerRequest, DumpPart, DumpRequest, RetrieveTransactionsRequest
from protocol.bodies import ErrorBody, ResolutionRequest, ResolutionResponse, SiteInfoResponse
from protocol.challenge import Challenge, challenge_response, check_key_answer, check_secret_answer
from protocol.codes import OpCode, ResponseCode
from protocol.credential import sign
from protocol.message import ENVELOPE_OCTETS, Message, Version, decode_envelope, decode_message
from protocol.replication import StreamKind
from protocol.signature import SHA1, sign_octets
from protocol.site import Site, single_server_site
from protocol.value import HandleValue, Permission, ValueList
from protocol.valuetypes import PublicKey
from protocol.wire import Writer
from tests.support.keys import admin_key

HOST: Final = "127.0.0.1"
WALL_S: Final = 1_800_000_000.0


@cache
def other_key() -> rsa.RSAPrivateKey:
    """Return a key that is not the server's."""
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


@dataclass(slots=True, kw_only=True)
class DumpServer:
    """What it holds and how it behaves."""

    records: Mapping[bytes, tuple[bytes, ...]]
    """Encoded values by name."""
    prefixes: tuple[bytes, ...] = (b"0.NA/20.500.12345",)
    secret: bytes = b"geheim"
    administrator: PublicKey | None = None
    version: Version = (2, 11)
    key: rsa.RSAPrivateKey = field(default_factory=admin_key)
    """With which it signs."""
    published: PublicKey | None = None
    """The key that its site record shows, where it is another one."""
    certified: rsa.RSAPrivateKey | None = None
    """The key of its certificate, where it is another one."""
    kind: StreamKind = StreamKind.TLS
    cuts: list[int] = field(default_factory=list)
    """How many records each of the next dumps has before its connection breaks; None when there is no more."""
    stream: bytes | None = None
    """Sent behind the first word in place of a dump."""
    transactions: tuple[bytes, ...] = ()
    """The blocks of a stream of transactions."""
    answers_otherwise: frozenset[bytes] = frozenset()
    """Names that are resolved as if they had no values."""
    unsigned: frozenset[bytes] = frozenset()
    """Names of which it answers an error that it does not sign."""
    port: int = 0
    asked_since: list[tuple[int, int]] = field(default_factory=list)
    """The positions from which transactions were asked for."""
    asked_after: list[tuple[bytes, int] | None] = field(default_factory=list)
    """The restart points of the dumps that were asked for."""
    _pending: dict[int, tuple[Message, bytes]] = field(default_factory=dict)

    @property
    def site(self) -> Site:
        """Its site record."""
        made = single_server_site(
            addresses=[HOST],
            tcp_port=self.port,
            udp_port=0,
            http_port=0,
            https=False,
            primary=True,
            public_key=(self.published or PublicKey.of_rsa(self.key.public_key())).encode(),
        )
        return replace(made, protocol_minor=self.version[1])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            envelope = await reader.readexactly(ENVELOPE_OCTETS)
            octets = envelope + await reader.readexactly(decode_envelope(envelope).message_octets)
            await self._answer(decode_message(octets), writer)
            await writer.drain()
        except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
            pass  # the client went away, as it should when it does not trust us
        finally:
            writer.close()

    async def _answer(self, request: Message, writer: asyncio.StreamWriter) -> None:
        match request.header.op_code:
            case OpCode.GET_SITE_INFO:
                body = SiteInfoResponse(site=self.site).encode()
                self._send(writer, request, request, ResponseCode.SUCCESS, body)
            case OpCode.RESOLUTION:
                self._resolve(writer, request)
            case OpCode.DUMP_HANDLES | OpCode.RETRIEVE_TRANSACTION_LOG:
                self._challenge(writer, request)
            case OpCode.CHALLENGE_ANSWER:
                await self._check(writer, request)
            case other:
                raise AssertionError(f"operation {other}, which no test needs")

    def _send(
        self,
        writer: asyncio.StreamWriter,
        asked: Message,
        answered: Message,
        code: ResponseCode,
        body: bytes,
    ) -> None:
        """asked: the request that this is about; answered: the message whose id it carries."""
        response = asked.answer(code, body, authoritative=True, site_serial=1, wall_s=WALL_S)
        envelope = replace(response.envelope, session_id=0, request_id=answered.envelope.request_id)
        writer.write(sign(replace(response, envelope=envelope), self.key).encode())

    def _resolve(self, writer: asyncio.StreamWriter, request: Message) -> None:
        handle = ResolutionRequest.decode(request.body).handle
        if handle.octets in self.unsigned:
            writer.write(
                request.answer(
                    ResponseCode.ERROR, b"", authoritative=True, site_serial=1, wall_s=WALL_S
                ).encode()
            )
            return
        public = [
            value
            for value in self.records.get(handle.octets, ())
            if HandleValue.decode(value).permissions & Permission.PUBLIC_READ
        ]
        if not public or handle.octets in self.answers_otherwise:
            self._send(writer, request, request, ResponseCode.VALUES_NOT_FOUND, ErrorBody().encode())
            return
        values = ValueList(b"".join(public), len(public))
        body = ResolutionResponse(handle=handle, values=values).encode()
        self._send(writer, request, request, ResponseCode.SUCCESS, body)

    def _challenge(self, writer: asyncio.StreamWriter, request: Message) -> None:
        nonce, session_id = os.urandom(16), len(self._pending) + 1
        self._pending[session_id] = (request, nonce)
        response = challenge_response(
            request, nonce, session_id=session_id, authoritative=True, site_serial=1, wall_s=WALL_S
        )
        writer.write(sign(response, self.key).encode())

    async def _check(self, writer: asyncio.StreamWriter, answer: Message) -> None:
        request, nonce = self._pending.pop(answer.envelope.session_id)
        body, challenge = ChallengeAnswerRequest.decode(answer.body), Challenge.to(request, nonce)
        if body.kind == "HS_PUBKEY":
            right = self.administrator is not None and check_key_answer(
                challenge, body.answer, self.administrator
            )
        else:
            right = check_secret_answer(challenge, body.answer, self.secret)
        if not right:
            error = ErrorBody(message="that is not the key").encode()
            self._send(writer, request, answer, ResponseCode.AUTHENTICATION_FAILED, error)
            return
        if request.header.op_code == OpCode.RETRIEVE_TRANSACTION_LOG:
            self._send(writer, request, answer, ResponseCode.SUCCESS, b"\0")
            wanted = RetrieveTransactionsRequest.decode(request.body, request.envelope.version)
            self.asked_since.append((wanted.last_transaction, wanted.last_query_ms))
            await self._stream(writer, list(self.transactions))
            return
        self._send(writer, request, answer, ResponseCode.SUCCESS, b"")
        after = DumpRequest.decode(request.body).resume_after
        self.asked_after.append(after)
        blocks = self._blocks(after)
        if self.cuts:
            blocks = blocks[: self.cuts.pop(0)]
        await self._stream(writer, blocks)

    async def _stream(self, writer: asyncio.StreamWriter, blocks: list[bytes]) -> None:
        writer.write(Writer().u32(self.kind).octets())
        if self.kind is StreamKind.TLS:
            await writer.start_tls(server_context(self.certified or self.key))
        writer.write(self.stream if self.stream is not None else b"".join(map(self._framed, blocks)))

    def _framed(self, block: bytes) -> bytes:
        if self.kind is not StreamKind.SIGNED or block == b"\xff":
            return block
        signature = Writer().counted(sign_octets(block.removeprefix(_NAME), self.key, SHA1)).octets()
        return block + signature

    def _blocks(self, after: tuple[bytes, int] | None) -> list[bytes]:
        """The head, and a block for each record behind the point."""
        name, part = after or (b"", 0)
        head = (_NAME if self.kind is StreamKind.SIGNED else b"") + Writer().u32(2).octets()
        blocks = [head, Writer().u8(0).u64(1_795_195_640_195).u64(4).octets()]
        if part <= DumpPart.HANDLES:
            names = [known for known in sorted(self.records) if part < DumpPart.HANDLES or known > name]
            blocks += [record_block(known, self.records[known]) for known in names]
        blocks += [Writer().u8(2).counted(prefix).octets() for prefix in self.prefixes]
        return [*blocks, b"\xff"]


_NAME: Final = Writer().counted(b"SHA1").octets()


def record_block(name: bytes, values: tuple[bytes, ...]) -> bytes:
    """A handle as it stands in a dump."""
    writer = Writer().u8(1).counted(name).u32(len(values))
    for value in values:
        writer.counted(value)
    return writer.octets()


@cache
def server_context(key: rsa.RSAPrivateKey) -> ssl.SSLContext:
    """Return a context with a certificate of this key, made for the occasion."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "anonymous")])
    begin = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin.replace(year=2100))
    certificate = builder.sign(key, hashes.SHA256())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "both.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(private + certificate.public_bytes(Encoding.PEM))
        context.load_cert_chain(path)
    return context


@asynccontextmanager
async def serving(server: DumpServer) -> AsyncIterator[DumpServer]:
    """Serve for the duration of the block."""
    listener = await asyncio.start_server(server.serve, HOST, 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        await listener.wait_closed()
