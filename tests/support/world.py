"""World: hierarchies on the test's own event loop, with real sockets and real databases.

Every node has a loopback address of its own, and a tap at another one on the same ports; the node's site record
names the tap, so that a test sees and may spoil everything that reaches the node.
"""

import asyncio
import random
from base64 import b64encode
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import aiohttp

from protocol.client.bootstrap import write_bundle
from protocol.codes import DEFAULT_FLAGS
from protocol.handle import Handle, Prefix
from protocol.jsonform import value_to_json
from protocol.message import Message
from protocol.site import Site
from protocol.value import HandleValue, ValueList, ValueReference
from protocol.valuetypes import Admin
from registry.daemon import RegistryNode
from registry.delegation import accept, allocate, read_authorisation, write_authorisation
from registry.initialise import ADMIN_SECRET_FILE, SERVER_KEY_FILE
from registry.node import open_node
from registry.outcomes import OPERATOR, Creation, Found, Rejected
from registry.settings import RegistrySettings
from resolver.daemon import RecursiveNode
from resolver.settings import ForwardRule, OpenNetwork, ResolverSettings
from tests.support.asking import Address, Answered, ask_tcp, ask_udp, resolution
from tests.support.postgres import TestPostgres
from tests.support.scratch import free_port
from tests.support.server_keys import give_server_key
from tests.support.tap import Tap, Weather
from tests.support.valkey import TestValkey

ROOT_HOMES: Final = ("0.0", "0.NA")
MESSAGE_TYPE: Final = "application/x-hdl-message"
LOOPBACK_OPEN: Final = (
    OpenNetwork(network="127.0.0.0/8", prefixes=("*",)),
    OpenNetwork(network="::1/128", prefixes=("*",)),
)


def url_value(url: str, *, index: int = 1, ttl: int = 86_400) -> HandleValue:
    """Return a URL value."""
    return HandleValue(index=index, type="URL", data=url.encode(), ttl=ttl)


class TestNode:
    """One registry node."""

    __test__ = False

    def __init__(self, world: "World", settings: RegistrySettings, tap: Tap | None) -> None:
        self.settings = settings
        self.node = RegistryNode(settings, unsafe=True)
        self._world = world
        self._tap = tap

    @property
    def tap(self) -> Tap:
        """What stands between the world and the node."""
        assert self._tap is not None, "this node has none"
        return self._tap

    @property
    def prefix(self) -> Prefix:
        """The first prefix that the node homes."""
        return self.settings.home_prefixes()[0]

    @property
    def address(self) -> Address:
        """Where the node itself listens for UDP and TCP."""
        return self.settings.listen_addresses[0], self.settings.handle_port

    @property
    def http(self) -> str:
        """The node's HTTP address without a path."""
        return http_url(self.settings.listen_addresses[0], self.settings.http_port)

    @property
    def secret(self) -> str:
        """The administrator's secret."""
        return (self.settings.data_dir / ADMIN_SECRET_FILE).read_text(encoding="ascii").strip()

    @property
    def administrator(self) -> str:
        """The administrator's identity."""
        return f"300:{self.prefix}/ADMIN"

    @property
    def authorization(self) -> dict[str, str]:
        """The header that authenticates the administrator."""
        user = self.administrator.replace("%", "%25").replace(":", "%3A")
        return {"Authorization": "Basic " + b64encode(f"{user}:{self.secret}".encode()).decode()}

    async def start(self) -> None:
        """Start the node, again after `stop` too."""
        await self.node.start()

    async def stop(self) -> None:
        """Stop the node; its tap goes on listening."""
        await self.node.stop()

    async def site(self) -> Site:
        """Return the node's site record."""
        async with open_node(self.settings, unsafe=True) as opened:
            return opened.site

    async def create(self, handle: str, *values: HandleValue, url: str = "", ttl: int = 86_400) -> None:
        """Register a handle over HTTP, with an administrator of the node."""
        admin = Admin(ValueReference(f"{self.prefix}/ADMIN".encode(), 300)).encode()
        everything = [*values, HandleValue(index=100, type="HS_ADMIN", data=admin)]
        if url:
            everything.insert(0, url_value(url, ttl=ttl))
        status, reply = await self.put(handle, everything)
        assert status in {200, 201}, reply

    async def put(self, handle: str, values: Iterable[HandleValue], **query: str) -> tuple[int, Any]:
        """PUT values; returns the status and the JSON reply."""
        form = {"values": [value_to_json(value) for value in values]}
        return await self.request("PUT", handle, json=form, params=query)

    async def delete(self, handle: str, **query: str) -> tuple[int, Any]:
        """DELETE a handle; returns the status and the JSON reply."""
        return await self.request("DELETE", handle, params=query)

    async def request(self, method: str, handle: str, **options: Any) -> tuple[int, Any]:
        """Make an authenticated request about a handle."""
        url = f"{self.http}/api/handles/{Handle.parse(handle).percent_encode()}"
        session = self._world.session
        async with session.request(method, url, headers=self.authorization, **options) as response:
            return response.status, await response.json()

    async def tunnel(self, octets: bytes) -> bytes:
        """POST a binary message; returns the body of the answer."""
        headers = {"Content-Type": MESSAGE_TYPE, "Accept": MESSAGE_TYPE}
        async with self._world.session.post(f"{self.http}/", data=octets, headers=headers) as response:
            assert response.status == 200
            return await response.read()

    async def store(self, records: Mapping[str, Iterable[HandleValue]]) -> None:
        """Store records as the operator of the node's host does, whatever their administrators."""
        batch = [
            Creation(Handle.parse(handle), ValueList.of(list(values))) for handle, values in records.items()
        ]
        async with open_node(self.settings, unsafe=True) as opened:
            results = await opened.operations.create(batch, by=OPERATOR, replace=True)
        refused = [result for result in results if isinstance(result, Rejected)]
        assert not refused, refused

    async def ask(self, handle: str | bytes, **options: Any) -> Answered:
        """Ask the node itself over UDP."""
        return await ask_udp(self.address, resolution(handle, **options))


