"""A registry on a real database, without listeners."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.registry.bench import Bench


@pytest.fixture
async def bench(database: str) -> AsyncIterator[Bench]:
    """Give a node that homes 88.100, on a database of its own."""
    made = await Bench.open(database, homes=("88.100",))
    yield made
    await made.close()


@pytest.fixture
async def root(database: str) -> AsyncIterator[Bench]:
    """Give a node that homes 0.0 and 0.NA."""
    made = await Bench.open(database, homes=("0.0", "0.NA"))
    yield made
    await made.close()
