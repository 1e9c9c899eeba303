"""A node with accounts, and somebody who types commands."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.deploy.commanding import Desk, at_desk


@pytest.fixture
async def desk(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    """Give somebody at a terminal beside a running node."""
    for name in ("HANDLEGRID_URL", "HANDLEGRID_API_KEY", "HANDLEGRID_HOME"):
        monkeypatch.delenv(name, raising=False)
    async with at_desk(database, tmp_path) as desk:
        yield desk
