"""A hierarchy of nodes in memory: records by address, and scripts for nodes that misbehave. No sockets.

Everything that passes is encoded and decoded again, so that what a node was told can be searched for octets.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

from protocol.bodies import ErrorBody, ReferralBody, ResolutionRequest, ResolutionResponse
from protocol.client.answers import Answer, Found, Question, Reply, read_answer
from protocol.client.delegation import Delegation
from protocol.client.resolution import DEFAULT_LIMITS, Ask, Limits, Resolution
from protocol.client.selection import Opening
from protocol.codes import OpCode, OpFlag, ResponseCode
from protocol.errors import ResolutionFailed, Unreachable
from protocol.handle import Handle, Prefix
from protocol.message import Message, decode_message
from protocol.site import Interface, InterfaceProtocol, Server, Service, Site
from protocol.value import HandleValue, ValueList

WALL_S: Final = 1_800_000_000.0
EVERYTHING: Final = (InterfaceProtocol.UDP, InterfaceProtocol.TCP, InterfaceProtocol.HTTP)

Script = Callable[[Message, ResolutionRequest], Message | None]
"""What a node does instead of looking into its records; None: stay silent."""


def site(address: str, *, port: int = 2641, primary: bool = True, serial: int = 1, **changes: object) -> Site:
    """A site with one server that speaks UDP, TCP and HTTP."""
    interfaces = tuple(
        Interface(admin=False, query=True, protocol=protocol, port=8000 if protocol == 2 else port)
        for protocol in EVERYTHING
    )
    server = Server(server_id=1, address=Server.pack_address(ip_address(address)), interfaces=interfaces)
    return Site(primary=primary, serial=serial, servers=(server,), **changes)  # type: ignore[arg-type]


def value(index: int, kind: str, data: bytes | str | Site, *, ttl: int = 86_400) -> HandleValue:
    """A public value."""
    octets = data.encode() if isinstance(data, str | Site) else data
    return HandleValue(index=index, type=kind, data=octets, ttl=ttl)


def service(*addresses: str, name: str = "the root service") -> Service:
    """A service with a site at each address."""
    return Service(name, tuple(site(address) for address in addresses))


@dataclass
class Node:
    """One server: what it holds, what it was asked, and how it misbehaves."""

    address: str
    records: dict[bytes, ValueList] = field(default_factory=dict)
    scripts: dict[bytes, Script] = field(default_factory=dict)
    always: Script | None = None
    unknown: ResponseCode = ResponseCode.HANDLE_NOT_FOUND
    asked: list[str] = field(default_factory=list)
    octets: list[bytes] = field(default_factory=list)
    deaf_to: set[int] = field(default_factory=set)

    def hold(self, handle: str, *values: HandleValue) -> "Node":
        """Store a record."""
        self.records[Handle.parse(handle).key] = ValueList.of(values)
        return self

    def answer(self, octets: bytes) -> Message | None:
        """The response to the octets of a request; None for silence."""
        request = decode_message(octets)
        body = ResolutionRequest.decode(request.body)
        self.octets.append(octets)
        self.asked.append(str(body.handle))
        script = self.scripts.get(body.handle.key, self.always)
        return script(request, body) if script else self.look_up(request, body)

    def look_up(self, request: Message, body: ResolutionRequest) -> Message:
        """What an honest node answers."""
        held = self.records.get(body.handle.key)
        if held is None:
            return error(request, self.unknown, "unknown here")
        values = held.select(body.indexes, body.types, public_only=request.has(OpFlag.PUBL))
        if not values.count:
            return error(request, ResponseCode.VALUES_NOT_FOUND)
        return reply(
            request, ResponseCode.SUCCESS, ResolutionResponse(handle=body.handle, values=values).encode()
        )


def reply(request: Message, code: ResponseCode, body: bytes) -> Message:
    """A response as a primary site sends it."""
    return request.answer(code, body, authoritative=True, site_serial=7, wall_s=WALL_S)


def error(request: Message, code: ResponseCode, message: str = "") -> Message:
    """A response with an error body."""
    return reply(request, code, ErrorBody(message=message).encode())


def always(code: ResponseCode, message: str = "") -> Script:
    """A node that answers every question with this code."""
    return lambda request, body: error(request, code, message)


def referring(code: ResponseCode, *values: HandleValue, handle: str = "") -> Script:
    """A node that refers every question: to a service handle, or to what the values say."""
    body = ReferralBody(
        handle=Handle.parse(handle) if handle else None, values=ValueList.of(values) if values else None
    )
    return lambda request, _: reply(request, code, body.encode())


def silent(request: Message, body: ResolutionRequest) -> Message | None:
    """A node that never answers."""
    return None


class ScriptedWorld:
    """Nodes by address, and an exchanger that reaches them."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.exchanges: list[tuple[str, str]] = []
        self.attempts: list[tuple[str, InterfaceProtocol]] = []

    def node(self, address: str) -> Node:
        """The node at an address, made when there is none."""
        return self.nodes.setdefault(address, Node(address))

    @property
    def asked(self) -> list[tuple[str, str]]:
        """Every exchange that was answered or refused: address and handle, in order."""
        return self.exchanges

    def ask(self, address: str, octets: bytes) -> Message | None:
        """Bring a request to a node; None when nobody answers."""
        node = self.nodes.get(address)
        if node is None:
            return None
        response = node.answer(octets)
        self.exchanges.append((address, node.asked[-1]))
        return None if response is None else decode_message(response.encode())

    async def exchange(
        self,
        interface_protocol: int,
        address: str,
        port: int,
        request: Message,
        *,
        deadline_s: float,
        path: str = "",
    ) -> Message:
        """As the real exchanger, without waiting: silence fails at once."""
        self.attempts.append((address, InterfaceProtocol(interface_protocol)))
        node = self.nodes.get(address)
        deaf = node is not None and interface_protocol in node.deaf_to
        response = None if deaf else self.ask(address, request.encode())
        if response is None:
            raise Unreachable("no answer in time", node=address)
        return response

    def put(self, ask: Ask) -> Answer:
        """Put an Ask to its first site, as a driver without any cleverness would."""
        server = ask.service.sites[0].responsible_server(ask.handle)
        body = ResolutionRequest(handle=ask.handle, indexes=ask.indexes, types=ask.types)
        flags = OpFlag.PUBL | (OpFlag.AUTH if ask.authoritative else 0)
        request = Message.request(
            OpCode.RESOLUTION, body.encode(), request_id=4_711, expiration=int(WALL_S), flags=flags
        )
        response = self.ask(str(server.ip), request.encode())
        if response is None:
            raise Unreachable("no answer in time", node=str(server.ip))
        return read_answer(request, response, ask.handle, WALL_S)

    def drive(self, resolution: Resolution, learned: list[Delegation] | None = None) -> Reply:
        """Drive a resolution to its reply, without a client."""
        while isinstance(step := resolution.step(), Ask):
            try:
                answer = self.put(step)
            except ResolutionFailed as failure:
                resolution.failed(failure)
                continue
            taught = resolution.answered(answer, WALL_S)
            if learned is not None:
                learned.extend(taught)
        return step


