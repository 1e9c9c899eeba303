"""A node with accounts, and somebody who types commands."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.deploy.commanding import Desk, at_desk
from tests.integration.deploy.people import prepare


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what whoever runs the tests has set for commands of his own."""
    for name in ("HANDLEGRID_URL", "HANDLEGRID_API_KEY", "HANDLEGRID_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def desk(database: str, tmp_path: Path) -> AsyncIterator[Desk]:
    """Give somebody at a terminal beside the node of the sample enterprise."""
    async with at_desk(database, tmp_path) as desk:
        yield desk


@pytest.fixture
async def industry(database: str, tmp_path: Path) -> AsyncIterator[Desk]:
    """Give somebody at a terminal beside a secondary node, 88.100."""
    async with at_desk(database, tmp_path, "88.100") as desk:
        yield desk


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Give a directory with the files that people prepare."""
    return prepare(tmp_path / "files")
