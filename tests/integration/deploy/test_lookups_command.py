"""`handlegrid lookups build`: what it prints, and how it ends."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.node import open_node
from registry.outcomes import OPERATOR
from registry.settings import load_registry_settings
from tests.integration.deploy.commanding import run_command
from tests.integration.registry.bench import creation, url
from tests.support.postgres import run_elsewhere
from tests.support.processes import settings_text
from tests.support.registries import registry_settings

Config = Callable[..., Path]


@pytest.fixture
def config(database: str, scratch: Path) -> Config:
    """Write the settings file of a node, with these changes."""

    def write(**changes: object) -> Path:
        path = scratch / "node.toml"
        path.write_text(settings_text(registry_settings(database, scratch, **changes)))
        return path

    return write


def test_records_from_before_are_entered_and_counted(config: Config) -> None:
    path = config()

    async def fill() -> None:
        async with open_node(load_registry_settings(path), unsafe=True) as node:
            await node.operations.create([creation("88.1/A", url("u"))], by=OPERATOR)

    run_elsewhere(fill)
    words = ("lookups", "build", "--config", str(path), "--unsafe")
    refused = run_command(words)
    assert (refused.code, 'reverse_lookup is "off"' in refused.err) == (2, True)
    config(reverse_lookup="open")
    told = run_command((*words, "--json"))
    assert (told.code, json.loads(told.out)) == (0, {"handles": 2, "resumed": False})
    assert "rows" in told.err
    assert run_command(words).out == "2 handles were looked at\n"
