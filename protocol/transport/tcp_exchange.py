"""TCP as a client: one connection for each exchange."""

import asyncio
import os
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager

from protocol.codes import OpFlag
from protocol.errors import Unreachable
from protocol.message import ENVELOPE_OCTETS, Message, decode_envelope, decode_message


async def exchange_tcp(address: str, port: int, request: Message, *, deadline_s: float) -> Message:
    """Sends a request over a connection of its own and returns the response.

    deadline_s: monotonic. Raises Unreachable when no whole message comes in time, WireError when it is none.
    """
    return decode_message(await exchange_octets_tcp(address, port, request.encode(), deadline_s=deadline_s))


async def exchange_octets_tcp(address: str, port: int, request: bytes, *, deadline_s: float) -> bytes:
    """The same for messages that may be encrypted, as whole messages with their envelopes."""
    with _explained(f"{address} TCP {port}"):
        async with asyncio.timeout_at(deadline_s):
            reader, writer = await _send(address, port, request)
            try:
                answer = await _read_message(reader)
            finally:
                writer.close()
    return answer


async def stream_tcp(
    address: str, port: int, request: Message, *, patience_s: float
) -> AsyncGenerator[Message, None]:
    """Sends a request and gives the messages of its answer, each when it is whole, up to the first without CONT.

    patience_s: for the connection, and for each message. Raises as exchange_tcp().
    """
    with _explained(f"{address} TCP {port}"):
        async with asyncio.timeout(patience_s):
            reader, writer = await _send(address, port, request.encode())
        try:
            follows = True
            while follows:
                async with asyncio.timeout(patience_s):
                    message = decode_message(await _read_message(reader))
                follows = message.has(OpFlag.CONT)
                yield message
        finally:
            writer.close()


async def _send(address: str, port: int, request: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(address, port)
    if writer.transport.is_closing():
        raise ConnectionResetError
    writer.write(request)
    return reader, writer


@contextmanager
def _explained(node: str) -> Generator[None, None, None]:
    """Raises Unreachable for what goes wrong with a connection."""
    try:
        yield
    except TimeoutError as error:
        raise Unreachable("no answer in time", node=node) from error
    except asyncio.IncompleteReadError as error:
        raise Unreachable("the connection was closed before the answer was whole", node=node) from error
    except OSError as error:
        cause = os.strerror(error.errno) if error.errno else "the connection failed"
        raise Unreachable(cause, node=node) from error


async def _read_message(reader: asyncio.StreamReader) -> bytes:
    envelope = await reader.readexactly(ENVELOPE_OCTETS)
    message_octets = decode_envelope(envelope).message_octets  # bounded before anything of that size is read
    return envelope + await reader.readexactly(message_octets)
