"""Fills a node: identifiers and allocated prefixes, made by the registry's own code, many to a transaction."""

from typing import Final

from benchmarks.registry_process import PARENT, PREFIX, REVIEWER, Enterprise
from protocol.handle import Handle, Prefix
from protocol.value import HandleValue, ValueList
from registry.allocation.lifecycle import Hosting
from registry.allocation.model import Wish
from registry.allocation.service import Allocation
from registry.homing import admin_value
from registry.initialise import administrator_of
from registry.node import Node, open_node
from registry.outcomes import COMMAND, OPERATOR, Created, Creation
from registry.settings import RegistrySettings

BATCH: Final = 10_000
PREFIXES_AT_ONCE: Final = 50


def identifier(number: int) -> str:
    """The name of one."""
    return f"{PREFIX}/PUMP-{number:09}"


async def fill(
    settings: RegistrySettings, enterprise: Enterprise, *, identifiers: int, prefixes: int
) -> None:
    """Register so many identifiers below PREFIX and allocate so many prefixes beside it, then refresh statistics."""
    async with open_node(settings) as node:
        for first in range(0, identifiers, BATCH):
            await _register(node, range(first, min(first + BATCH, identifiers)))
        allocation = Allocation.of(node.operations, settings, node.site)
        for first in range(0, prefixes, PREFIXES_AT_ONCE):
            await _allocate(node, allocation, enterprise, min(PREFIXES_AT_ONCE, prefixes - first))
        async with node.store.connection() as connection:
            await connection.execute("VACUUM ANALYZE")
            await connection.execute("CHECKPOINT")


async def _register(node: Node, numbers: range) -> None:
    administrator = admin_value(administrator_of(Prefix.parse(PREFIX)))
    batch = [
        Creation(
            Handle.parse(identifier(number)),
            ValueList.of(
                [
                    HandleValue(index=1, type="URL", data=b"https://plant.example/products/%09d" % number),
                    HandleValue(index=2, type="DESC", data=b"Centrifugal pump of series %d" % (number % 31)),
                    administrator,
                ]
            ),
        )
        for number in numbers
    ]
    async with node.operations.transaction(COMMAND) as tx:
        results = await tx.create(batch, by=OPERATOR)
    assert all(isinstance(result, Created) for result in results)


async def _allocate(node: Node, allocation: Allocation, enterprise: Enterprise, count: int) -> None:
    wish = Wish(
        organisation=enterprise.organisation,
        parent=Prefix.parse(PARENT),
        label=None,
        hosting=Hosting.HOSTED,
        purpose="products",
    )
    async with node.operations.transaction(COMMAND) as tx:
        applied = [await allocation.apply(tx, wish) for _ in range(count)]
    async with node.operations.transaction(REVIEWER) as tx:
        for one in applied:
            await allocation.review(tx, one.id, approve=True, reason="")
            await allocation.allocate(tx, one.id)
