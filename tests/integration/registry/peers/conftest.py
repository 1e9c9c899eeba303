"""Two nodes that move prefixes between them in small steps."""

from datetime import timedelta

import pytest

from registry.peers import pages, service
from tests.support.neighbours import Neighbours, neighbours
from tests.support.world import World


@pytest.fixture
async def pair(world: World, monkeypatch: pytest.MonkeyPatch) -> Neighbours:
    """Give a node that hosts 88.100.7 for an organisation, and a node of the organisation's own that is a stranger."""
    monkeypatch.setattr(pages, "PAGE_ROWS_MAX", 10)
    monkeypatch.setattr(service, "LEASE", timedelta(seconds=0.5))
    return await neighbours(world)


@pytest.fixture
async def joined(pair: Neighbours) -> Neighbours:
    """Give the same, acquainted."""
    await pair.join()
    return pair
