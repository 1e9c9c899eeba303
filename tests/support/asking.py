"""A client that knows the wire and nothing of our client: what a stranger sees of a node."""

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from protocol.bodies import ErrorBody, ReferralBody, ResolutionRequest, ResolutionResponse
from protocol.codes import DEFAULT_FLAGS, REFERRALS, OpCode, OpFlag
from protocol.handle import Handle
from protocol.message import Message, decode_message, split_digest
from protocol.packets import Reassembler, split
from protocol.value import HandleValue, ValueList

PATIENCE_S: Final = 15.0  # two busy cores; a test that waits so long fails anyway
RESEND_S: Final = 1.0

Address = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came back."""

    message: Message
    rc: int
    values: tuple[HandleValue, ...] = ()
    handle: Handle | None = None
    text: str = ""

    @property
    def url(self) -> str | None:
        """The first URL value."""
        return next((value.data.decode() for value in self.values if value.type == "URL"), None)

    @property
    def authoritative(self) -> bool:
        """Whether the AUTH flag is set."""
        return self.message.has(OpFlag.AUTH)


def resolution(
    handle: str | bytes,
    *,
    indexes: Iterable[int] = (),
    types: Iterable[str] = (),
    flags: int = DEFAULT_FLAGS,
    recursion_count: int = 0,
) -> Message:
    """Return a resolution request with a random id."""
    body = ResolutionRequest(handle=Handle.parse(handle), indexes=tuple(indexes), types=tuple(types))
    return Message.request(
        OpCode.RESOLUTION,
        body.encode(),
        request_id=random.getrandbits(31),
        expiration=0xFFFF_FFFF,
        flags=flags,
        recursion_count=recursion_count,
    )


def read_answer(response: Message) -> Answered:
    """Return a response with its body read."""
    rc = response.header.response_code
    _, rest = split_digest(response)
    if rc == 1 and response.header.op_code == OpCode.RESOLUTION:
        body = ResolutionResponse.decode(rest)
        return Answered(message=response, rc=rc, values=tuple(body.values), handle=body.handle)
    if rc in REFERRALS:
        referral = ReferralBody.decode(rest)
        return Answered(
            message=response, rc=rc, values=tuple(referral.values or ValueList.of([])), handle=referral.handle
        )
    return Answered(message=response, rc=rc, text="" if rc == 1 else ErrorBody.decode(rest).message)


class _Inbox(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.packets: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.packets.put_nowait(data)


async def send_udp(address: Address, octets: bytes, *, patience_s: float = PATIENCE_S) -> bytes:
    """Send a message, again every second, and return the first whole message that comes back."""
    loop = asyncio.get_running_loop()
    transport, inbox = await loop.create_datagram_endpoint(_Inbox, remote_addr=address)
    reassembler: Reassembler[int] = Reassembler()
    try:
        async with asyncio.timeout(patience_s):
            while True:
                for packet in split(octets):
                    transport.sendto(packet)
                try:
                    async with asyncio.timeout(RESEND_S):
                        while True:
                            whole = reassembler.add(0, await inbox.packets.get(), 0.0)
                            if whole is not None:
                                return whole
                except TimeoutError:
                    continue
    finally:
        transport.close()


async def send_packets(
    address: Address, packets: Iterable[bytes], *, answers: int = 1, patience_s: float = PATIENCE_S
) -> list[bytes]:
    """Send datagrams once, and return the datagrams that come back until there are enough or patience ends."""
    received: list[bytes] = []

    def is_enough(packet: bytes) -> bool:
        received.append(packet)
        return len(received) >= answers

    try:
        await send_datagrams(address, packets, is_enough, patience_s=patience_s)
    except TimeoutError:
        pass
    return received


async def send_datagrams(
    address: Address,
    packets: Iterable[bytes],
    is_enough: Callable[[bytes], bool],
    *,
    patience_s: float = PATIENCE_S,
) -> None:
    """Send datagrams once, and hand over those that come back until there are enough. Raises TimeoutError."""
    loop = asyncio.get_running_loop()
    transport, inbox = await loop.create_datagram_endpoint(_Inbox, remote_addr=address)
    try:
        for packet in packets:
            transport.sendto(packet)
        async with asyncio.timeout(patience_s):
            while not is_enough(await inbox.packets.get()):
                pass
    finally:
        transport.close()


async def send_tcp(
    address: Address, octets: bytes, *, half_close: bool = False, patience_s: float = PATIENCE_S
) -> bytes:
    """Send octets over a connection of their own and return everything that comes until the node closes it.

    half_close: say that nothing more will be sent.
    """
    async with asyncio.timeout(patience_s):
        reader, writer = await asyncio.open_connection(*address)
        try:
            writer.write(octets)
            await writer.drain()
            if half_close:
                writer.write_eof()
            return await reader.read()
        finally:
            writer.close()
            try:
                await writer.wait_closed()
            except ConnectionError:
                pass


async def ask_udp(address: Address, request: Message) -> Answered:
    """Ask over UDP."""
    response = decode_message(await send_udp(address, request.encode()))
    assert response.envelope.request_id == request.envelope.request_id
    return read_answer(response)


async def ask_tcp(address: Address, request: Message) -> Answered:
    """Ask over TCP."""
    response = decode_message(await send_tcp(address, request.encode()))
    assert response.envelope.request_id == request.envelope.request_id
    return read_answer(response)
