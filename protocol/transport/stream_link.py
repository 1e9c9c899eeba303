"""A TCP connection as a client on which more than one answer comes: messages, then a stream, in the clear or over TLS.

TLS here proves one key, the one in the server's site record; certificates are made for the occasion and vouch for
nothing (PROTOCOL.md §9.2).
"""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.dsa import DSAPublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from protocol.errors import BadSignature, Unreachable
from protocol.message import ENVELOPE_OCTETS, Message, decode_envelope, decode_message
from protocol.valuetypes.hs_pubkey import PublicKey

CHUNK_OCTETS: Final = 65_536
HANDSHAKE_S: Final = 30.0


class StreamLink:
    """One connection; made by open_link()."""

    def __init__(
        self, reader: asyncio.StreamReader, transport: asyncio.Transport, node: str, idle_s: float
    ) -> None:
        self._reader = reader
        self._transport = transport
        self._idle_s = idle_s
        self.node = node
        """Whom errors name."""

    async def exchange(self, request: Message) -> Message:
        """Send a request and read the response. Raises Unreachable, WireError."""
        self._transport.write(request.encode())
        envelope = await self.read_exactly(ENVELOPE_OCTETS)
        message_octets = decode_envelope(
            envelope
        ).message_octets  # bounded before anything of that size is read
        return decode_message(envelope + await self.read_exactly(message_octets))

    async def read_exactly(self, count: int) -> bytes:
        """That many octets. Raises Unreachable when the connection ends before, or nothing comes for idle_s."""
        with self._faults():
            async with asyncio.timeout(self._idle_s):
                return await self._reader.readexactly(count)

    async def read(self) -> bytes:
        """The next octets, at least one. Raises Unreachable as read_exactly()."""
        with self._faults():
            async with asyncio.timeout(self._idle_s):
                octets = await self._reader.read(CHUNK_OCTETS)
        if not octets:
            raise Unreachable("the connection was closed in the middle", node=self.node)
        return octets

    async def start_tls(self, key: PublicKey) -> None:
        """Go on over TLS on this connection. Raises BadSignature unless the server proves this key, Unreachable."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=CHUNK_OCTETS, loop=loop)
        with self._faults():
            transport = await loop.start_tls(
                self._transport,
                _OverTls(reader, loop=loop),
                _context(),
                ssl_handshake_timeout=HANDSHAKE_S,
            )
        if transport is None:
            raise Unreachable("the connection was closed in the TLS handshake", node=self.node)
        reader.set_transport(transport)
        self._reader, self._transport = reader, transport
        if _shown_key(transport) != key:
            raise BadSignature(
                f"{self.node}: the TLS certificate has another key than the server's site record; "
                "somebody stands between, and nothing of the stream was read"
            )

    def close(self) -> None:
        """End it at once."""
        self._transport.abort()

    def _faults(self) -> "_Faults":
        return _Faults(self.node)


class _OverTls(asyncio.StreamReaderProtocol):
    """A connection over TLS, of which no half can stay open."""

    def eof_received(self) -> bool:
        """Tell the reader, and let the transport close."""
        super().eof_received()
        return False


class _Faults:
    """Turns what a connection raises into Unreachable."""

    def __init__(self, node: str) -> None:
        self._node = node

    def __enter__(self) -> None:
        """Nothing to begin."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        match error:
            case TimeoutError():
                raise Unreachable("no answer in time", node=self._node) from error
            case asyncio.IncompleteReadError():
                raise Unreachable("the connection was closed in the middle", node=self._node) from error
            case ssl.SSLError():
                cause = f"the TLS handshake or stream failed: {error.reason or 'no reason given'}"
                raise Unreachable(cause, node=self._node) from error
            case OSError():
                cause = os.strerror(error.errno) if error.errno else "the connection failed"
                raise Unreachable(cause, node=self._node) from error
            case _:
                """None, or what is nobody's fault on the way."""


def _context() -> ssl.SSLContext:
    """TLS 1.2 and later; the certificate is looked at by us, since a key is pinned and no authority is asked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _shown_key(transport: asyncio.Transport) -> PublicKey | None:
    """The key of the certificate by which a finished handshake was signed; None when it cannot be read."""
    session = transport.get_extra_info("ssl_object")
    der = session.getpeercert(binary_form=True) if session is not None else None
    return certified_key(der) if der else None


def certified_key(der: bytes) -> PublicKey | None:
    """The key in a certificate; None where it is of another kind, or the octets are no certificate."""
    try:
        key = x509.load_der_x509_certificate(der).public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None
    match key:
        case RSAPublicKey():
            return PublicKey.of_rsa(key)
        case DSAPublicKey():
            return PublicKey.of_dsa(key)
        case _:
            return None


@asynccontextmanager
async def open_link(host: str, port: int, *, connect_s: float, idle_s: float) -> AsyncIterator[StreamLink]:
    """Connect for the duration of the block.

    host: a literal address or a name. idle_s: how long octets may stay away. Raises Unreachable.
    """
    node = f"{host} TCP {port}"
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=CHUNK_OCTETS, loop=loop)
    with _Faults(node):
        async with asyncio.timeout(connect_s):
            transport, _ = await loop.create_connection(
                lambda: asyncio.StreamReaderProtocol(reader, loop=loop), host, port
            )
    link = StreamLink(reader, transport, node, idle_s)
    try:
        yield link
    finally:
        link.close()
