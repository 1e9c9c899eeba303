"""A hierarchy of small authorities on loopback sockets, and a recursive node that walks it."""

import asyncio
import json
import random
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import aiohttp
from yarl import URL

from protocol.bodies import ErrorBody, ResolutionRequest, ResolutionResponse
from protocol.client.bootstrap import write_bundle
from protocol.client.delegation import GLOBAL_SERVICE
from protocol.codes import DEFAULT_FLAGS, OpCode, ResponseCode
from protocol.handle import Handle
from protocol.message import Message, decode_message, split_digest
from protocol.site import Interface, InterfaceProtocol, Server, Site
from protocol.transport.base import Answer, Peer
from protocol.transport.exchanger import Exchanger, new_request_id
from protocol.transport.source import SourceCheck
from protocol.transport.tcp import TcpListener, listen_tcp
from protocol.transport.udp import UdpListener, listen_udp
from protocol.value import HandleValue, ValueList
from resolver.daemon import RecursiveNode
from resolver.settings import OpenNetwork, ResolverSettings
from tests.support import scratch
from tests.support.scratch import new_directory
from tests.support.server_keys import give_server_key
from tests.support.transport import as_responder

HOST: Final = "127.0.0.1"
PUMP: Final = "88.100.1/pump-7"

BROWSER: Final = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
PROGRAM: Final = {"Accept": "application/json"}

Script = Callable[[Message, ResolutionRequest], Message | None]


def free_port() -> int:
    """A port that is free for UDP and TCP, and that no outgoing connection will take meanwhile."""
    return scratch.free_port(HOST)


def site(port: int) -> Site:
    """A primary site on loopback."""
    interfaces = tuple(
        Interface(admin=False, query=True, protocol=protocol, port=port)
        for protocol in (InterfaceProtocol.TCP, InterfaceProtocol.UDP)
    )
    return Site(
        servers=(Server(server_id=1, address=Server.pack_address(ip_address(HOST)), interfaces=interfaces),)
    )


def value(index: int, kind: str, data: bytes | str | Site, **changes: Any) -> HandleValue:
    """A public value."""
    octets = data.encode() if isinstance(data, str | Site) else data
    return HandleValue(index=index, type=kind, data=octets, **changes)


@dataclass
class Authority:
    """A server that holds records, and remembers what it was asked."""

    port: int = field(default_factory=free_port)
    records: dict[bytes, ValueList] = field(default_factory=dict)
    script: Script | None = None
    asked: list[str] = field(default_factory=list)
    octets: list[bytes] = field(default_factory=list)
    delay_s: float = 0.0
    _udp: UdpListener | None = None
    _tcp: TcpListener | None = None

    def hold(self, handle: str, *values: HandleValue) -> None:
        """Store a record in place of any older one."""
        self.records[Handle.parse(handle).key] = ValueList.of(values)

    async def start(self) -> None:
        """Listen on UDP and TCP."""
        source, responder = SourceCheck(rate_per_s=0), as_responder(self.respond)
        self._udp = await listen_udp(HOST, self.port, responder, source=source)
        self._tcp = await listen_tcp(HOST, self.port, responder, source=source)

    async def stop(self) -> None:
        """Close both sockets, when they are open."""
        if self._udp is not None and self._tcp is not None:
            await self._udp.close(0)
            await self._tcp.close(0)
        self._udp = self._tcp = None

    async def respond(self, octets: bytes, peer: Peer) -> Answer | None:
        """Answer as an authority does."""
        request = decode_message(octets)
        body = ResolutionRequest.decode(request.body)
        self.asked.append(str(body.handle))
        self.octets.append(octets)
        await asyncio.sleep(self.delay_s)
        response = self.script(request, body) if self.script else self.look_up(request, body)
        return None if response is None else Answer(octets=response.encode())

    def look_up(self, request: Message, body: ResolutionRequest) -> Message:
        """What an honest authority says."""
        held = self.records.get(body.handle.key)
        if held is None:
            return self.refuse(request, ResponseCode.HANDLE_NOT_FOUND, "no such handle")
        values = held.select(body.indexes, body.types, public_only=True)
        if not values.count:
            return self.refuse(request, ResponseCode.VALUES_NOT_FOUND)
        content = ResolutionResponse(handle=body.handle, values=values).encode()
        return self._reply(request, ResponseCode.SUCCESS, content)

    def refuse(self, request: Message, code: ResponseCode, message: str = "") -> Message:
        """An answer without values."""
        return self._reply(request, code, ErrorBody(message=message).encode())

    def _reply(self, request: Message, code: ResponseCode, body: bytes) -> Message:
        return request.answer(code, body, authoritative=True, site_serial=1, wall_s=time.time())