class TestResolver:
    """One recursive node."""

    __test__ = False

    def __init__(self, world: "World", settings: ResolverSettings) -> None:
        self.settings = settings
        self.node = RecursiveNode(settings)
        self._world = world

    @property
    def address(self) -> Address:
        """Where the node listens for UDP and TCP."""
        return self.settings.listen_addresses[0], self.settings.handle_port

    @property
    def endpoint(self) -> str:
        """The address as a setting spells it."""
        host, port = self.address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def http(self) -> str:
        """The node's HTTP address without a path."""
        return http_url(self.settings.listen_addresses[0], self.settings.http_port)

    async def start(self) -> None:
        """Start the node, again after `stop` too, with empty caches."""
        await self.node.start()

    async def stop(self) -> None:
        """Stop the node."""
        await self.node.stop()

    async def ask(self, handle: str | bytes, *, flags: int = DEFAULT_FLAGS, **options: Any) -> Answered:
        """Ask over UDP."""
        return await ask_udp(self.address, resolution(handle, flags=flags, **options))

    async def ask_tcp(self, handle: str | bytes, **options: Any) -> Answered:
        """Ask over TCP."""
        return await ask_tcp(self.address, resolution(handle, **options))

    async def get(self, path: str, **options: Any) -> tuple[int, Mapping[str, str], bytes]:
        """GET a path without following redirects; returns status, headers and body."""
        async with self._world.session.get(
            f"{self.http}{path}", allow_redirects=False, **options
        ) as response:
            return response.status, response.headers, await response.read()


