"""A node on which two organisations hold prefixes, on a real database, without listeners."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.registry.identifiers.plant import Plant


@pytest.fixture
async def plant(database: str) -> AsyncIterator[Plant]:
    """Give a node that hosts 88.100.1 for ACME and 88.100.2 for RIVAL."""
    made = await Plant.open(database)
    yield made
    await made.bench.close()
