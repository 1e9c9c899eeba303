"""Accounts on a real database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from registry.api.table import ROUTES
from registry.outcomes import COMMAND
from tests.integration.registry.accounts.office import Office
from tests.integration.registry.api.harness import Front, running_front
from tests.integration.registry.bench import Bench


@pytest.fixture
def office(bench: Bench) -> Office:
    """Give the accounts of a node that homes 88.100."""
    return Office(bench)


@pytest.fixture
async def front(database: str, scratch: Path) -> AsyncIterator[Front]:
    """Give a running API, and the token of an operator."""
    async with running_front(
        database, scratch, ROUTES, plain_http_credentials="loopback", homes=("88.100",)
    ) as made:
        async with made.services.operations.transaction(COMMAND) as tx:
            made.token = (await made.services.accounts.make_operator_key(tx)).token
        yield made