class World:
    """What a test builds; everything in it ends with the test."""

    def __init__(self, postgres: TestPostgres, scratch: Path) -> None:
        self._postgres = postgres
        self._scratch = scratch
        self._network = f"127.{random.randint(16, 250)}.{random.randint(0, 255)}"
        self._numbers = iter(range(1, 100))
        self._stack = AsyncExitStack()
        self._root: TestNode | None = None
        self._session: aiohttp.ClientSession | None = None
        self.taps: list[Tap] = []
        """The taps of all nodes, in the order in which the nodes were made."""

    @property
    def session(self) -> aiohttp.ClientSession:
        """An HTTP client."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
            self._stack.push_async_callback(_close_session, self._session)
        return self._session

    @property
    def bundle(self) -> Path:
        """The root bundle, written by `root`."""
        return self._scratch / "root.json"

    def new_address(self) -> Address:
        """Return an address and a free port for a server of the test's own."""
        host = f"{self._network}.{next(self._numbers)}"
        return host, free_port(host)

    def exchanges(self) -> list[Message]:
        """Return all requests that reached registry nodes over UDP since `forget`, retransmissions left out."""
        return [request for tap in self.taps for request in tap.requests]

    def forget(self) -> None:
        """Forget what the taps have seen."""
        for tap in self.taps:
            tap.clear()

    async def root(self, **settings: Any) -> TestNode:
        """Start the root node and write its bundle; the same node at the second call."""
        if self._root is None:
            self._root = await self._node("root", ROOT_HOMES, settings)
            await self.write_bundle()
        return self._root

    async def lone(self, *homes: str, **settings: Any) -> TestNode:
        """Start a node that homes prefixes which nobody delegated to it."""
        return await self._node(homes[0], homes, settings)

    async def write_bundle(self) -> None:
        """Write the root bundle from the root node's records."""
        assert self._root is not None
        name = Handle.parse("0.NA/0.NA")
        async with open_node(self._root.settings, unsafe=True) as opened:
            record = await opened.operations.resolve(name)
        assert isinstance(record, Found), record
        write_bundle(self.bundle, {name: record.values})

    async def registry(
        self, *, prefix: str, under: TestNode, weather: Weather | None = None, **settings: Any
    ) -> TestNode:
        """Start a node that homes a prefix, which the node `under` delegates to it."""
        child = await self._node(prefix, (prefix,), settings, weather)
        await self.delegate(prefix, child, under=under)
        return child

    async def delegate(self, prefix: str, child: TestNode, *, under: TestNode) -> None:
        """Allocate a prefix on its parent's node and accept it on the child's, by way of a file."""
        path = self._scratch / f"{prefix}.authorisation.json"
        async with open_node(under.settings, unsafe=True) as opened:
            site = await child.site()
            write_authorisation(path, await allocate(opened.operations, Prefix.parse(prefix), site))
        async with open_node(child.settings, unsafe=True) as opened:
            await accept(opened.operations, read_authorisation(path))

    async def delegate_to_site(self, prefix: str, site: Site, *, under: TestNode) -> None:
        """Allocate a prefix to a site of the test's own making."""
        async with open_node(under.settings, unsafe=True) as opened:
            await allocate(opened.operations, Prefix.parse(prefix), site)

    async def chain(self, *prefixes: str) -> list[TestNode]:
        """Start the root and one node for each prefix, each below the one before."""
        nodes = [await self.root()]
        for prefix in prefixes:
            nodes.append(await self.registry(prefix=prefix, under=nodes[-1]))
        return nodes

    async def resolver(
        self,
        *,
        redis: TestValkey | None = None,
        forward_to: "TestResolver | Iterable[TestResolver] | Mapping[str, TestResolver]" = (),
        **settings: Any,
    ) -> TestResolver:
        """Start a recursive node; forward_to: where to everything goes, or what goes where."""
        node = TestResolver(self, self._resolver_settings(redis, _rules(forward_to), settings))
        await node.start()
        self._stack.push_async_callback(node.stop)
        return node

    async def close(self) -> None:
        """End everything, the last first."""
        await self._stack.aclose()

    def _resolver_settings(
        self, redis: TestValkey | None, rules: tuple[ForwardRule, ...], changes: dict[str, Any]
    ) -> ResolverSettings:
        number = next(self._numbers)
        host = f"{self._network}.{number}"
        key_file = self._scratch / f"resolver-{number}.key"
        give_server_key(key_file, number)
        addresses = changes.pop("listen_addresses", (host,))
        settings = {
            "name": f"resolver-{number}",
            "root_site_file": self.bundle,
            "server_key_file": key_file,
            "listen_addresses": addresses,
            "handle_port": free_port(*addresses),
            "http_port": free_port(*addresses),
            "admin_port": 0,
            "open_networks": LOOPBACK_OPEN,
            "forwarding": rules,
            "redis_url": redis.url if redis else "",
            "redis_timeout_s": 1.0,  # two busy cores
        }
        return ResolverSettings(**(settings | changes))

    async def _node(
        self, name: str, homes: tuple[str, ...], changes: dict[str, Any], weather: Weather | None = None
    ) -> TestNode:
        number = next(self._numbers)
        own, public = f"{self._network}.{number}", f"{self._network}.{number + 100}"
        addresses = changes.pop("listen_addresses", (own,))
        tapped = addresses == (own,)
        handle_port = free_port(*addresses, *([public] if tapped else []))
        database = changes.pop("database", None) or self._database()
        settings = RegistrySettings(
            **{
                "name": name,
                "data_dir": self._scratch / f"node-{number}",
                "homes": homes,
                "database": database,
                "listen_addresses": addresses,
                "public_addresses": (public,) if tapped else (),
                "handle_port": handle_port,
                "http_port": free_port(*addresses),
                "admin_port": 0,
                "plain_http_credentials": "loopback",
                "statistics_interval_s": 1.0,
                "database_connections_max": 5,
            }
            | changes
        )
        settings.data_dir.mkdir(mode=0o700)
        give_server_key(settings.data_dir / SERVER_KEY_FILE, number)
        tap = await self._open_tap((public, handle_port), (own, handle_port), weather) if tapped else None
        node = TestNode(self, settings, tap)
        await node.start()
        self._stack.push_async_callback(node.stop)
        return node

    def _database(self) -> str:
        dsn = self._postgres.database()
        self._stack.callback(self._postgres.drop, dsn)
        return dsn

    async def _open_tap(self, at: Address, to: Address, weather: Weather | None) -> Tap:
        tap = Tap(at=at, to=to, weather=weather)
        await tap.start()
        self._stack.push_async_callback(tap.stop)
        self.taps.append(tap)
        return tap


def _rules(
    forward_to: "TestResolver | Iterable[TestResolver] | Mapping[str, TestResolver]",
) -> tuple[ForwardRule, ...]:
    if isinstance(forward_to, TestResolver):
        forward_to = (forward_to,)
    if isinstance(forward_to, Mapping):
        return tuple(
            ForwardRule(prefix=prefix, addresses=(node.endpoint,)) for prefix, node in forward_to.items()
        )
    addresses = tuple(node.endpoint for node in forward_to)
    return (ForwardRule(prefix="*", addresses=addresses),) if addresses else ()


def http_url(host: str, port: int) -> str:
    """Return the base of URLs at an address."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _close_session(session: aiohttp.ClientSession) -> None:
    await session.close()
    await asyncio.sleep(0.05)  # lets transports finish closing, which aiohttp does not wait for
