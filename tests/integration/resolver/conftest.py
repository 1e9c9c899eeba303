"""Fixtures of these tests: a hierarchy on loopback, and a recursive node that walks it."""

from collections.abc import AsyncIterator

import pytest

from resolver.daemon import RecursiveNode
from tests.integration.resolver.loopback import Hierarchy, running_hierarchy, running_node


@pytest.fixture
async def hierarchy() -> AsyncIterator[Hierarchy]:
    async with running_hierarchy() as hierarchy:
        yield hierarchy


@pytest.fixture
async def node(hierarchy: Hierarchy) -> AsyncIterator[RecursiveNode]:
    async with running_node(hierarchy.settings()) as node:
        yield node
