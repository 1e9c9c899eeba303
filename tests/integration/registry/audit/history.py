"""A small history of a node, numbered, whose rows tests may damage and put back."""

from collections.abc import Sequence
from typing import Any, Final

import asyncpg
from msgspec.structs import replace

from protocol.handle import Handle
from registry.audit.checkpoints import Checkpoint
from registry.audit.entry import ENTRY_COLUMNS, FIRST_LINK, Entry, link
from registry.audit.faults import Report
from registry.audit.head import HEAD_FACT, Head
from registry.audit.numbering import SESSION_SETTINGS, Connection, Numbering
from registry.audit.verify import verify
from registry.outcomes import OPERATOR, SYSTEM, Origin
from tests.integration.registry.bench import Bench, creation, url

TABLES: Final = {
    "audit_log": ENTRY_COLUMNS,
    "audit_chain": ("number", "xact", "id", "chain", "log_number"),
    "transaction_log": ("entry", "position", "key", "name", "action", "version", "changed_ms"),
}
KEYS: Final = {"audit_log": 2, "audit_chain": 1, "transaction_log": 2}
"""How many columns of each name a row."""
TENANT: Final = Origin(actor="key_one", organisation="org_one", via="api", request_id="request-1")

Rows = list[tuple[Any, ...]]


async def act_out(bench: Bench) -> None:
    """Single changes, a batch, several acts of one transaction, and acts without any change of a handle."""
    for name in ("pump-1", "pump-2"):
        await bench.create(f"88.100/{name}", url(f"https://plant.example/{name}"))
    batch = [creation(f"88.100/valve-{number}", url("https://plant.example/")) for number in range(4)]
    await bench.operations.create(batch, by=OPERATOR, origin=TENANT)
    await bench.put("88.100/pump-1", url("https://plant.example/other"))
    async with bench.operations.transaction(TENANT) as transaction:
        transaction.audit("organisation.review", "org_one", detail={"reason": "地址不完整"})
        await transaction.delete([Handle.parse("88.100/pump-2")], by=OPERATOR)
    async with bench.operations.transaction(SYSTEM) as transaction:
        transaction.audit("prefix.suspend", "88.100.7", organisation="org_two", detail={"reason": "unpaid"})
    await bench.operations.delete([Handle.parse("88.100/pump-1")], by=OPERATOR)


async def number(connection: Connection) -> Head:
    """Number everything that is complete."""
    numbering = Numbering(connection, wall_clock=lambda: 1_800_000_000.0)
    await numbering.start()
    while await numbering.step():
        pass
    return numbering.head


class History:
    """What stands in the tables of the audit, in memory and in the database."""

    def __init__(self, connection: Connection, rows: dict[str, Rows], head: Head) -> None:
        self.connection = connection
        self.rows = rows
        self.head = head

    @classmethod
    async def make(cls, bench: Bench) -> "History":
        """Act a history out on a node and number it; close its connection."""
        await act_out(bench)
        connection = await asyncpg.connect(bench.dsn, server_settings=SESSION_SETTINGS)
        head = await number(connection)
        rows = {table: await read_rows(connection, table) for table in TABLES}
        return cls(connection, rows, head)

    @property
    def checkpoint(self) -> Checkpoint:
        """The head as it was noted outside the database."""
        return Checkpoint(number=self.head.number, chain=self.head.chain, time="2027-01-15T08:00:00Z")

    async def put_back(self, rows: dict[str, Rows] | None = None, head: Head | None = None) -> None:
        """Make the tables hold these rows; what they held at the beginning when None."""
        await self.connection.execute(f"TRUNCATE {', '.join(TABLES)}")
        for table, content in (rows or self.rows).items():
            await self.connection.copy_records_to_table(table, records=content, columns=TABLES[table])
        stored = (head or self.head).encode()
        await self.connection.execute("UPDATE node SET value = $2 WHERE name = $1", HEAD_FACT, stored)

    async def verify(self, checkpoints: Sequence[Checkpoint] = ()) -> Report:
        """Verify what stands in the database."""
        return await verify(self.connection, checkpoints=checkpoints)

    async def forge(
        self, rows: dict[str, Rows], *, numbered: int | None = None, position: int | None = None
    ) -> None:
        """Store rows with a chain and a head that agree with them, as somebody would who knows how.

        numbered: how many of the entries get a number; all when None.
        """
        chain, links, log_number = FIRST_LINK, [], 0
        for place, row in enumerate(rows["audit_log"][:numbered], 1):
            entry = Entry(*row)
            chain = link(chain, entry)
            log_number += entry.items
            links.append((place, entry.xact, entry.id, chain, log_number))
        head = replace(
            self.head,
            number=len(links),
            chain=chain,
            log_number=log_number,
            position=self.head.position if position is None else position,
        )
        await self.put_back({**rows, "audit_chain": links}, head)


async def read_rows(connection: Connection, table: str) -> Rows:
    """Every row of a table, in the order of what names it."""
    columns = ", ".join(TABLES[table])
    order = ", ".join(TABLES[table][: KEYS[table]])
    records = await connection.fetch(f"SELECT {columns} FROM {table} ORDER BY {order}")  # noqa: S608
    return [tuple(record) for record in records]