@dataclass
class Hierarchy:
    """Root, top-level 88, secondary 88.100 and enterprise 88.100.1, each with sockets of its own."""

    folder: Path
    root: Authority = field(default_factory=Authority)
    top: Authority = field(default_factory=Authority)
    second: Authority = field(default_factory=Authority)
    enterprise: Authority = field(default_factory=Authority)

    def __post_init__(self) -> None:
        self.root.hold("0.NA/88", value(1, "HS_SITE", site(self.top.port)), below(self.top))
        self.top.hold("0.NA/88.100", value(1, "HS_SITE", site(self.second.port)), below(self.second))
        self.second.hold("0.NA/88.100.1", value(1, "HS_SITE", site(self.enterprise.port)))
        self.enterprise.hold(PUMP, value(1, "URL", "https://plant.example/pump-7"), value(2, "DESC", "泵"))
        records = {GLOBAL_SERVICE: [value(1, "HS_SITE", site(self.root.port))]}
        write_bundle(self.bundle, records)
        give_server_key(self.server_key_file, 1)

    @property
    def server_key_file(self) -> Path:
        """The key of the recursive node."""
        return self.folder / "resolver.key"

    @property
    def bundle(self) -> Path:
        """The root bundle."""
        return self.folder / "root.json"

    @property
    def authorities(self) -> tuple[Authority, ...]:
        """All of them, from the root down."""
        return self.root, self.top, self.second, self.enterprise

    @property
    def asked(self) -> list[str]:
        """What all of them were asked, level by level."""
        return [handle for authority in self.authorities for handle in authority.asked]

    def forget(self) -> None:
        """Begin to count anew."""
        for authority in self.authorities:
            authority.asked.clear()
            authority.octets.clear()

    def settings(self, **changes: Any) -> ResolverSettings:
        """Settings of a recursive node under this root, on free ports."""
        given: dict[str, Any] = {
            "name": "test",
            "root_site_file": self.bundle,
            "server_key_file": self.server_key_file,
            "listen_addresses": (HOST,),
            "handle_port": free_port(),
            "http_port": free_port(),
            "admin_port": 0,
            "source_rate_per_s": 0,
            "resolution_time_s": 4.0,
            "open_networks": (OpenNetwork(network="127.0.0.0/8", prefixes=("88",)),),
        }
        return ResolverSettings(**(given | changes))


def below(authority: Authority) -> HandleValue:
    """The value that says who holds the prefix records below."""
    return value(2, "HS_SITE.PREFIX", site(authority.port))


@asynccontextmanager
async def running_hierarchy() -> AsyncIterator[Hierarchy]:
    """A hierarchy that listens, in a folder of its own."""
    folder = new_directory()
    hierarchy = Hierarchy(folder)
    try:
        for authority in hierarchy.authorities:
            await authority.start()
        yield hierarchy
    finally:
        for authority in hierarchy.authorities:
            await authority.stop()
        shutil.rmtree(folder)


@asynccontextmanager
async def running_node(
    settings: ResolverSettings, draw: Callable[[], float] = random.random
) -> AsyncIterator[RecursiveNode]:
    """A recursive node between start and stop. draw: what it leaves choices to."""
    node = RecursiveNode(settings, draw=draw)
    await node.start()
    try:
        yield node
    finally:
        await node.stop()


class Browser:
    """Asks without following redirects, and reads everything."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self._base = f"http://{HOST}:{port}"

    async def get(self, path: str, *, method: str = "GET", **headers: str) -> aiohttp.ClientResponse:
        """The answer to one request; header names with underscores for hyphens, those of a browser by default."""
        response = await self._session.request(
            method,
            URL(self._base + path, encoded=True),
            headers={name.replace("_", "-"): text for name, text in headers.items()} or BROWSER,
            allow_redirects=False,
        )
        await response.read()
        return response

    async def record(self, path: str) -> Any:
        """The JSON that a program gets."""
        return json.loads(await (await self.get(path, **PROGRAM)).read())


@dataclass(frozen=True)
class Reply:
    """What a client got."""

    message: Message
    body: bytes

    @property
    def code(self) -> int:
        """The response code."""
        return self.message.header.response_code

    @property
    def values(self) -> tuple[HandleValue, ...]:
        """The values of a successful answer."""
        assert self.code == ResponseCode.SUCCESS, ErrorBody.decode(self.body).message
        return tuple(ResolutionResponse.decode(self.body).values)

    @property
    def text(self) -> str:
        """The words of an unsuccessful answer."""
        return ErrorBody.decode(self.body).message


class Client:
    """A Handle client with sockets of its own."""

    def __init__(self, node: RecursiveNode, host: str) -> None:
        self._host = host
        self._port = node.addresses.udp[0][1]
        self._exchanger = Exchanger()

    async def ask(
        self,
        handle: str,
        *,
        indexes: tuple[int, ...] = (),
        types: tuple[str, ...] = (),
        flags: int = DEFAULT_FLAGS,
        op_code: OpCode = OpCode.RESOLUTION,
        recursion_count: int = 0,
        transport: InterfaceProtocol = InterfaceProtocol.UDP,
        wait_s: float = 8.0,
    ) -> Reply:
        """Send one request and return its answer."""
        name = Handle.parse(handle)
        request = Message.request(
            op_code,
            ResolutionRequest(handle=name, indexes=indexes, types=types).encode(),
            request_id=new_request_id(),
            expiration=0,
            flags=flags,
            recursion_count=recursion_count,
        )
        response = await self._exchanger.exchange(
            transport, self._host, self._port, request, deadline_s=time.monotonic() + wait_s
        )
        return Reply(response, split_digest(response)[1])

    async def close(self) -> None:
        """Close the sockets."""
        await self._exchanger.close()


@asynccontextmanager
async def client_of(node: RecursiveNode, host: str = HOST) -> AsyncIterator[Client]:
    """A client of a node."""
    async with AsyncExitStack() as stack:
        client = Client(node, host)
        stack.push_async_callback(client.close)
        yield client
