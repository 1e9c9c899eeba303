"""Keys and the sample enterprise that `handlegrid up` makes, in a real node's database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from deploy.local.accounts import ensure_enterprise, ensure_operator_key
from deploy.local.deployment import ENTERPRISE_KEY, NODES, OPERATOR_KEY, Deployment
from deploy.local.sample import PREFIX
from registry.accounts.roles import ROLE_RIGHTS, Caller, Role
from registry.accounts.service import HOST, Accounts
from registry.node import Node, open_node
from registry.outcomes import COMMAND
from registry.settings import RegistrySettings
from tests.support.registries import registry_settings

KEY_OF_PREFIX = PREFIX.encode()


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    deployment = Deployment(tmp_path)
    deployment.create_directories()
    return deployment


@pytest.fixture
def settings(database: str, tmp_path: Path) -> RegistrySettings:
    return registry_settings(database, tmp_path, homes=[PREFIX])


@asynccontextmanager
async def opened(settings: RegistrySettings) -> AsyncIterator[Node]:
    async with open_node(settings, unsafe=True) as node:
        yield node


def token_in(path: Path) -> str:
    return path.read_text().strip()


async def holder(node: Node, path: Path) -> Caller:
    caller = await Accounts(node.operations).authenticate(token_in(path))
    assert caller is not None
    return caller


async def test_the_operator_of_a_node_gets_a_key_in_a_private_file(
    deployment: Deployment, settings: RegistrySettings
) -> None:
    async with opened(settings) as node:
        assert await ensure_operator_key(deployment, PREFIX, node)

        path = deployment.key_file(PREFIX, OPERATOR_KEY)
        caller = await holder(node, path)

    assert path.stat().st_mode & 0o777 == 0o600
    assert (caller.organisation, caller.rights) == (None, ROLE_RIGHTS[Role.OPERATOR])


async def test_the_enterprise_holds_the_sample_prefix_and_no_other(
    deployment: Deployment, settings: RegistrySettings
) -> None:
    async with opened(settings) as node:
        assert await ensure_enterprise(deployment, node)

        path = deployment.key_file(PREFIX, ENTERPRISE_KEY)
        caller = await holder(node, path)
        accounts = Accounts(node.operations)
        async with node.store.connection() as connection:
            assert caller.organisation is not None
            organisation = await accounts.organisations.get(connection, HOST, caller.organisation)

    assert path.stat().st_mode & 0o777 == 0o600
    assert organisation.review.value == "approved"
    assert caller.prefixes == frozenset({KEY_OF_PREFIX})
    assert caller.rights == ROLE_RIGHTS[Role.ENTERPRISE_EDITOR]


async def test_a_second_run_keeps_what_is_there(deployment: Deployment, settings: RegistrySettings) -> None:
    async with opened(settings) as node:
        await ensure_operator_key(deployment, PREFIX, node)
        await ensure_enterprise(deployment, node)
        before = [path.read_bytes() for path in sorted(deployment.node_directory(PREFIX).glob("*.key"))]

    async with opened(settings) as node:
        assert not await ensure_operator_key(deployment, PREFIX, node)
        assert not await ensure_enterprise(deployment, node)
        async with node.store.connection() as connection:
            organisations = await connection.fetchval("SELECT count(*) FROM organisations")
            keys = await connection.fetchval("SELECT count(*) FROM api_keys")

    assert (organisations, keys) == (1, 2)
    assert [path.read_bytes() for path in sorted(deployment.node_directory(PREFIX).glob("*.key"))] == before


@pytest.mark.parametrize("content", [None, b"", b"hg_live_nonsense", b"\xff" * 500])
async def test_a_key_that_is_gone_or_spoilt_is_replaced_for_the_same_enterprise(
    deployment: Deployment, settings: RegistrySettings, content: bytes | None
) -> None:
    path = deployment.key_file(PREFIX, ENTERPRISE_KEY)
    async with opened(settings) as node:
        await ensure_enterprise(deployment, node)
        before = await holder(node, path)
        path.unlink()
        if content is not None:
            path.write_bytes(content)

        assert await ensure_enterprise(deployment, node)

        after = await holder(node, path)
    assert after.organisation == before.organisation
    assert after.id != before.id


async def test_a_revoked_key_is_replaced(deployment: Deployment, settings: RegistrySettings) -> None:
    path = deployment.key_file(PREFIX, OPERATOR_KEY)
    async with opened(settings) as node:
        await ensure_operator_key(deployment, PREFIX, node)
        caller = await holder(node, path)
        accounts = Accounts(node.operations)
        async with node.operations.transaction(COMMAND) as tx:
            await accounts.keys.revoke(tx, await accounts.keys.lock(tx, HOST, caller.id), "lost")

        assert await ensure_operator_key(deployment, PREFIX, node)

        assert (await holder(node, path)).id != caller.id


def test_every_node_has_a_place_for_its_keys(deployment: Deployment) -> None:
    assert all(deployment.key_file(node.name, OPERATOR_KEY).parent.is_dir() for node in NODES)
