"""Two nodes that move prefixes between them in small steps."""

from datetime import timedelta

import pytest

from registry.peers import applicants, enrolments, outbox, pages, service, upper_side
from tests.support.neighbours import Neighbours, neighbours
from tests.support.world import World


@pytest.fixture
async def pair(world: World, monkeypatch: pytest.MonkeyPatch) -> Neighbours:
    """Give a node that hosts 88.100.7 for an organisation, and a node of the organisation's own that is a stranger."""
    hurry(monkeypatch)
    return await neighbours(world, rooted=False)


@pytest.fixture
async def rooted(world: World, monkeypatch: pytest.MonkeyPatch) -> Neighbours:
    """Give the same below a root, where a recursive node finds them."""
    hurry(monkeypatch)
    return await neighbours(world)


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything that waits wait less, and moves take many small steps."""
    monkeypatch.setattr(pages, "PAGE_ROWS_MAX", 10)
    monkeypatch.setattr(service, "LEASE", timedelta(seconds=0.5))
    monkeypatch.setattr(service, "LETTERS_PERIOD_S", 0.1)
    monkeypatch.setattr(enrolments, "WAIT_MIN_S", 0.1)
    monkeypatch.setattr(applicants, "LOOK_AGAIN", timedelta(seconds=0.1))
    monkeypatch.setattr(applicants, "PROBE_AGAIN", timedelta(seconds=0.2))
    monkeypatch.setattr(outbox, "WAIT_MIN_S", 0.1)
    monkeypatch.setattr(upper_side, "POLL_S", 0.05)


@pytest.fixture
async def joined(pair: Neighbours) -> Neighbours:
    """Give the same, acquainted."""
    await pair.join()
    return pair
