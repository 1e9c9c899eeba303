"""A registry node with real sockets and a real database, and clients that speak the Handle protocol with it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from protocol.codes import OpCode
from protocol.value import DEFAULT_PERMISSIONS, SECRET_PERMISSIONS, HandleValue
from registry.daemon import RegistryNode
from tests.integration.registry.bench import url
from tests.support.handle_client import HandleClient, Proof, Reply, Transport
from tests.support.postgres import TestPostgres
from tests.support.registries import running_registry
from tests.support.scratch import scratch_directory

ADMIN = "88.1/ADMIN"
STRANGER = "88.1/STRANGER"
_numbers = count(1)


class Wired:
    """A running node, and clients of it."""

    def __init__(self, node: RegistryNode) -> None:
        self.node = node
        self.secret = (node.settings.data_dir / "admin.secret").read_bytes().strip()

    @property
    def admin(self) -> Proof:
        """The node's administrator, by secret."""
        return Proof(ADMIN, secret=self.secret)

    def client(self, transport: Transport = "tcp", proof: Proof | None = None) -> HandleClient:
        """A client of the node; by default nobody."""
        places = self.node.addresses
        address = {"udp": places.udp, "tcp": places.tcp, "http": places.http}[transport][0]
        return HandleClient(address, transport, proof)

    def writer(self, transport: Transport = "tcp") -> HandleClient:
        """A client that is the node's administrator."""
        return self.client(transport, self.admin)

    async def created(self, *values: HandleValue) -> str:
        """The name of a new record."""
        name = fresh()
        reply = await self.writer().create(name, *(values or (url("https://plant.example/7"),)))
        assert reply.rc == 1, reply.text
        return name

    def metric(self, name: str, **labels: str) -> float:
        """What a counter of the node says."""
        return self.node.collectors.get_sample_value(name, labels) or 0.0


def fresh(start: str = "pump") -> str:
    """A name below the node's prefix that no other test uses."""
    return f"88.1/{start}-{next(_numbers)}"


def restricted(text: str, index: int = 2) -> HandleValue:
    """A value for administrators."""
    return HandleValue(index=index, type="DESC", data=text.encode(), permissions=SECRET_PERMISSIONS)


def open_to_all(text: str, index: int = 1, *, type_name: str = "DESC") -> HandleValue:
    """A value that anybody may change."""
    return HandleValue(index=index, type=type_name, data=text.encode(), permissions=DEFAULT_PERMISSIONS | 1)


@asynccontextmanager
async def wired(postgres: TestPostgres, **settings: Any) -> AsyncIterator[Wired]:
    """Run a node that homes 88.1, with an administrator of its own who has a secret (300) and an RSA key (301)."""
    dsn = postgres.database()
    try:
        with scratch_directory() as scratch:
            changes = {"server_admins": [f"300:{ADMIN}"], "udp_administration": True, **settings}
            async with running_registry(dsn, scratch, **changes) as running:
                yield Wired(running.node)
    finally:
        postgres.drop(dsn)


async def listed(client: HandleClient, name: str = "0.NA/88.1") -> Reply:
    """The handles of a prefix."""
    return await client.about(OpCode.LIST_HANDLES, name)
