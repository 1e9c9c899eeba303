"""What transport tests share: requests, responders that answer them, an observer that remembers, raw sockets."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from protocol.bodies import ResolutionRequest, ResolutionResponse
from protocol.codes import DEFAULT_FLAGS, OpCode, ResponseCode
from protocol.errors import HandleError
from protocol.generations import Stamp
from protocol.handle import Handle
from protocol.message import Message, decode_message, undecodable
from protocol.transport.base import Answer, Limit, Peer, Reply, Responder, TransportName
from protocol.transport.source import SourceCheck
from protocol.value import HandleValue, ValueList

WAIT_S = 10.0  # what a test waits for something that must come; never for something that must not


def anyone() -> SourceCheck:
    """A source check that admits everybody."""
    return SourceCheck()


def resolution(
    name: str | bytes = "20.500.1/pump-7",
    *,
    request_id: int = 7,
    flags: int = DEFAULT_FLAGS,
    extension: bytes = b"",
) -> Message:
    """A resolution request."""
    body = ResolutionRequest(handle=Handle.parse(name), extension=extension).encode()
    return Message.request(OpCode.RESOLUTION, body, request_id=request_id, expiration=0, flags=flags)


def answer_to(octets: bytes, *, data_octets: int = 20) -> bytes:
    """A success answer whose only value has so many octets, or the undecodable answer."""
    wall_s = time.time()
    try:
        request = decode_message(octets)
        handle = ResolutionRequest.decode(request.body).handle
    except HandleError as error:
        return undecodable(octets, str(error), wall_s).encode()
    values = ValueList.of([HandleValue(index=1, type="DESC", data=b"x" * data_octets)])
    body = ResolutionResponse(handle=handle, values=values).encode()
    return request.answer(
        ResponseCode.SUCCESS, body, authoritative=True, site_serial=3, wall_s=wall_s
    ).encode()


async def answer_of(responder: Responder, octets: bytes, peer: Peer) -> Answer | None:
    """What a responder answers."""
    answered: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
    responder(octets, peer, answered.set_result)
    async with asyncio.timeout(WAIT_S):
        return await answered


def as_responder(work: Callable[[bytes, Peer], Awaitable[Answer | None]]) -> Responder:
    """A responder that works on each request in a task."""
    tasks: set[asyncio.Task[None]] = set()

    def respond(octets: bytes, peer: Peer, reply: Reply) -> None:
        async def answer() -> None:
            reply(await work(octets, peer))

        task = asyncio.get_running_loop().create_task(answer())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    return respond


@dataclass
class Echo:
    """A responder that answers every resolution and remembers who asked."""

    data_octets: int = 20
    cache_s: float | None = None
    stamp: Stamp | None = None
    gate: asyncio.Event | None = None
    """When set, answers wait for it."""
    asked: list[tuple[bytes, Peer]] = field(default_factory=list)
    entered: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._respond = as_responder(self._answer)

    def __call__(self, octets: bytes, peer: Peer, reply: Reply) -> None:
        self._respond(octets, peer, reply)

    async def _answer(self, octets: bytes, peer: Peer) -> Answer | None:
        self.asked.append((octets, peer))
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        until_s = None if self.cache_s is None else time.monotonic() + self.cache_s
        octets = answer_to(octets, data_octets=self.data_octets)
        return Answer(octets=octets, cache_until_s=until_s, stamp=self.stamp)


@dataclass
class Watcher:
    """An observer that remembers what it was told."""

    answers: list[tuple[TransportName, str]] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    limits: list[Limit] = field(default_factory=list)
    undecodables: list[TransportName] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def answered(
        self,
        transport: TransportName,
        request_octets: bytes,
        response_octets: bytes,
        outcome: str,
        elapsed_s: float,
        *,
        host: str,
    ) -> None:
        assert elapsed_s >= 0
        self.answers.append((transport, outcome))
        self.hosts.append(host)
        self.changed.set()

    def hits(self, transport: TransportName, counts: Mapping[bytes, int], elapsed_s: float) -> None:
        assert elapsed_s >= 0
        self.answers += [(transport, "hit")] * sum(counts.values())
        self.changed.set()

    def sources(self, counts: Mapping[str, int]) -> None:
        self.hosts += [host for host, count in counts.items() for _ in range(count)]

    def is_sample_due(self, count: int) -> bool:
        return False

    def sampled(self, transport: TransportName, request: bytes, response: bytes, host: str) -> None:
        raise AssertionError("no sample was due")

    def limit_reached(self, name: Limit, count: int = 1) -> None:
        self.limits += [name] * count
        self.changed.set()

    def undecodable(self, transport: TransportName) -> None:
        self.undecodables.append(transport)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until something that was told makes the condition true."""
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


class Datagrams:
    """A UDP socket of a test, connected to one server."""

    def __init__(self, address: tuple[str, int], source: str | None = None) -> None:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        if source is not None:
            self.socket.bind((source, 0))
        self.socket.connect(address)

    def __enter__(self) -> "Datagrams":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *packets: bytes) -> None:
        for packet in packets:
            self.socket.send(packet)

    async def receive(self) -> bytes:
        """The next datagram."""
        async with asyncio.timeout(WAIT_S):
            loop = asyncio.get_running_loop()
            return await loop.sock_recv(self.socket, 65_535)

    async def ask(self, request: Message) -> Message:
        self.send(request.encode())
        return decode_message(await self.receive())