ROOT: Final = "20.0.0.1"
TOP: Final = "20.0.0.2"
SECOND: Final = "20.0.0.3"
ENTERPRISE: Final = "20.0.0.4"
PUMP: Final = "88.100.1/pump-7"


def national_hierarchy() -> ScriptedWorld:
    """Root, top-level 88, secondary 88.100 and enterprise 88.100.1, with one product."""
    world = ScriptedWorld()
    delegate(world.node(ROOT), "88", home=TOP, below=TOP)
    delegate(world.node(TOP), "88.100", home=SECOND, below=SECOND)
    delegate(world.node(SECOND), "88.100.1", home=ENTERPRISE)
    world.node(ENTERPRISE).hold("88.100.1/pump-7", value(1, "URL", "https://plant.example/pump-7"))
    return world


def delegate(node: Node, prefix: str, *, home: str = "", below: str = "", ttl: int = 3_600) -> None:
    """Store a prefix record that names the nodes at these addresses."""
    values = [value(1, "HS_SITE", site(home), ttl=ttl)] if home else []
    values += [value(2, "HS_SITE.PREFIX", site(below), ttl=ttl)] if below else []
    node.hold(f"0.NA/{prefix}", *values)


class DelegationMemory:
    """What a driver remembers, without expiry."""

    def __init__(self, delegations: Iterable[Delegation] = ()) -> None:
        self.delegations = {delegation.prefix.key: delegation for delegation in delegations}

    def known(self, prefix: Prefix) -> Delegation | None:
        """As Resolution asks for it."""
        return self.delegations.get(prefix.key)

    def learn(self, delegation: Delegation) -> None:
        """As the client reports it."""
        self.delegations[delegation.prefix.key] = delegation


def question(name: str, *, types: tuple[str, ...] = (), authoritative: bool = False) -> Question:
    """A question for a handle."""
    return Question(handle=Handle.parse(name), types=types, authoritative=authoritative)


def resolution(
    name: str,
    memory: DelegationMemory | None = None,
    *,
    limits: Limits = DEFAULT_LIMITS,
    openings: tuple[Opening, ...] = (),
) -> Resolution:
    """A resolution that begins at ROOT."""
    return Resolution(
        question(name),
        root=service(ROOT),
        known=(memory or DelegationMemory()).known,
        limits=limits,
        openings=openings,
    )


def url_of(reply: Reply) -> str:
    """The first URL value of a reply, which must hold one."""
    assert isinstance(reply, Found)
    return next(found.data.decode() for found in reply.values if found.type == "URL")
