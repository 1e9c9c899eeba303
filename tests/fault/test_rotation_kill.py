"""A rotation of the node key that is killed while its node runs: nothing is lost, and the next one goes on."""

import asyncio
import sys
from pathlib import Path

import asyncpg
import pytest

from protocol.value import HandleValue
from registry.key_rotation import KeyRotation, RotationRefused
from registry.outcomes import OPERATOR
from registry.writing import Row
from tests.integration.registry.bench import creation, secret
from tests.support.processes import settings_text
from tests.support.registries import RunningRegistry, running_registry
from tests.support.tree import ROOT

SECRETS = 10_000
"""Twenty transactions of a rotation, of some ten milliseconds each."""
LEFT = "SELECT count(*) FROM handles WHERE restricted_count > 0 AND sealing_key(restricted_values) = 1"


async def rotating(config: Path) -> asyncio.subprocess.Process:
    """The command, as an operator runs it."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "deploy.cli", "nodekey", "rotate", "--config", str(config), "--unsafe"),
        cwd=ROOT,
        stderr=asyncio.subprocess.DEVNULL,
    )


async def fill(plant: RunningRegistry) -> None:
    """Many secrets, sealed with the first key."""
    items = [creation(f"88.1/S-{n}", secret(f"hush {n}")) for n in range(SECRETS)]
    await plant.node.operations.create(items, by=OPERATOR)


async def check_all(plant: RunningRegistry) -> None:
    """Every secret opens to what it was."""
    context = plant.node.operations.context
    async with context.store.connection() as connection:
        records = await connection.fetch(
            "SELECT key, name, public_values, public_count, restricted_values, restricted_count, state, version,"
            " changed_ms FROM handles WHERE key LIKE '88.1/S-%'"
        )
    found = {row.name: context.values_of(row)[300] for row in (Row(*record) for record in records)}
    assert len(found) == SECRETS
    for n in range(SECRETS):
        assert HandleValue.decode(found[b"88.1/S-%d" % n]).data == b"hush %d" % n


async def test_a_rotation_that_is_killed_loses_nothing_and_goes_on(database: str, scratch: Path) -> None:
    async with running_registry(database, scratch) as plant:
        await fill(plant)
        config = scratch / "node.toml"
        config.write_text(settings_text(plant.node.settings))
        killed = await rotating(config)
        connection = await asyncpg.connect(database)
        while (left := await connection.fetchval(LEFT)) > SECRETS - 500:
            assert killed.returncode is None
        killed.kill()
        await killed.wait()
        left = await connection.fetchval(LEFT)
        assert 0 < left < SECRETS, "it was killed in the middle"
        await check_all(plant)
        rotation = KeyRotation(plant.node.operations, plant.node.settings.sealing_key_file(), settle_s=0)
        with pytest.raises(RotationRefused, match="sealed with key 1"):
            await rotation.retire()

        number, state = await rotation.rotate(lambda _: None)

        assert (number, state.held, state.broken) == (2, 0, set())
        assert state.done >= left
        assert await connection.fetchval(LEFT) == 0
        await connection.close()
        assert await rotation.retire() == (1,)
        await check_all(plant)
