"""A node's operations on a test database, and short words for what tests do with them."""

from collections.abc import Callable, Sequence
from typing import Self

import asyncpg

from protocol.generations import Generations
from protocol.handle import Handle, Prefix
from protocol.value import DEFAULT_PERMISSIONS, SECRET_PERMISSIONS, HandleValue, ValueList, ValueReference
from protocol.valuetypes import ALL_PERMISSIONS, Admin
from registry.lookups import LookupTypes
from registry.node_keys import NodeKeys
from registry.operations import Operations
from registry.outcomes import COMMAND, OPERATOR, Actor, Answer, Creation, Found, Identity, Result
from registry.prefixes import Prefixes, PrefixRow
from registry.seal import Sealer
from registry.store import Store

NODE_KEY = bytes(range(32))
ADMINISTRATOR = Identity(index=300, handle=Handle.parse("88.100/ADMIN"))
STRANGER = Identity(index=300, handle=Handle.parse("88.100/STRANGER"))


def url(address: str, index: int = 1, *, permissions: int = DEFAULT_PERMISSIONS) -> HandleValue:
    """A URL value."""
    return HandleValue(index=index, type="URL", data=address.encode(), permissions=permissions)


def admin(identity: Identity = ADMINISTRATOR, rights: int = ALL_PERMISSIONS, index: int = 100) -> HandleValue:
    """An HS_ADMIN value."""
    reference = ValueReference(identity.handle.octets, identity.index)
    return HandleValue(index=index, type="HS_ADMIN", data=Admin(reference, rights).encode())


def secret(text: str, index: int = 300) -> HandleValue:
    """An HS_SECKEY value that only administrators may read."""
    return HandleValue(index=index, type="HS_SECKEY", data=text.encode(), permissions=SECRET_PERMISSIONS)


def creation(name: str, *values: HandleValue) -> Creation:
    """A record to create."""
    return Creation(Handle.parse(name), ValueList.of(values))


class Bench:
    """One node."""

    def __init__(self, store: Store, dsn: str) -> None:
        self.store = store
        self.dsn = dsn
        self.now_s = 1_800_000_000.0
        self.generations = Generations()
        self.sealer = Sealer(NodeKeys.first(NODE_KEY))
        self.prefixes = Prefixes(store.prefix_rows, self.generations)
        self.operations = self.make_operations()

    @classmethod
    async def open(
        cls, dsn: str, *, homes: Sequence[str], connections_max: int = 8, lookups: Sequence[str] = ()
    ) -> Self:
        """Open a node that homes these prefixes; 300:88.100/ADMIN administers them."""
        store = await Store.open(
            dsn, connections_max=connections_max, unsafe=True, lookups=LookupTypes.of(lookups)
        )
        bench = cls(store, dsn)
        for home in homes:
            await bench.home(home)
        return bench

    async def home(self, name: str, *authorisation: HandleValue, organisation: str | None = None) -> None:
        """Home a prefix; by default 300:88.100/ADMIN administers it."""
        prefix = Prefix.parse(name)
        row = PrefixRow(
            key=prefix.key,
            name=prefix.octets,
            homed=True,
            authorisation=ValueList.of(authorisation or [admin()]),
            organisation=organisation,
        )
        async with self.operations.transaction(COMMAND) as transaction:
            await transaction.save_prefix(row)

    def make_operations(
        self, *, case_sensitive: bool = False, on_limit: Callable[[str], None] | None = None
    ) -> Operations:
        """Operations on this node's parts."""
        return Operations(
            store=self.store,
            prefixes=self.prefixes,
            sealer=self.sealer,
            generations=self.generations,
            wall_clock=lambda: self.now_s,
            case_sensitive=case_sensitive,
            on_limit=on_limit,
        )

    async def close(self) -> None:
        """Close the database."""
        await self.store.close()

    async def create(
        self,
        name: str,
        *values: HandleValue,
        by: Actor = OPERATOR,
        replace: bool = False,
        inherit_admin: bool = False,
    ) -> Result:
        """Create one record."""
        (result,) = await self.operations.create(
            [creation(name, *values)], by=by, replace=replace, inherit_admin=inherit_admin
        )
        return result

    async def put(
        self, name: str, *values: HandleValue, by: Actor = OPERATOR, overwrite: bool = True
    ) -> Result:
        """Put values into a record."""
        return await self.operations.put_values(
            Handle.parse(name), ValueList.of(values), by=by, overwrite=overwrite
        )

    async def ask(self, name: str, reader: Actor | None = None, *, refer: bool = True) -> Answer:
        """Resolve a whole record."""
        return await self.operations.resolve(Handle.parse(name), reader=reader, refer=refer)

    async def values(self, name: str, reader: Actor | None = None) -> list[HandleValue]:
        """The values of a record that is there."""
        answer = await self.ask(name, reader)
        assert isinstance(answer, Found), answer
        return list(answer.values)

    async def log(self) -> list[tuple[bytes, int, int]]:
        """Name, action and version of every row of the transaction log."""
        async with self.store.connection() as connection:
            records = await connection.fetch(
                "SELECT name, action, version FROM transaction_log ORDER BY changed_ms, name"
            )
        return [(record[0], record[1], record[2]) for record in records]

    async def connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        """A connection beside the node's own; close it."""
        return await asyncpg.connect(self.dsn)
