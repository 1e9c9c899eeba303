"""A node that allocates, on a real database, without listeners."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.registry.allocation.office import Office


@pytest.fixture
async def office(database: str) -> AsyncIterator[Office]:
    """Give a node that homes 88.100 and allocates below it, with two approved organisations."""
    made = await Office.open(database)
    yield made
    await made.bench.close()
