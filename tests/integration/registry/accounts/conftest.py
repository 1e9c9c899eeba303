"""Accounts on a real database."""

import pytest

from tests.integration.registry.accounts.office import Office
from tests.integration.registry.bench import Bench


@pytest.fixture
def office(bench: Bench) -> Office:
    """Give the accounts of a node that homes 88.100."""
    return Office(bench)
