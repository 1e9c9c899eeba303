"""Database connections: how many an operation takes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from protocol.handle import Handle
from protocol.value import HandleValue, ValueReference
from protocol.valuetypes import ValueReferences
from registry.outcomes import Created, Identity, Replaced
from registry.writing import Writing
from tests.integration.registry.bench import ADMINISTRATOR, Bench, admin, url


async def test_a_write_needs_one_connection_even_when_the_prefixes_change_meanwhile(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every connection in a write that waits for another one, none would come."""
    bench = await Bench.open(database, homes=("88.100",), connections_max=1)
    members = ValueReferences((ValueReference(b"88.100/ADMIN", 300),)).encode()
    group = HandleValue(index=200, type="HS_VLIST", data=members)
    await bench.home("88.100", admin(), group)
    crew = Identity(index=200, handle=Handle.parse("0.NA/88.100"))
    await bench.create("88.100/pump", url("x"), admin(crew))
    begin = bench.store.writing

    @asynccontextmanager
    async def writing_while_prefixes_change(*, commit: bool = True) -> AsyncIterator[Writing]:
        async with begin(commit=commit) as writing:
            bench.generations.bump_all()
            yield writing

    monkeypatch.setattr(bench.store, "writing", writing_while_prefixes_change)
    async with asyncio.timeout(30):
        changed = await bench.put("88.100/pump", url("y"), by=ADMINISTRATOR)
        allocated = await bench.create("0.NA/88.100.7", url("z"))

    assert isinstance(changed, Replaced)
    assert isinstance(allocated, Created)
    await bench.close()
